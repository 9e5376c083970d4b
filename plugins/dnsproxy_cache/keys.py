"""What an answer depends on, as octets: two queries with the same key may have the same answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dnsproxy import wire

if TYPE_CHECKING:
    from dnsproxy.message import Query

ECS = frozenset((wire.ECS_OPTION,))
# IANA "DNS EDNS0 Option Codes": those that leave the records of an answer as they are. NSID, DAU, DHU, N3U, EXPIRE,
# COOKIE, TCP-KEEPALIVE, PADDING, KEY-TAG, EDE, REPORT-CHANNEL, ZONEVERSION
WITHOUT_EFFECT = frozenset((3, 5, 6, 7, 9, 10, 11, 12, 14, 15, 18, 19))
TRANSACTIONS = range(249, 253)  # TKEY, TSIG, IXFR, AXFR: about one exchange, not about data (RFC 6895 section 3.1)
_COUNTS = {False: bytes(6), True: bytes(5) + b"\1"}  # of the other sections, by whether there is an OPT


def key_of(query: Query, ignored: frozenset[int] = WITHOUT_EFFECT) -> bytes | None:
    """Name, type, class, RD, CD, AD, DO, options but for `ignored`, and partition; None: not for a cache."""
    shape = query.shape
    has_opt = shape.opt_offset >= 0
    if query.wire[6:12] != _COUNTS[has_opt] or shape.qtype in TRANSACTIONS:
        return None
    bits = shape.rd | shape.cd << 1 | shape.ad << 2 | shape.do << 3
    key = shape.folded + shape.question[-4:] + bytes((bits,))
    options = _options(query, ignored) if has_opt else b""
    if not options and not query.partition:
        return key
    return key + len(options).to_bytes(2, "big") + options + query.partition


def shared_key(query: Query) -> bytes | None:
    """The key of the same query from any subnet."""
    return key_of(query, WITHOUT_EFFECT | ECS)


def subnet_of(query: Query) -> bytes:
    """The data of the query's ECS option (RFC 7871 section 6), b"" without one."""
    if not query.shape.ecs:
        return b""
    options = wire.opt_options(query.wire, query.shape.opt_offset)
    return next(data for code, data in options if code == wire.ECS_OPTION)


def _options(query: Query, ignored: frozenset[int]) -> bytes:
    fixed = query.shape.opt_offset
    if query.wire[fixed + 8 : fixed + 10] == b"\0\0":
        return b""
    return b"".join(
        code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data
        for code, data in wire.opt_options(query.wire, fixed)
        if code not in ignored
    )
