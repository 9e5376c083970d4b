"""Padding of queries (RFC 7830), so that their length says little to who watches an encrypted connection."""

from __future__ import annotations

from typing import Final

from dnsproxy import wire
from dnsproxy.upstream.editing import opt

BLOCK: Final = 128  # octets: what queries are filled up to a multiple of (RFC 8467 section 4.1)
HEADER: Final = 4  # octets of an option without data
_FILL: Final = [opt.option(opt.PADDING, bytes(size)) for size in range(BLOCK)]


def padding_for(size: int) -> bytes:
    """The option that brings a message of `size` octets to a multiple of 128, as far as a message can be that long."""
    room = wire.MAX_MESSAGE - size - HEADER
    if room < 0:
        return b""
    return _FILL[min(-(size + HEADER) & BLOCK - 1, room)]
