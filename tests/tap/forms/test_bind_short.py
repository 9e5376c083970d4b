"""The lines of `--bind`."""

import pytest

from dnsproxy.tap.forms.bind_short import BindShort
from dnsproxy.tap.frame import TapFrame
from tests.conftest import SetZone
from tests.support import wire
from tests.support.odd_messages import response_frame
from tests.tap.frames import QUERY, SECOND, payload

ROOT = wire.raw_query(b"\0", 65280, id=1)


@pytest.fixture(autouse=True)
def _in_tokyo(set_zone: SetZone) -> None:
    set_zone("Asia/Tokyo")


def write(octets: bytes, *, utc: bool = True) -> str:
    return BindShort(utc=utc).write(TapFrame(octets))


def test_a_line_has_time_type_addresses_protocol_size_and_question() -> None:
    assert write(payload()) == (
        f"14-Nov-2023 22:13:20.123 CQ 192.0.2.7:40000 -> 192.0.2.53:53 UDP {len(QUERY)}b www.example.org/IN/A\n"
    )
    response = payload("STUB_RESPONSE", ROOT, query_address="2001:db8::7", response_address=None, socket_protocol=2)
    assert write(response) == (f"14-Nov-2023 22:13:20.125 SR 2001:db8::7:40000 <- ? TCP {len(ROOT)}b ./IN/TYPE65280\n")


def test_time_is_local_unless_utc_is_asked_for() -> None:
    assert write(payload(), utc=False).startswith("15-Nov-2023 07:13:20.123 ")


def test_every_protocol_but_tcp_is_udp() -> None:
    assert [write(payload(socket_protocol=protocol)).split()[6] for protocol in (None, 1, 2, 3, 4, 7)] == [
        "UDP",
        "UDP",
        "TCP",
        "UDP",
        "UDP",
        "UDP",
    ]


def test_a_missing_port_is_zero_and_a_mapped_address_is_ipv6() -> None:
    text = write(payload(query_port=None, query_address="::ffff:192.0.2.1"))
    assert " ::ffff:192.0.2.1:0 -> " in text


@pytest.mark.parametrize("query_time", [None, (0, 0), (1 << 32, 0)])
def test_a_time_that_is_not_there_is_question_marks(query_time: tuple[int, int] | None) -> None:
    assert write(payload(query_time=query_time)).startswith("????-??-?? ??:??:??.??? CQ ")


def test_seconds_have_32_bits_and_nanoseconds_may_be_more_than_a_second() -> None:
    assert write(payload(query_time=((1 << 32) + SECOND, 1_500_000_000))).startswith("14-Nov-2023 22:13:21.500 ")


def test_a_message_that_cannot_be_parsed_is_question_marks() -> None:
    assert write(payload(message=b"\0" * 5)).endswith(" UDP 5b ?/?/?\n")
    assert write(payload(message=None)).endswith(" UDP 0b ?/?/?\n")


def test_a_message_without_question_is_passed_over() -> None:
    assert write(payload(message=bytes(12))) == ""


def test_a_type_that_the_schema_does_not_have_is_passed_over() -> None:
    octets = response_frame(QUERY)
    assert write(octets)
    assert write(octets.replace(b"\x08\x06", b"\x08\x0f", 1)) == ""


def test_an_address_of_the_wrong_size_has_no_line() -> None:
    assert write(payload(response_address=b"\1\2\3")) == ""
