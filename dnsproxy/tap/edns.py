"""EDNS options as text for people."""

from __future__ import annotations

import socket
from typing import Final

from dnsproxy.tap.words import EXTENDED_ERRORS
from dnsproxy.wire import ECS_OPTION, EDE_OPTION

COOKIE, KEEPALIVE = 10, 11
CLIENT_COOKIE_OCTETS: Final = 8  # the server's follows (RFC 7873)
ECS_FAMILIES: Final = {1: (socket.AF_INET, 4), 2: (socket.AF_INET6, 16)}


def option_text(code: int, data: bytes) -> str | None:
    """What an option says; None for octets that say nothing to people."""
    if code == ECS_OPTION:
        return subnet_text(data)
    if code == COOKIE:
        return f"{data[:CLIENT_COOKIE_OCTETS].hex()} {data[CLIENT_COOKIE_OCTETS:].hex()}".rstrip()
    if code == KEEPALIVE and len(data) == 2:
        return f"{int.from_bytes(data, 'big') / 10} s"
    if code == EDE_OPTION and len(data) >= 2:
        return _error_text(int.from_bytes(data[:2], "big"), data[2:].rstrip(b"\0"))
    return _printable(data)


def subnet_text(data: bytes) -> str | None:
    """`192.0.2.0/24/0`: address, source and scope prefix length of an ECS option (RFC 7871); None if it has none."""
    if len(data) < 4:
        return None
    family, size = ECS_FAMILIES.get(int.from_bytes(data[:2], "big"), (0, 0))
    if not family or len(data) - 4 > size:
        return None
    return f"{socket.inet_ntop(family, data[4:].ljust(size, bytes(1)))}/{data[2]}/{data[3]}"


def _error_text(code: int, text: bytes) -> str:
    words = EXTENDED_ERRORS[code] if code < len(EXTENDED_ERRORS) else ""
    return f"{code} {words}".rstrip() + (f": {text.decode('utf-8', 'replace')}" if text else "")


def _printable(data: bytes) -> str | None:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text and text.isprintable() else None
