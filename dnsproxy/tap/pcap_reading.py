"""DNS messages out of a packet capture, as frames: whole UDP datagrams, over Ethernet, raw IP and their like."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from dnsproxy.dnstap.schema import MessageType, SocketFamily, SocketProtocol
from dnsproxy.tap.compose import Fields, compose
from dnsproxy.tap.frame import malformed
from dnsproxy.tap.pcap import DNS_PORT, IPV4_HEADER, IPV6_HEADER, MAGIC_NS, NS_PER_S, RAW_IP, UDP, UDP_HEADER

MAGIC_US: Final = 0xA1B2C3D4
FILE_HEADER: Final = 24  # octets
RECORD_HEADER: Final = 16
RECORD_MAX: Final = 1 << 20  # octets; no network has longer packets
IPV4_TYPE, IPV6_TYPE = b"\x08\x00", b"\x86\xdd"  # of what an Ethernet frame holds
VLAN_TYPES: Final = (b"\x81\x00", b"\x88\xa8")
MORE_FRAGMENTS_AND_OFFSET: Final = 0x3FFF
RESPONSE_BIT: Final = 0x80  # of the header's third octet

# octets before the IP header by link type, and where in them stands the type of what follows, if it does
LINK_HEADERS: Final = {0: 4, 1: 14, 12: 0, RAW_IP: 0, 108: 4, 113: 16, 228: 0, 229: 0, 276: 20}
ETHERNET: Final = 1


class NoCapture(ValueError):
    """The octets do not begin as a capture that can be read; the text says why."""


@dataclass(frozen=True)
class Layout:
    """How a capture is written."""

    order: str
    ns_per_fraction: int
    link_type: int

    @classmethod
    def of(cls, header: bytes) -> Layout:
        """What a capture's first octets say; NoCapture where they are others."""
        for order in "<>":
            magic, link_type = struct.unpack(order + "I16xI", header)
            if magic in (MAGIC_NS, MAGIC_US):
                return cls(order, 1 if magic == MAGIC_NS else 1000, _known_link_type(link_type & 0xFFFF))
        raise NoCapture("no pcap header at the beginning" + _what_it_may_be(header))


@dataclass(frozen=True)
class Datagram:
    """A UDP datagram with a DNS message, and when it was seen."""

    time_ns: int
    source: bytes
    target: bytes
    source_port: int
    target_port: int
    wire: bytes

    def payload(self) -> bytes:
        """As a frame: a client's query or the response to it, as the message itself says."""
        ends = (self.source, self.source_port), (self.target, self.target_port)
        is_response = bool(self.wire[2] & RESPONSE_BIT)
        (asking, asking_port), (asked, asked_port) = reversed(ends) if is_response else ends
        fields = Fields(MessageType.CLIENT_RESPONSE if is_response else MessageType.CLIENT_QUERY)
        fields.socket_family = SocketFamily.INET if len(asking) == 4 else SocketFamily.INET6
        fields.socket_protocol = SocketProtocol.UDP
        fields.query_address, fields.query_port = asking, asking_port
        fields.response_address, fields.response_port = asked, asked_port
        if is_response:
            fields.response_time_ns, fields.response_message = self.time_ns, self.wire
        else:
            fields.query_time_ns, fields.query_message = self.time_ns, self.wire
        return compose(fields)


class CaptureReader:
    """A capture as its octets come: `receive_data` gives the DNS messages in it; `passed_over` counts other packets.

    `broken` says why nothing more can be read.
    """

    def __init__(self) -> None:
        self.offset = 0  # in the capture, of the first octet not read yet
        self.passed_over = 0
        self.broken: str | None = None
        self._octets = b""
        self._layout: Layout | None = None

    @property
    def is_inside_record(self) -> bool:
        """Whether an end now would cut something."""
        return bool(self._octets) or self._layout is None

    def receive_data(self, data: bytes) -> list[Datagram]:
        """What became whole."""
        self._octets += data
        if self._layout is None:
            self._begin()
        if self._layout is None or self.broken:
            return []
        found = []
        for time_ns, packet in self._records(self._layout):
            datagram = _datagram(time_ns, _ip_packet(packet, self._layout.link_type))
            if datagram is None or not _is_dns(datagram):
                self.passed_over += 1
            else:
                found.append(datagram)
        return found

    def _begin(self) -> None:
        if len(self._octets) < FILE_HEADER:
            return
        try:
            self._layout = Layout.of(self._octets[:FILE_HEADER])
        except NoCapture as exc:
            self.broken = str(exc)
        self._take(FILE_HEADER)

    def _records(self, layout: Layout) -> list[tuple[int, bytes]]:
        """Time and packet of each record that is whole."""
        found = []
        octets, at = self._octets, 0
        while len(octets) - at >= RECORD_HEADER:
            seconds, fraction, size, _ = struct.unpack_from(layout.order + "IIII", octets, at)
            if size > RECORD_MAX:
                self.broken = f"a packet of {size} octets"
                break
            start, end = at + RECORD_HEADER, at + RECORD_HEADER + size
            if len(octets) < end:
                break
            found.append((seconds * NS_PER_S + fraction * layout.ns_per_fraction, octets[start:end]))
            at = end
        self._take(at)
        return found

    def _take(self, size: int) -> None:
        self._octets = self._octets[size:]
        self.offset += size


def _known_link_type(link_type: int) -> int:
    if link_type not in LINK_HEADERS:
        raise NoCapture(f"link type {link_type} is not known")
    return link_type


def _what_it_may_be(header: bytes) -> str:
    return ": pcapng, which editcap -F nsecpcap turns into pcap" if header.startswith(b"\x0a\x0d\x0d\x0a") else ""


def _ip_packet(packet: bytes, link_type: int) -> bytes:
    at = LINK_HEADERS[link_type]
    if link_type == ETHERNET:
        while packet[at - 2 : at] in VLAN_TYPES:
            at += 4
        if packet[at - 2 : at] not in (IPV4_TYPE, IPV6_TYPE):
            return b""
    return packet[at:]


def _datagram(time_ns: int, packet: bytes) -> Datagram | None:
    """The UDP datagram in an IP packet; None where there is none, or only a part of one."""
    version = packet[0] >> 4 if packet else 0
    if version == 4 and len(packet) >= IPV4_HEADER:
        start = (packet[0] & 15) * 4
        fragment = int.from_bytes(packet[6:8], "big") & MORE_FRAGMENTS_AND_OFFSET
        protocol, source, target = packet[9], packet[12:16], packet[16:20]
    elif version == 6 and len(packet) >= IPV6_HEADER:
        start, fragment = IPV6_HEADER, 0
        protocol, source, target = packet[6], packet[8:24], packet[24:40]
    else:
        return None
    if protocol != UDP or fragment or len(packet) < start + UDP_HEADER:
        return None
    source_port, target_port, size = struct.unpack_from("!HHH", packet, start)
    wire = packet[start + UDP_HEADER : start + size]
    if len(wire) != size - UDP_HEADER:
        return None
    return Datagram(time_ns, source, target, source_port, target_port, wire)


def _is_dns(datagram: Datagram) -> bool:
    """Whatever goes to or from port 53, and from other ports what can be read as a message to the last octet."""
    if len(datagram.wire) < 3:
        return False
    return DNS_PORT in (datagram.source_port, datagram.target_port) or malformed(datagram.wire) is None
