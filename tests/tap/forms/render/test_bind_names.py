"""Names and strings of messages as BIND reads them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.forms.render.bind_names import Unparsable, quoted, read_name, read_octets


def name(octets: bytes, at: int = 0) -> tuple[str, int]:
    return read_name(octets, at, len(octets))


def test_a_name_is_absolute_and_keeps_its_case() -> None:
    assert name(b"\3wWw\7example\3org\0rest") == ("wWw.example.org.", 17)
    assert name(b"\0") == (".", 1)


def test_what_is_special_in_zone_files_is_escaped() -> None:
    label = b"a.b '@;()$\"\\\x00\x1f\x7f\xff"
    assert name(bytes((len(label),)) + label + b"\0")[0] == r"a\.b\032'\@\;\(\)\$\"\\\000\031\127\255."


def test_a_pointer_points_before_where_reading_began() -> None:
    assert name(b"\1b\0\1a\xc0\x00", 3) == ("a.b.", 7)
    for octets, at in ((b"\xc0\x02\0", 0), (b"\1a\xc0\x00", 0), (b"\1b\0\1a\xc0\x03", 3)):
        with pytest.raises(Unparsable):
            name(octets, at)


def test_a_name_of_too_many_pointers_is_refused() -> None:
    chain = b"\0" + b"".join((0xC000 | max(0, 2 * number - 1)).to_bytes(2, "big") for number in range(129))
    assert read_name(chain, 255, len(chain)) == (".", 257)
    with pytest.raises(Unparsable):
        read_name(chain, 257, len(chain))


@pytest.mark.parametrize("octets", [b"", b"\3ab", b"\1a", b"\xc0", b"\x40", b"\x80", b"\1x" * 128 + b"\0"])
def test_what_is_no_name_is_refused(octets: bytes) -> None:
    with pytest.raises(Unparsable):
        name(octets)


def test_where_pointers_are_not_allowed_they_are_refused() -> None:
    with pytest.raises(Unparsable):
        read_name(b"\0\xc0\x00", 1, 3, compressed=False)


def test_a_string_stands_in_quotes_and_is_escaped() -> None:
    octets, behind = read_octets(b'\x05a"\\\xe9 .', 0, 7)
    assert (quoted(octets), behind) == (r'"a\"\\\233 "', 6)
    for cut in (b"", b"\3ab"):
        with pytest.raises(Unparsable):
            read_octets(cut, 0, len(cut))


@given(st.binary(max_size=40), st.integers(0, 40))
def test_any_octets_are_a_name_or_refused(octets: bytes, at: int) -> None:
    try:
        text, behind = name(octets, at)
    except Unparsable:
        return
    assert text.endswith(".")
    assert at < behind <= len(octets)
