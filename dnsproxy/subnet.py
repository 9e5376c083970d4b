"""Parts of the clients, by their addresses: what EDNS Client Subnet tells upstreams, and whom an answer is for."""

from __future__ import annotations

import socket
import struct
from typing import Final

LABEL: Final = "forward/subnet"  # metadata of a query whose answer is for that part of the clients only: a Subnet
_V4: Final = struct.pack("=H", socket.AF_INET)
_V6: Final = struct.pack("=H", socket.AF_INET6)
_MAPPED: Final = b"\0" * 10 + b"\xff\xff"


class Subnet:
    """The addresses that agree with `packed` (4 or 16 octets) in the first `bits`, the others of which are zero."""

    __slots__ = ("bits", "packed")

    def __init__(self, packed: bytes, bits: int) -> None:
        size = len(packed)
        self.bits = min(bits, 8 * size)
        self.packed = cut(packed, self.bits).ljust(size, b"\0")

    def __str__(self) -> str:
        family = socket.AF_INET if len(self.packed) == 4 else socket.AF_INET6
        return f"{socket.inet_ntop(family, self.packed)}/{self.bits}"

    def __repr__(self) -> str:
        return f"<Subnet {self}>"


def packed_of(sockaddr: bytes) -> bytes:
    """The 4 or 16 octets of the IP address in a kernel's sockaddr (IPv4-mapped: 4); b"" when it has none."""
    family = sockaddr[:2]
    if family == _V4:
        return sockaddr[4:8]
    if family != _V6:
        return b""
    packed = sockaddr[8:24]
    return packed[12:] if packed[:12] == _MAPPED else packed


def cut(packed: bytes, bits: int) -> bytes:
    """The octets that hold the first `bits`, the last one's other bits zero (RFC 7871 section 6)."""
    whole, left = bits >> 3, bits & 7
    if not left:
        return packed[:whole]
    return packed[:whole] + bytes((packed[whole] & 0xFF << 8 - left & 0xFF,))
