"""Frames as packets: read back by struct alone, as RFC 791, 8200 and 768 have it."""

import struct
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.pcap import FILE_HEADER, TooLong, record_of
from tests.tap.frames import CLIENT, QUERY, SECOND, SERVER, payload

V6_CLIENT, V6_SERVER = "2001:db8::7", "2001:db8::53"


def sums_up(octets: bytes) -> bool:
    """Whether 16-bit words with their checksum add up to all ones, carries added in."""
    words = struct.unpack(f"!{(len(octets) + 1) // 2}H", octets + b"\0" * (len(octets) % 2))
    total: int = sum(words)
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


def parsed(record: bytes) -> tuple[float, str, int, str, int, bytes]:
    """Time, who sent it, who was to get it, and what; asserts that lengths and checksums are right."""
    seconds, rest, kept, whole = struct.unpack_from("<IIII", record)
    packet = record[16:]
    assert kept == whole == len(packet)
    if packet[0] == 0x45:
        length, protocol = struct.unpack_from("!2xH5xB", packet)
        source, target, start = packet[12:16], packet[16:20], 20
        assert length == len(packet)
        assert sums_up(packet[:20])
    else:
        assert packet[0] >> 4 == 6
        length, protocol = struct.unpack_from("!HB", packet, 4)
        source, target, start = packet[8:24], packet[24:40], 40
        assert length == len(packet) - 40
    assert protocol == 17
    source_port, target_port, size, checksum = struct.unpack_from("!HHHH", packet, start)
    assert size == len(packet) - start
    assert checksum, "0 would be none"
    assert sums_up(source + target + struct.pack("!II", size, 17) + packet[start:])
    return (
        seconds + rest / 1e9,
        str(ip_address(source)),
        source_port,
        str(ip_address(target)),
        target_port,
        packet[start + 8 :],
    )


def packet_of(type: str, message: bytes = QUERY, **fields: Any) -> tuple[float, str, int, str, int, bytes]:
    return parsed(record_of(TapFrame(payload(type, message, **fields))))


def test_the_files_header_says_nanoseconds_and_raw_ip() -> None:
    assert struct.unpack("<IHHiIII", FILE_HEADER) == (0xA1B23C4D, 2, 4, 0, 0, 262144, 101)


def test_a_query_goes_from_who_asks_to_who_is_asked_and_a_response_back() -> None:
    assert packet_of("CLIENT_QUERY")[1:] == (CLIENT, 40000, SERVER, 53, QUERY)
    assert packet_of("CLIENT_RESPONSE")[1:] == (SERVER, 53, CLIENT, 40000, QUERY)


def test_time_is_the_messages_own_to_the_nanosecond() -> None:
    record = record_of(TapFrame(payload("CLIENT_RESPONSE")))
    assert struct.unpack_from("<II", record) == (SECOND, 125_000_000)
    assert packet_of("CLIENT_QUERY", query_time=None)[0] == 0


def test_ipv6_is_ipv6() -> None:
    found = packet_of("FORWARDER_QUERY", query_address=V6_CLIENT, response_address=V6_SERVER)
    assert (found[1], found[3]) == (V6_CLIENT, V6_SERVER)


def test_a_v4_mapped_address_is_ipv4() -> None:
    assert packet_of("CLIENT_QUERY", query_address=f"::ffff:{CLIENT}")[1] == CLIENT


def test_whatever_the_protocol_was_it_is_udp() -> None:
    assert packet_of("CLIENT_QUERY", socket_protocol=3, response_port=853)[4] == 853


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        ({"query_address": None}, ("0.0.0.0", 40000, SERVER, 53)),
        ({"response_address": None}, (CLIENT, 40000, "0.0.0.0", 53)),
        ({"query_port": None, "response_port": None}, (CLIENT, 0, SERVER, 53)),
        ({"query_address": None, "response_address": None, "socket_family": 2}, ("::", 40000, "::", 53)),
        ({"query_address": V6_CLIENT, "response_address": None}, (V6_CLIENT, 40000, "::", 53)),
        ({"query_address": V6_CLIENT}, (V6_CLIENT, 40000, f"::ffff:{ip_address(int(ip_address(SERVER)))}", 53)),
        ({"query_address": b"\1\2\3"}, ("0.0.0.0", 40000, SERVER, 53)),
    ],
)
def test_what_is_missing_is_0_but_for_the_port_that_is_asked(
    missing: dict[str, Any], expected: tuple[str, int, str, int]
) -> None:
    _, source, source_port, target, target_port, _ = packet_of("CLIENT_QUERY", **missing)
    assert (ip_address(source), source_port, ip_address(target), target_port) == (
        ip_address(expected[0]),
        expected[1],
        ip_address(expected[2]),
        expected[3],
    )


def test_without_its_message_a_frame_is_no_packet() -> None:
    assert record_of(TapFrame(payload("CLIENT_QUERY", None))) == b""
    assert record_of(TapFrame(payload("CLIENT_RESPONSE", None, query_message=QUERY))) == b""


@given(st.binary(max_size=200), st.integers(0, 65535), st.integers(0, 65535), st.booleans())
def test_lengths_and_checksums_are_right_for_any_octets(message: bytes, port: int, other: int, is_ipv6: bool) -> None:
    addresses: dict[str, Any] = {"query_address": V6_CLIENT, "response_address": V6_SERVER} if is_ipv6 else {}
    found = packet_of("CLIENT_QUERY", message, query_port=port, response_port=other, **addresses)
    assert (found[2], found[4], found[5]) == (port, other, message)


def test_a_checksum_that_comes_out_as_0_is_written_as_all_ones() -> None:
    sums = {
        record_of(TapFrame(payload("CLIENT_QUERY", struct.pack("!H", word))))[16 + 26 : 16 + 28]
        for word in range(65536)
    }
    assert b"\0\0" not in sums
    assert b"\xff\xff" in sums


@pytest.mark.parametrize(("client", "longest"), [(CLIENT, 65507), (V6_CLIENT, 65527)])
def test_a_message_that_no_datagram_can_hold_is_too_long(client: str, longest: int) -> None:
    fields: dict[str, Any] = {"query_address": client, "response_address": client}
    assert len(packet_of("CLIENT_QUERY", bytes(longest), **fields)[5]) == longest
    with pytest.raises(TooLong):
        packet_of("CLIENT_QUERY", bytes(longest + 1), **fields)
