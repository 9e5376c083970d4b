"""Frames as a packet capture: one UDP datagram for each message, whatever its protocol was (nanoseconds, raw IP)."""

from __future__ import annotations

import struct
from typing import Final

from dnsproxy.dnstap.schema import SocketFamily
from dnsproxy.tap.frame import MAPPED, TapFrame

MAGIC_NS: Final = 0xA1B23C4D  # times are seconds and nanoseconds
VERSION: Final = (2, 4)
RAW_IP: Final = 101  # link type: packets begin with the IP header, of either version
SNAPLEN: Final = 262144  # octets; libpcap's own most, longer than any datagram
UDP: Final = 17  # the protocol's number
UDP_HEADER: Final = 8  # octets
IPV4_HEADER: Final = 20
IPV6_HEADER: Final = 40
HOP_LIMIT: Final = 64
DONT_FRAGMENT: Final = 0x4000
LENGTH_MAX: Final = 65535  # of an IPv4 packet, and of what follows an IPv6 header
DNS_PORT: Final = 53
NS_PER_S: Final = 1_000_000_000

FILE_HEADER: Final = struct.pack("<IHHiIII", MAGIC_NS, *VERSION, 0, 0, SNAPLEN, RAW_IP)
_RECORD = struct.Struct("<IIII").pack
_IPV4 = struct.Struct("!BBHHHBBH").pack
_IPV6 = struct.Struct("!IHBB").pack
_UDP = struct.Struct("!HHHH").pack


class TooLong(ValueError):
    """A message that no UDP datagram can hold."""


def record_of(frame: TapFrame) -> bytes:
    """The capture's record of a frame's own message; nothing where it has none, TooLong where it does not fit."""
    wire = frame.wire
    if wire is None:
        return b""
    source, target = _ends(frame)
    packet = packet_of(source, target, *_ports(frame), wire)
    seconds, rest = divmod(frame.time_ns or 0, NS_PER_S)
    return _RECORD(seconds & 0xFFFF_FFFF, rest, len(packet), len(packet)) + packet


def packet_of(source: bytes, target: bytes, source_port: int, target_port: int, wire: bytes) -> bytes:
    """An IP packet, of the version that both addresses are of, with a UDP datagram."""
    size = UDP_HEADER + len(wire)
    if size + (IPV4_HEADER if len(source) == 4 else 0) > LENGTH_MAX:
        raise TooLong(f"{len(wire)} octets")
    header = _ipv4_header(source, target, size) if len(source) == 4 else _ipv6_header(source, target, size)
    ports = struct.pack("!HH", source_port, target_port)
    pseudo_header = source + target + struct.pack("!II", size, UDP)  # RFC 8200 section 8.1; RFC 768 adds up to the same
    checksum = _checksum(pseudo_header + ports + size.to_bytes(2, "big") + b"\0\0" + wire) or 0xFFFF
    return header + _UDP(source_port, target_port, size, checksum) + wire


def _ends(frame: TapFrame) -> tuple[bytes, bytes]:
    """Whom the message came from and whom it went to; both of one IP version."""
    asking, asked = _plain(frame.query_address), _plain(frame.response_address)
    is_ipv6 = len(asking) == 16 or len(asked) == 16
    if not asking and not asked:
        is_ipv6 = frame.socket_family == SocketFamily.INET6
    asking, asked = _of_version(asking, is_ipv6), _of_version(asked, is_ipv6)
    return (asking, asked) if frame.is_query else (asked, asking)


def _ports(frame: TapFrame) -> tuple[int, int]:
    asking = (frame.query_port or 0) & 0xFFFF
    asked = DNS_PORT if frame.response_port is None else frame.response_port & 0xFFFF
    return (asking, asked) if frame.is_query else (asked, asking)


def _plain(address: bytes | None) -> bytes:
    """4 or 16 octets, v4-mapped as IPv4; none where it is no address."""
    if address is None or len(address) not in (4, 16):
        return b""
    return address.removeprefix(MAPPED) if len(address) == 16 else address


def _of_version(address: bytes, is_ipv6: bool) -> bytes:
    if not is_ipv6:
        return address or bytes(4)
    return MAPPED + address if len(address) == 4 else address or bytes(16)


def _ipv4_header(source: bytes, target: bytes, size: int) -> bytes:
    fields = 0x45, 0, IPV4_HEADER + size, 0, DONT_FRAGMENT, HOP_LIMIT, UDP
    checksum = _checksum(_IPV4(*fields, 0) + source + target)
    return _IPV4(*fields, checksum) + source + target


def _ipv6_header(source: bytes, target: bytes, size: int) -> bytes:
    return _IPV6(6 << 28, size, UDP, HOP_LIMIT) + source + target


def _checksum(octets: bytes) -> int:
    """The Internet's (RFC 1071): a sum of 16-bit words that carries round is the whole number modulo 2^16 - 1."""
    if len(octets) & 1:
        octets += b"\0"
    return -int.from_bytes(octets, "big") % 0xFFFF
