"""Names and strings of messages as miekg/dns unpacks them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.forms.render.miekg_names import Malformed, read_name, read_string


def name(octets: bytes, at: int = 0) -> tuple[str, int]:
    return read_name(octets, at, len(octets))


def test_a_name_is_absolute_and_keeps_its_case() -> None:
    assert name(b"\3wWw\7example\3org\0rest") == ("wWw.example.org.", 17)
    assert name(b"\0") == (".", 1)


def test_dots_quotes_and_blanks_are_escaped_with_a_backslash_other_octets_with_digits() -> None:
    label = b"a.b '@;()\"\\\x00\x1f\x7f\xff$"
    assert name(bytes((len(label),)) + label + b"\0")[0] == r"a\.b\ \'\@\;\(\)\"\\\000\031\127\255$."


def test_a_pointer_may_point_anywhere_and_the_name_ends_behind_the_first() -> None:
    assert name(b"\xc0\x04xx\1a\xc0\x08\1b\0", 0) == ("a.b.", 2)


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        (b"", "dns: buffer size too small"),
        (b"\3ab", "dns: buffer size too small"),
        (b"\1a", "dns: buffer size too small"),
        (b"\xc0", "dns: buffer size too small"),
        (b"\xc0\x09", "dns: buffer size too small"),
        (b"\x40", "dns: bad rdata"),
        (b"\x80", "dns: bad rdata"),
        (b"\xc0\x00", "dns: too many compression pointers"),
        (b"\x3f" + b"x" * 63 + b"\xc0\x00", "dns: domain name exceeded 255 wire-format octets"),
        (b"\1x" * 127 + b"\0", None),
        (b"\1x" * 128 + b"\0", "dns: domain name exceeded 255 wire-format octets"),
    ],
)
def test_an_error_has_the_library_s_text(octets: bytes, why: str | None) -> None:
    if why is None:
        assert name(octets)[1] == len(octets)
        return
    with pytest.raises(Malformed) as caught:
        name(octets)
    assert str(caught.value) == why


def test_nothing_is_read_behind_the_end() -> None:
    with pytest.raises(Malformed):
        read_name(b"\1a\0", 0, 2)
    with pytest.raises(Malformed, match="overflow unpacking txt"):
        read_string(b"\3abc", 0, 3)


def test_a_string_is_escaped_but_has_no_quotes_of_its_own() -> None:
    assert read_string(b'\x05a"\\\xe9 .', 0, 7) == (r"a\"\\\233 ", 6)


@given(st.binary(max_size=40), st.integers(0, 40))
def test_any_octets_are_a_name_or_malformed(octets: bytes, at: int) -> None:
    try:
        text, behind = name(octets, at)
    except Malformed:
        return
    assert text.endswith(".")
    assert at < behind <= len(octets)
