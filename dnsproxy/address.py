"""IP addresses with ports, in the kernel's form and in text."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any, Final

SOCKADDR_SIZE = 28  # sizeof(struct sockaddr_in6): room for either family
KEY_START: Final = 4  # of a padded sockaddr: what tells clients apart, in either family
KEY_END: Final = 24

_MAPPED = b"\0" * 10 + b"\xff\xff"
_V4 = struct.pack("=H", socket.AF_INET)


class Address:
    """An IP address and port. `packed` has 4 or 16 octets (v4-mapped: 4), `sockaddr` is the kernel's form."""

    __slots__ = ("family", "host", "packed", "port", "sockaddr")

    def __init__(self, sockaddr: bytes) -> None:
        self.sockaddr = sockaddr
        self.port = int.from_bytes(sockaddr[2:4], "big")
        packed = sockaddr[4:8] if sockaddr[:2] == _V4 else sockaddr[8:24]
        self.packed = packed[12:] if packed[:12] == _MAPPED and len(packed) == 16 else packed
        self.family = socket.AF_INET if len(self.packed) == 4 else socket.AF_INET6
        self.host = socket.inet_ntop(self.family, self.packed)
        scope = int.from_bytes(sockaddr[24:28], sys.byteorder) if len(packed) == 16 else 0
        if scope:
            self.host += f"%{_interface(scope)}"

    @classmethod
    def of(cls, host: str, port: int, scope: int = 0) -> Address:
        """From text; ValueError when `host` is not an IP address."""
        return cls(make_sockaddr(host, port, scope))

    def socket_tuple(self) -> tuple[Any, ...]:
        """What Python's socket module takes for bind and connect."""
        if self.sockaddr[:2] == _V4:
            return (socket.inet_ntop(socket.AF_INET, self.sockaddr[4:8]), self.port)
        host = socket.inet_ntop(socket.AF_INET6, self.sockaddr[8:24])
        return (host, self.port, 0, int.from_bytes(self.sockaddr[24:28], sys.byteorder))

    @property
    def socket_family(self) -> socket.AddressFamily:
        """Family of the socket that talks to this address."""
        return socket.AF_INET if self.sockaddr[:2] == _V4 else socket.AF_INET6

    def __str__(self) -> str:
        return f"{self.host}:{self.port}" if self.family == socket.AF_INET else f"[{self.host}]:{self.port}"

    def __repr__(self) -> str:
        return f"<Address {self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and self.sockaddr == other.sockaddr

    def __hash__(self) -> int:
        return hash(self.sockaddr)


def _interface(scope: int) -> str:
    try:
        return socket.if_indextoname(scope)
    except OSError:
        return str(scope)


def make_sockaddr(host: str, port: int, scope: int = 0) -> bytes:
    """The kernel's sockaddr for an IP address in text, padded to 28 octets; ValueError when it is none."""
    host, _, zone = host.partition("%")
    if zone:
        scope = int(zone) if zone.isdigit() else socket.if_nametoindex(zone)
    try:
        if ":" in host:
            packed = socket.inet_pton(socket.AF_INET6, host)
            return struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0) + packed + struct.pack("=I", scope)
        return (_V4 + struct.pack("!H", port) + socket.inet_pton(socket.AF_INET, host)).ljust(SOCKADDR_SIZE, b"\0")
    except OSError as exc:
        raise ValueError(f"{host!r} is not an IP address") from exc


def sockaddr_of(name: tuple[Any, ...]) -> bytes:
    """The padded sockaddr for an address as Python's socket module gives it."""
    return make_sockaddr(name[0].partition("%")[0], name[1], name[3] if len(name) == 4 else 0)
