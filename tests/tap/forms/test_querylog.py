"""The line of `named`'s query log."""

from typing import Any

import pytest

from dnsproxy.tap.forms.querylog import QueryLog
from dnsproxy.tap.frame import TapFrame
from tests.support import wire
from tests.tap.frames import QUERY, payload


def line(type: str = "CLIENT_QUERY", message: bytes | None = QUERY, **fields: Any) -> str:
    return QueryLog(utc=True).write(TapFrame(payload(type, message, **fields)))


def flags(message: bytes, **fields: Any) -> str:
    """What stands between the question's type and our address."""
    return line(message=message, **fields).split(" query: ")[1].split(" (")[0].split(" ", 3)[3]


def test_a_query_with_everything() -> None:
    subnet = wire.ecs("192.0.2.0", 24)
    message = wire.query("www.example.com", id=1, do=True, cd=True, options=[subnet, (10, b"12345678")])
    text = line(message=message, socket_protocol=2, query_address="198.51.100.7", response_address="203.0.113.1")
    assert text == (
        "14-Nov-2023 22:13:20.123 client 198.51.100.7#40000 (www.example.com): "
        "query: www.example.com IN A +E(0)TDCK (203.0.113.1) [ECS 192.0.2.0/24/0]\n"
    )


@pytest.mark.parametrize(
    ("message", "fields", "expected"),
    [
        (wire.query("a.test"), {}, "+"),
        (wire.query("a.test", rd=False), {}, "-"),
        (wire.query("a.test", edns=True), {}, "+E(0)"),
        (wire.query("a.test", edns=1), {}, "+E(1)"),
        (wire.query("a.test", do=True), {}, "+E(0)D"),
        (wire.query("a.test", cd=True), {}, "+C"),
        (wire.query("a.test"), {"socket_protocol": 3}, "+T"),
        (wire.query("a.test"), {"socket_protocol": 4}, "+T"),
        (wire.query("a.test"), {"socket_protocol": 7}, "+"),
        (wire.query("a.test"), {"socket_protocol": None}, "+"),
        (wire.query("a.test")[:11] + b"\1" + wire.query("a.test")[12:] + b"\1k\0\0\xfa\0\xff\0\0\0\0\0\0", {}, "+S"),
    ],
)
def test_flags(message: bytes, fields: dict[str, Any], expected: str) -> None:
    assert flags(message, **fields) == expected


@pytest.mark.parametrize("type", ["CLIENT_QUERY", "AUTH_QUERY"])
def test_queries_that_were_received_are_logged(type: str) -> None:
    assert line(type).startswith("14-Nov-2023 22:13:20.123 client 192.0.2.7#40000 (www.example.org): query: ")


@pytest.mark.parametrize("type", ["CLIENT_RESPONSE", "FORWARDER_QUERY", "RESOLVER_QUERY", "UPDATE_QUERY", "TOOL_QUERY"])
def test_all_others_are_passed_over(type: str) -> None:
    assert line(type) == ""


@pytest.mark.parametrize("message", [None, b"junk", QUERY[:20]])
def test_a_message_without_question_is_passed_over(message: bytes | None) -> None:
    assert line(message=message) == ""


def test_the_root_and_unknown_types_are_written_as_named_writes_them() -> None:
    octets = wire.raw_query(b"\0", 65280, id=1)[:-2] + b"\0\7"
    assert "(.): query: . CLASS7 TYPE65280 +" in line(message=octets)


def test_what_is_missing_has_a_question_mark() -> None:
    text = line(query_address=None, query_port=None, response_address=None, query_time=None)
    assert text.startswith("??-???-???? ??:??:??.??? client ?#0 (www.example.org): query: ")
    assert text.endswith(" (?)\n")


def test_an_opt_that_cannot_be_read_has_no_options() -> None:
    octets = wire.raw_query(b"\0", counts=(1, 0, 0, 1)) + wire.opt_record(options=b"\0\x08\0\x09abc")
    assert flags(octets) == "+E(0)"
