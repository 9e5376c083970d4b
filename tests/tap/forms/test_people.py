"""The line for people."""

import time
from typing import Any

import pytest

from dnsproxy.tap.forms.people import People
from dnsproxy.tap.frame import TapFrame
from tests.conftest import SetZone
from tests.support import wire
from tests.tap.frames import QUERY, payload


def line(type: str = "CLIENT_QUERY", message: bytes | None = QUERY, color: bool = False, **fields: Any) -> str:
    return People(utc=True, color=color).write(TapFrame(payload(type, message, **fields)))


def response(rcode: int) -> bytes:
    return QUERY[:2] + bytes((0x81, 0x80 | rcode)) + QUERY[4:]


def test_a_query_and_its_response() -> None:
    assert line() == "2023 Nov 14 22:13:20.123 CQ 192.0.2.7       UDP www.example.org. A\n"
    answered = line("FORWARDER_RESPONSE", response(3), extra=b"id=7")
    assert answered == "2023 Nov 14 22:13:20.125 FR 192.0.2.53      UDP www.example.org. A NXDOMAIN 1.5ms id=7\n"


def test_today_has_no_date_and_this_year_no_year() -> None:
    now = time.gmtime()
    today = int(time.time()) // 86400 * 86400
    assert line(query_time=(today + 3661, 0)).startswith("01:01:01.000 CQ ")
    other = today - 86400 if now.tm_yday > 1 else today + 86400
    assert not line(query_time=(other, 0)).startswith((str(now.tm_year), "00:"))


def test_local_time_is_the_default(set_zone: SetZone) -> None:
    set_zone("Asia/Kolkata")
    assert "Nov 15 03:43:20.123 CQ" in People().write(TapFrame(payload()))


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"query_address": None}, "CQ ?"),
        ({"socket_protocol": None}, " -   www"),
        ({"socket_protocol": 7}, " DOQ www"),
        ({"query_time": None}, "?            CQ"),
        ({"message": None}, "(no message)"),
        ({"message": b"junk"}, "(4 octets are no header)"),
        ({"message": bytes(12)}, "(no question)"),
        ({"message": wire.raw_query(b"\2\x1b\n\0", 65280, id=1)}, "\\027\\010. TYPE65280"),
        ({"extra": b"\x1b[2J\xff"}, "?[2J\ufffd"),
    ],
)
def test_whatever_is_missing_or_odd_is_shown_on_one_line(fields: dict[str, Any], shown: str) -> None:
    text = line(**fields)
    assert shown in text
    assert text.rstrip("\n").isprintable()


@pytest.mark.parametrize(("rcode", "color"), [(0, ""), (3, "\x1b[33m"), (2, "\x1b[31m")])
def test_colours_point_at_what_went_wrong(rcode: int, color: str) -> None:
    text = line("CLIENT_RESPONSE", response(rcode), color=True)
    assert f" {color}{['NOERROR', '', 'SERVFAIL', 'NXDOMAIN'][rcode]}" in text
    assert text.count("\x1b[0m") == text.count("\x1b[") / 2
    assert "\x1b" not in line("CLIENT_RESPONSE", response(rcode))


def test_what_people_notice_is_coloured() -> None:
    assert "\x1b[33m600.0ms" in line("CLIENT_RESPONSE", color=True, query_time=(1, 0), response_time=(1, 600_000_000))
