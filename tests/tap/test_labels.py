"""What templates' labels stand for in a message."""

from typing import Any

import pytest

from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.labels import LABELS, extra_values, shown, split, value_of
from tests.support import wire
from tests.tap.frames import QUERY, payload

RESPONSE = QUERY[:2] + b"\x85\xf3" + QUERY[4:]
ANSWERED = {"type": "CLIENT_RESPONSE", "message": RESPONSE, "query_message": QUERY}


def text(label: str, **fields: Any) -> str:
    value = value_of(label)
    assert value is not None
    return shown(value(TapFrame(payload(**fields))))


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("name", "www.example.org."),
        ("type", "A"),
        ("class", "IN"),
        ("proto", "udp"),
        ("size", str(len(QUERY))),
        ("remote", "192.0.2.7"),
        ("port", "40000"),
        ("local", "192.0.2.53"),
        (">id", "4660"),
        (">opcode", "0"),
        (">do", "false"),
        (">bufsize", "1232"),
        ("rcode", "NXDOMAIN"),
        ("rsize", str(len(RESPONSE))),
        ("duration", "0.001543211s"),
        (">rflags", "qr,aa,rd,ra,z,ad,cd"),
    ],
)
def test_labels_of_an_answered_query(label: str, expected: str) -> None:
    assert text(label, **ANSWERED) == expected


def test_every_label_has_a_value_or_is_missing_in_any_message() -> None:
    for fields in ({"message": None}, {"message": b"junk"}, {"query_address": None, "socket_protocol": None}):
        for label in LABELS:
            assert text(label, **fields)
    assert text("rcode") == text("rsize") == text("duration") == "-"
    assert text("size", type="CLIENT_RESPONSE") == text(">do", type="CLIENT_RESPONSE") == "-"


@pytest.mark.parametrize(
    ("protocol", "expected"), [(1, "udp"), (2, "tcp"), (3, "tcp"), (4, "tcp"), (5, "udp"), (7, "udp")]
)
def test_proto_is_what_carries_it(protocol: int, expected: str) -> None:
    assert text("proto", socket_protocol=protocol) == expected


def test_names_are_lower_case_and_unknown_types_numbered() -> None:
    octets = wire.raw_query(b"\3WwW\4t.st\0", 65280, id=1)
    assert (text("name", message=octets), text("type", message=octets)) == ("www.t\\.st.", "TYPE65280")


def test_ipv6_is_bracketed() -> None:
    assert text("remote", query_address="2001:db8::1") == "[2001:db8::1]"


@pytest.mark.parametrize(
    ("protocol", "message", "size"),
    [(1, wire.query("a.test"), "512"), (2, QUERY, "65535"), (1, wire.query("a.test", edns=True, size=100), "512")],
    ids=["UDP", "TCP", "a size that is too small"],
)
def test_bufsize_is_what_the_client_takes(protocol: int, message: bytes, size: str) -> None:
    assert text(">bufsize", message=message, socket_protocol=protocol) == size


def test_do_is_the_querys() -> None:
    assert text(">do", message=wire.query("a.test", do=True)) == "true"


def test_labels_of_an_extra_that_is_json() -> None:
    extra = b'{"query/id": "00ff", "forward/attempts": 2, "ok": true, "list": [1, "a"], "none": null}'
    values = [
        text(f"/{label}", extra=extra) for label in ("query/id", "forward/attempts", "ok", "list", "none", "other")
    ]
    assert values == ["00ff", "2", "true", '[1,"a"]', "-", "-"]


@pytest.mark.parametrize("extra", [None, b"", b"id=7", b"[1]", b"{", b"{" * 100_000, b'{"a": \xff}'])
def test_another_extra_has_no_labels(extra: bytes | None) -> None:
    assert extra_values(TapFrame(payload(extra=extra))) == {}


def test_what_moves_the_cursor_is_escaped() -> None:
    assert shown("a\x1b[2J\n\u009b") == "a\\027[2J\\010\\194\\155"


@pytest.mark.parametrize(
    ("template", "pieces"),
    [("a{name}b", ["a", "name", "b"]), ("{a{name}}", ["{a", "name", "}"]), ("}{", ["}{"]), ("{}", ["", "", ""])],
)
def test_the_first_closing_brace_closes_the_nearest_opening_one(template: str, pieces: list[str]) -> None:
    assert split(template) == pieces


def test_other_labels_stand_for_nothing() -> None:
    assert [value_of(label) for label in ("", "foo", "Name", ".name")] == [None] * 4
