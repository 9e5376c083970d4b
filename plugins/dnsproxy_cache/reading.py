"""What of an upstream's answer may be kept, and for how long (RFC 2308, RFC 8767 section 4)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from dnsproxy import wire
from dnsproxy.errors import NOERROR, NXDOMAIN

if TYPE_CHECKING:
    from dnsproxy.shape import Shape

SOA, ANY = 6, 255
POINTER = 0xC0  # how a compressed name begins (RFC 1035 section 4.1.4)
FAILURE_S = 5  # SERVFAIL and the like: long enough to spare a struggling upstream, too short to be noticed
MAX_TTL = 2**31 - 1  # a TTL with the highest bit set is 0 (RFC 2181 section 8)
MAX_KEPT = wire.MAX_MESSAGE - 512  # octets; leaves room for our OPT
SOA_NUMBERS = 22  # octets of the least SOA: two root names and five numbers, the minimum last
TTL = struct.Struct("!I")
_COUNTS = struct.Struct("!HHH")


class Bounds(NamedTuple):
    """How long answers are kept, in whole seconds."""

    min_ttl: int = 0
    max_ttl: int = 86400
    max_negative_ttl: int = 3600


class Answer(NamedTuple):
    """What is kept: `wire` without OPT, AA clear, its TTLs (at `offsets`) as the first hit shows them.

    `scope` is the prefix length that ECS says it holds for (RFC 7871 section 7.2.1), None when it does not say.
    """

    wire: bytes
    offsets: tuple[int, ...]
    life: int
    failed: bool
    scope: int | None


def read(octets: bytes, shape: Shape, bounds: Bounds) -> Answer | None:
    """The part of the response `octets` that may be kept; None when nothing may, whatever it is."""
    if octets[2] & wire.TC or not _answers(octets, shape):
        return None
    failed = octets[3] & 15 not in (NOERROR, NXDOMAIN)
    least, most = bounds.min_ttl, bounds.max_ttl
    scope = None
    try:
        types, offsets, ttls = _walk(octets, shape.question_end)
        if wire.OPT in types:
            scope = _scope(octets, types, offsets) if shape.ecs else None
            octets = _without_opt(octets, types, offsets, ttls)
        shown = ttls
        if not failed and _is_negative(octets, types, shape.qtype):
            shown, least = _negative(octets, types, offsets, ttls, bounds), 0
    except (wire.WireError, struct.error, IndexError):
        return None
    life = min(shown) if shown else FAILURE_S
    if not life or len(octets) > MAX_KEPT:
        return None
    if shown and (life < least or max(shown) > most):
        shown = [min(max(ttl, least), most) for ttl in shown]
        life = min(shown)
    if shown is not ttls or octets[2] & wire.AA:
        octets = _edited(octets, offsets, shown)
    return Answer(octets, tuple(offsets), min(life, FAILURE_S) if failed else life, failed, scope)


def _answers(octets: bytes, shape: Shape) -> bool:
    """Whether it is a response to that question: what is kept must have the client's own at its head."""
    end = shape.question_end
    if octets[4:6] != b"\0\1" or not octets[2] & wire.QR:
        return False
    if octets[12:end] == shape.question:
        return True
    return octets[12 : end - 4].lower() == shape.folded and octets[end - 4 : end] == shape.question[-4:]


def _walk(octets: bytes, start: int) -> tuple[list[int], list[int], list[int]]:
    """All records behind the question: their types, the offsets of their TTLs, and those.

    Raises what reading past the end raises, and WireError.
    """
    ancount, nscount, arcount = _COUNTS.unpack_from(octets, 6)
    types, offsets, ttls = [], [], []
    at = start
    for _ in range(ancount + nscount + arcount):
        at = at + 2 if octets[at] >= POINTER else wire.skip_name(octets, at)
        rtype, _, ttl, rdlength = wire.RECORD.unpack_from(octets, at)
        types.append(rtype)
        offsets.append(at + 4)
        ttls.append(ttl if ttl <= MAX_TTL else 0)
        at += 10 + rdlength
    if at != len(octets):
        raise wire.WireError("octets are missing or left over")
    return types, offsets, ttls


def _without_opt(octets: bytes, types: list[int], offsets: list[int], ttls: list[int]) -> bytes:
    """The message without its OPT, which leaves the lists too; WireError unless it is the last record of all.

    What stands behind it could be signed (TSIG), or point to names by offsets that would be others.
    """
    opt = offsets.pop()
    start = offsets[-1] + 6 + _rdlength(octets, offsets[-1]) if offsets else wire.question_end(octets)
    arcount = octets[10] << 8 | octets[11]
    if types.pop() != wire.OPT or wire.OPT in types or not arcount or start != opt - 5:
        raise wire.WireError("OPT in the wrong place")
    ttls.pop()
    if octets[opt]:
        raise wire.WireError("extended RCODE")
    return octets[:10] + (arcount - 1).to_bytes(2, "big") + octets[12:start]


def _scope(octets: bytes, types: list[int], offsets: list[int]) -> int | None:
    """What the OPT says about subnets."""
    opt = offsets[types.index(wire.OPT)] - 4
    for code, data in wire.opt_options(octets, opt):
        if code == wire.ECS_OPTION and len(data) >= 4:
            return data[3]
    return None


def _is_negative(octets: bytes, types: list[int], qtype: int) -> bool:
    """Whether it is NXDOMAIN or NODATA (RFC 2308 section 2): no such record, at most aliases that lead to none."""
    ancount = octets[6] << 8 | octets[7]
    if octets[3] & 15 or not ancount:
        return True
    return types[0] != qtype and qtype != ANY and qtype not in types[:ancount] and SOA in types[ancount:]


def _negative(octets: bytes, types: list[int], offsets: list[int], ttls: list[int], bounds: Bounds) -> list[int]:
    """The TTLs, that of the SOA being how long there will be nothing (RFC 2308 section 5); WireError without SOA."""
    ancount, nscount, _ = _COUNTS.unpack_from(octets, 6)
    authority = types[ancount : ancount + nscount]
    if SOA not in authority:
        raise wire.WireError("no SOA")
    soa = ancount + authority.index(SOA)
    shown = ttls.copy()
    shown[soa] = min(ttls[soa], _soa_minimum(octets, offsets[soa]), bounds.max_negative_ttl)
    return shown


def _soa_minimum(octets: bytes, offset: int) -> int:
    rdlength = _rdlength(octets, offset)
    if rdlength < SOA_NUMBERS:
        raise wire.WireError("SOA is cut")
    minimum: int = TTL.unpack_from(octets, offset + 2 + rdlength)[0]
    return minimum if minimum <= MAX_TTL else 0


def _rdlength(octets: bytes, offset: int) -> int:
    return octets[offset + 4] << 8 | octets[offset + 5]


def _edited(octets: bytes, offsets: list[int], ttls: list[int]) -> bytes:
    kept = bytearray(octets)
    kept[2] &= ~wire.AA & 0xFF
    for offset, ttl in zip(offsets, ttls, strict=True):
        TTL.pack_into(kept, offset, ttl)
    return bytes(kept)
