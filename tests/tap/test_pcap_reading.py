"""DNS messages out of captures: our own, and those that other programs make of networks."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.pcap import FILE_HEADER, packet_of, record_of
from dnsproxy.tap.pcap_reading import RECORD_MAX, CaptureReader
from tests.support import wire
from tests.tap.dialogue import answer
from tests.tap.frames import CLIENT, QUERY, SECOND, SERVER, payload

RAW, ETHERNET, LINUX, LINUX2, LOOPBACK = 101, 1, 113, 276, 0
RESPONSE = answer(QUERY)
V4 = (bytes((192, 0, 2, 7)), bytes((192, 0, 2, 53)))
V6 = (bytes.fromhex("20010db8" + "0" * 23 + "7"), bytes.fromhex("20010db8" + "0" * 22 + "53"))
PACKET = packet_of(*V4, 40000, 53, QUERY)


def capture(
    *packets: bytes, link_type: int = RAW, order: str = "<", magic: int = 0xA1B23C4D, cut: int | None = None
) -> bytes:
    """A capture of one packet a second, each 5 of its fractions behind the second."""
    octets = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262144, link_type)
    for number, packet in enumerate(packets):
        octets += struct.pack(order + "IIII", SECOND + number, 5, len(packet), len(packet)) + packet
    return octets[:cut]


def frames(octets: bytes) -> list[TapFrame]:
    reader = CaptureReader()
    found = reader.receive_data(octets)
    assert reader.broken is None
    return [TapFrame(each.payload()) for each in found]


def only(octets: bytes) -> TapFrame:
    (frame,) = frames(octets)
    return frame


def test_our_own_come_back_as_messages_of_clients() -> None:
    records = [record_of(TapFrame(payload(type, octets))) for type, octets in CLIENT_MESSAGES]
    query, response = frames(FILE_HEADER + b"".join(records))
    assert (query.type_name, query.query_message, response.type_name, response.response_message) == (
        "CLIENT_QUERY",
        QUERY,
        "CLIENT_RESPONSE",
        RESPONSE,
    )
    for frame in (query, response):
        ends = (frame.query_address_text, frame.query_port, frame.response_address_text, frame.response_port)
        assert ends == (CLIENT, 40000, SERVER, 53)
        assert (frame.socket_family, frame.socket_protocol) == (1, 1)
    assert query.query_time_ns == SECOND * 10**9 + 123_456_789
    assert response.response_time_ns == SECOND * 10**9 + 125_000_000


CLIENT_MESSAGES = [("CLIENT_QUERY", QUERY), ("CLIENT_RESPONSE", RESPONSE)]


@pytest.mark.parametrize(
    ("order", "magic", "expected_ns"),
    [("<", 0xA1B23C4D, 5), (">", 0xA1B23C4D, 5), ("<", 0xA1B2C3D4, 5000), (">", 0xA1B2C3D4, 5000)],
)
def test_both_orders_of_octets_and_both_units_of_time(order: str, magic: int, expected_ns: int) -> None:
    assert only(capture(PACKET, order=order, magic=magic)).query_time_ns == SECOND * 10**9 + expected_ns


@pytest.mark.parametrize(
    ("link_type", "header"),
    [
        (RAW, b""),
        (12, b""),
        (228, b""),
        (ETHERNET, bytes(12) + b"\x08\x00"),
        (ETHERNET, bytes(12) + b"\x81\x00\x00\x05\x08\x00"),
        (ETHERNET, bytes(12) + b"\x88\xa8\x00\x05\x81\x00\x00\x05\x08\x00"),
        (LINUX, bytes(14) + b"\x08\x00"),
        (LINUX2, b"\x08\x00" + bytes(18)),
        (LOOPBACK, b"\2\0\0\0"),
        (ETHERNET | 0xF400_0000, bytes(12) + b"\x08\x00"),
    ],
)
def test_whatever_stands_before_the_ip_header(link_type: int, header: bytes) -> None:
    assert only(capture(header + PACKET, link_type=link_type)).query_message == QUERY


def test_ipv6_and_what_a_network_adds_behind_a_packet() -> None:
    packet = packet_of(*V6, 40000, 53, QUERY)
    frame = only(capture(bytes(12) + b"\x86\xdd" + packet + b"\0" * 9, link_type=ETHERNET))
    assert (frame.query_address_text, frame.socket_family) == ("2001:db8::7", 2)
    assert frame.query_message == QUERY


@pytest.mark.parametrize("port", [53, 5301])
def test_what_is_a_message_to_the_last_octet_is_taken_from_any_port(port: int) -> None:
    assert len(frames(capture(packet_of(*V4, 40000, port, QUERY)))) == 1


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        PACKET[:19],
        PACKET[:9] + b"\x06" + PACKET[10:],  # TCP
        PACKET[:6] + b"\x20\x00" + PACKET[8:],  # a fragment
        PACKET[:-1],  # cut by the capture
        packet_of(*V4, 40000, 5301, b"no DNS at all"),
        packet_of(*V4, 40000, 53, b"\1\2"),
        b"\x75" + PACKET[1:],
        packet_of(*V6, 40000, 53, QUERY)[:39],
    ],
)
def test_other_packets_are_passed_over_and_counted(packet: bytes) -> None:
    reader = CaptureReader()
    assert len(reader.receive_data(capture(packet, PACKET))) == 1
    assert reader.passed_over == 1


def test_a_message_to_port_53_is_taken_though_it_is_broken() -> None:
    assert only(capture(packet_of(*V4, 40000, 53, QUERY[:-1]))).malformed is not None


@given(st.integers(1, 50))
def test_pieces_of_any_size_are_the_same_as_the_whole(size: int) -> None:
    octets = capture(PACKET, packet_of(*V4, 40000, 53, wire.with_id(QUERY, 7)), b"", PACKET)
    reader = CaptureReader()
    pieces = [octets[at : at + size] for at in range(0, len(octets), size)]
    found = [each for piece in pieces for each in reader.receive_data(piece)]
    assert found == CaptureReader().receive_data(octets)
    assert len(found) == 3
    assert (reader.is_inside_record, reader.offset) == (False, len(octets))


@pytest.mark.parametrize("cut", range(0, len(capture(PACKET, PACKET)), 7))
def test_an_end_inside_something_is_noticed(cut: int) -> None:
    reader = CaptureReader()
    reader.receive_data(capture(PACKET, PACKET, cut=cut))
    assert reader.is_inside_record == (cut not in {24, len(capture(PACKET))})


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"\x0a\x0d\x0d\x0a" + bytes(40), "pcapng"),
        (b"nothing of that kind, but text", "no pcap header"),
        (capture(PACKET, link_type=105), "link type 105"),
        (capture()[:24] + struct.pack("<IIII", 1, 1, RECORD_MAX + 1, 1), f"a packet of {RECORD_MAX + 1} octets"),
    ],
)
def test_what_is_no_capture_says_so_and_is_not_read_on(octets: bytes, reason: str) -> None:
    reader = CaptureReader()
    assert reader.receive_data(octets) == []
    assert reason in str(reader.broken)
    assert reader.receive_data(PACKET) == []


def test_what_came_before_the_damage_is_there() -> None:
    reader = CaptureReader()
    assert len(reader.receive_data(capture(PACKET) + b"\xff" * 16)) == 1
    assert reader.broken is not None


@given(st.binary(max_size=300), st.sampled_from([RAW, ETHERNET, LINUX]))
def test_any_packet_is_a_message_or_passed_over(packet: bytes, link_type: int) -> None:
    reader = CaptureReader()
    found = reader.receive_data(capture(packet, link_type=link_type))
    for each in found:
        TapFrame(each.payload())
    assert len(found) + reader.passed_over == 1
