"""Value types, and tables read into dataclasses."""

import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.config import DnsName, Duration, FilePath, ReadableFile, Size, Zone, option, parse_duration, parse_size
from dnsproxy.convert import keys_of, read_table
from dnsproxy.options import OptionError, OptionErrors
from dnsproxy.values import MAX_DURATION_S, MAX_SIZE, parse_name, parse_network, show_duration, show_size

HERE = Path("/etc/dnsproxy")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("2s", 2.0), ("1.5s", 1.5), ("5m", 300.0), ("1h", 3600.0), ("7d", 604800.0), ("2w", 1209600.0)],
)
def test_durations_have_a_number_and_a_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "s", "-1s", "5 sec", "1h30m", "5S", "1e3s", "٣s", "99999d", ".5s", "5s\n"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="; expected"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("16MiB", 2**24), ("1kib", 1024), ("1KB", 1000), ("512B", 512), ("1.5GiB", 3 * 2**29), ("2 TiB", 2**41)],
)
def test_sizes_have_a_number_and_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "16", "MiB", "-1B", "16M", "1 000B", "99999999TiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="; expected"):
        parse_size(text)


@given(st.integers(0, round(MAX_DURATION_S) * 1000))
def test_a_shown_duration_reads_as_the_same(milliseconds: int) -> None:
    assert parse_duration(show_duration(milliseconds / 1000).strip('"')) == pytest.approx(milliseconds / 1000)


@given(st.integers(0, MAX_SIZE))
def test_a_shown_size_reads_as_the_same(size: int) -> None:
    shown = show_size(size)
    assert (parse_size(shown.strip('"')) if shown.startswith('"') else int(shown)) == size


def complaint(parse: Callable[[str], object], text: str) -> str:
    """What a parser says against a text; "; expected" when nothing."""
    try:
        parse(text)
    except ValueError as exc:
        return str(exc)
    return "; expected"


@given(st.text(max_size=30))
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    for parse in (parse_duration, parse_size, parse_name, parse_network, Zone.from_toml):
        assert "; expected" in complaint(parse, text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (".", [b"\0"]),
        ("Example.ORG", [b"\7example\3org\0"]),
        ("10.0.0.0/8", [b"\00210\7in-addr\4arpa\0"]),
        ("192.0.2.0/23", [b"\0012\0010\003192\7in-addr\4arpa\0", b"\0013\0010\003192\7in-addr\4arpa\0"]),
        ("2001:db8::/32", [b"\0018\1b\1d\0010\0011\0010\0010\0012\3ip6\4arpa\0"]),
        ("0.0.0.0/0", [b"\7in-addr\4arpa\0"]),
        ("192.0.2.7/32", [b"\0017\0012\0010\003192\7in-addr\4arpa\0"]),
    ],
)
def test_a_zone_is_a_name_or_the_reverse_zones_of_a_network(text: str, names: list[bytes]) -> None:
    assert list(Zone.from_toml(text).names) == names


def test_a_network_that_ends_inside_the_last_octet_is_that_many_zones() -> None:
    assert len(Zone.from_toml("192.0.2.128/25").names) == 128


def test_a_network_may_be_an_address_but_has_no_bits_behind_its_prefix() -> None:
    assert parse_network("192.0.2.1") == ipaddress.ip_network("192.0.2.1/32")
    with pytest.raises(ValueError, match=r'expected "192\.0\.2\.0/24"'):
        parse_network("192.0.2.1/24")


@dataclass(frozen=True)
class Inner:
    """A table in a table."""

    ipv4: int = option(24, minimum=0, maximum=32)


class Upper(str):
    """A type with its own way of reading."""

    __slots__ = ()

    @classmethod
    def from_toml(cls, value: str) -> "Upper":
        if not value.isupper():
            raise ValueError(f"{value} is not upper case; expected capitals")
        return cls(value)


@dataclass(frozen=True)
class Everything:
    """A key of each kind."""

    needed: str = option()
    number: float = option(0.5, minimum=0.0, maximum=1.0)
    choice: Literal["a", "b"] = option("a")
    words: tuple[Upper, ...] = option((), one_or_more=True)
    inner: Inner | None = option(None)
    name: DnsName = option(b"\0")
    wait: Duration | Literal[False] = option(False)
    size: Size = option(0)
    path: FilePath | None = option(None)
    readable: ReadableFile | None = option(None)
    class_: int = 5

    def __post_init__(self) -> None:
        if self.choice == "b" and self.number == 0:
            raise OptionErrors([OptionError("number", "is 0; expected more with `choice`")])


def read(table: dict[str, Any]) -> Everything:
    outcome = read_table(Everything, {"needed": "x", **table}, HERE)
    assert not outcome.errors
    assert outcome.value is not None
    return outcome.value


def errors(table: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [error.place for error in read_table(Everything, {"needed": "x", **table}, HERE).errors]


def test_annotations_say_how_keys_are_read() -> None:
    table = {"number": 1, "choice": "b", "words": ["A", "B"], "inner": {"ipv4": 8}, "name": "A.b", "size": "1KiB"}
    everything = read(table)
    assert (everything.number, type(everything.number)) == (1.0, float)
    assert everything.words == (Upper("A"), Upper("B"))
    assert everything.inner == Inner(ipv4=8)
    assert (everything.name, everything.size, everything.wait) == (b"\1a\1b\0", 1024, False)
    assert read({"wait": "5s", "words": "A", "class": 7}) == Everything(
        needed="x", wait=5.0, words=(Upper("A"),), class_=7
    )


@pytest.mark.parametrize(
    ("table", "place"),
    [
        ({"needed": 1}, ("needed",)),
        ({"number": True}, ("number",)),
        ({"number": float("nan")}, ("number",)),
        ({"number": 2}, ("number",)),
        ({"choice": "c"}, ("choice",)),
        ({"words": ["A", "b"]}, ("words", 1)),
        ({"words": "b"}, ("words",)),
        ({"words": 1}, ("words",)),
        ({"words": ["A", 1]}, ("words", 1)),
        ({"words": ["A", "A"]}, ("words", 1)),
        ({"words": [["A"]]}, ("words", 0)),
        ({"inner": {"ipv4": 33}}, ("inner", "ipv4")),
        ({"inner": {"ipv5": 1}}, ("inner", "ipv5")),
        ({"inner": []}, ("inner",)),
        ({"wait": 5}, ("wait",)),
        ({"wait": True}, ("wait",)),
        ({"size": -1}, ("size",)),
        ({"path": ""}, ("path",)),
        ({"readable": "no/such"}, ("readable",)),
        ({"readable": "/"}, ("readable",)),
        ({"class_": 1}, ("class_",)),
        ({"choice": "b", "number": 0}, ("number",)),
    ],
)
def test_each_error_has_its_place(table: dict[str, Any], place: tuple[Any, ...]) -> None:
    assert errors(table) == [place]


def test_bad_elements_do_not_hide_one_that_is_given_twice() -> None:
    assert errors({"words": ["A", "b", "C", "A"]}) == [("words", 1), ("words", 3)]


def test_an_empty_list_will_do_only_where_it_is_the_default() -> None:
    @dataclass(frozen=True)
    class Lists:
        needed: tuple[str, ...] = option(("x",))
        optional: tuple[str, ...] = option(())
        said: tuple[str, ...] = option(("x",), may_be_empty=True)

    outcome = read_table(Lists, {"needed": [], "optional": [], "said": []}, HERE)
    assert [error.place for error in outcome.errors] == [("needed",)]


def test_with_errors_the_rest_is_still_there_for_further_checks() -> None:
    outcome = read_table(Everything, {"needed": "x", "words": ["A", "b"], "size": "x", "number": 1}, HERE)
    assert len(outcome.errors) == 2
    assert outcome.value == Everything(needed="x", words=(Upper("A"),), number=1.0)


def test_files_are_found_from_the_folder_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("x")
    outcome = read_table(Everything, {"needed": "", "path": "not/there", "readable": "there"}, tmp_path)
    assert outcome.value is not None
    assert (outcome.value.path, outcome.value.readable) == (f"{tmp_path}/not/there", f"{tmp_path}/there")


def test_checking_that_a_file_can_be_read_does_not_wait_for_the_writer_of_a_fifo(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert not read_table(Everything, {"needed": "", "readable": "fifo"}, tmp_path).errors


def test_keys_know_their_defaults_as_the_file_would_have_them() -> None:
    keys = keys_of(Everything)
    assert keys["needed"].required
    shown = {name: key.reader.show(key.default) for name, key in keys.items() if key.reader.show and not key.required}
    assert (shown["wait"], shown["size"], shown["name"], shown["words"]) == ("false", "0", '"."', "[]")


def test_a_table_is_shown_as_the_file_would_have_it() -> None:
    @dataclass(frozen=True)
    class Outer:
        wait: Duration = option(0.5)
        size: Size | None = option(None)
        name: DnsName = option(b"\0")

    @dataclass(frozen=True)
    class Table:
        outer: Outer = option(Outer())

    key = keys_of(Table)["outer"]
    assert key.reader.show is not None
    text = key.reader.show(key.default)
    assert text == '{ wait = "500ms", name = "." }'
    assert read_table(Table, tomli.loads(f"outer = {text}"), HERE).value == Table()


def test_a_type_that_no_one_can_read_is_a_type_error() -> None:
    @dataclass(frozen=True)
    class Odd:
        what: complex = 0j

    with pytest.raises(TypeError, match="complex"):
        keys_of(Odd)


@dataclass(frozen=True)
class WithOwn:
    """A default that is made for whoever does not give the key."""

    own: Inner = field(default_factory=Inner)


def test_two_stanzas_never_share_a_default() -> None:
    first, second = (read_table(WithOwn, {}, HERE).value for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.own == second.own
    assert first.own is not second.own


json_like = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.dates()).filter(
        lambda value: value is not None
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ipv4", "x"]), inner, max_size=2),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*keys_of(Everything), "unknown"]), json_like))
def test_any_table_gives_an_instance_or_errors_at_keys_of_its_own(table: dict[str, Any]) -> None:
    outcome = read_table(Everything, table, HERE)
    assert outcome.value is not None or outcome.errors
    for error in outcome.errors:
        assert error.path[0] in {*table, "needed"}
        assert "; " in error.message
