"""The OPT record of a message (RFC 6891), found, read and replaced in wire form."""

from __future__ import annotations

import struct
from typing import Final

from dnsproxy import wire

ECS: Final = wire.ECS_OPTION
COOKIE: Final = 10
PADDING: Final = 12
FIXED: Final = 11  # octets of an OPT without options: its owner is the root
NO_FLAGS: Final = bytes(4)  # what stands in place of a TTL: version 0, DO clear
_HEAD: Final = b"\0\0" + bytes((wire.OPT,))
POINTER: Final = 0xC0  # how a compressed name begins (RFC 1035 section 4.1.4)
POINTS_TO: Final = 0x3FFF  # the offsets that it can tell
# where names stand in the data of the types that may compress them (RFC 3597 section 4): offset and number.
# NS, CNAME, SOA, MB, MG, MR, PTR, MINFO, MX, RP, AFSDB, RT, PX, SRV, DNAME
NAMES: Final = {
    **dict.fromkeys((2, 5, 7, 8, 9, 12, 39), (0, 1)),
    **dict.fromkeys((6, 14, 17), (0, 2)),
    **dict.fromkeys((15, 18, 21), (2, 1)),
    26: (2, 2),
    33: (6, 1),
}


def find(octets: bytes, question_end: int = 0) -> int:
    """Where the OPT begins; -1 without one, or when the records up to it cannot be walked.

    `question_end` is the offset behind the one question, where that is known.
    """
    try:
        at = question_end or wire.QUESTION_START
        for _ in range(0 if question_end else octets[4] << 8 | octets[5]):
            at = wire.skip_name(octets, at) + 4
        others = (octets[6] << 8 | octets[7]) + (octets[8] << 8 | octets[9])
        for _ in range(others):
            at = at + 2 if octets[at] >= POINTER else wire.skip_name(octets, at)
            at += 10 + (octets[at + 8] << 8 | octets[at + 9])
        for _ in range(octets[10] << 8 | octets[11]):
            start = at
            at = at + 2 if octets[at] >= POINTER else wire.skip_name(octets, at)
            end = at + 10 + (octets[at + 8] << 8 | octets[at + 9])
            if octets[at] == 0 and octets[at + 1] == wire.OPT:
                return start if at == start + 1 and end <= len(octets) else -1
            at = end
    except (IndexError, wire.WireError):
        pass
    return -1


def options_at(octets: bytes, start: int) -> list[tuple[int, bytes]]:
    """Options (code, data) of the OPT at `start`; WireError when they overlap its end."""
    if octets[start + 9 : start + FIXED] == b"\0\0":
        return []
    return wire.opt_options(octets, start + 1)


def option(code: int, data: bytes) -> bytes:
    """An option in wire form."""
    return struct.pack("!HH", code, len(data)) + data


def record(size: int, options: bytes, flags: bytes = NO_FLAGS) -> bytes:
    """An OPT that offers to take `size` octets."""
    return _HEAD + size.to_bytes(2, "big") + flags + len(options).to_bytes(2, "big") + options


def with_options(octets: bytes, start: int, options: bytes) -> bytes:
    """The message, the OPT at `start` having these options; WireError when what stands behind it cannot be walked."""
    opt = octets[start : start + 9] + len(options).to_bytes(2, "big") + options
    return octets[:start] + opt + _behind(octets, start, len(opt))


def without(octets: bytes, start: int) -> bytes:
    """The message without the OPT at `start`; SERVFAIL in place of an RCODE that takes one. WireError as above."""
    rcode = octets[3] if octets[start + 5] == 0 else octets[3] & 0xF0 | wire.SERVFAIL
    arcount = (octets[10] << 8 | octets[11]) - 1
    head = octets[:3] + bytes((rcode,)) + octets[4:10] + arcount.to_bytes(2, "big") + octets[12:start]
    return head + _behind(octets, start, 0)


def _behind(octets: bytes, start: int, size: int) -> bytes:
    """What stands behind the OPT at `start`, its names adjusted to the OPT having `size` octets from now on."""
    end = start + FIXED + (octets[start + 9] << 8 | octets[start + 10])
    if end == len(octets):
        return b""  # as nearly always
    shift = start + size - end
    try:
        return _shifted(octets, end, shift) if shift else octets[end:]
    except (IndexError, struct.error) as exc:
        raise wire.WireError("records behind the OPT run past the end") from exc


def _shifted(octets: bytes, start: int, shift: int) -> bytes:
    """The records from `start` on; names that point to what moves with them follow."""
    moved = bytearray(octets)
    at = start
    while at < len(octets):
        at = _shift_name(moved, at, start, shift)
        rtype, _, _, rdlength = wire.RECORD.unpack_from(octets, at)
        end = at + 10 + rdlength
        offset, names = NAMES.get(rtype, (0, 0))
        at += 10 + offset
        for _ in range(names):
            at = _shift_name(moved, at, start, shift)
        if end > len(octets) or at > end:
            raise wire.WireError("record data runs past the end")
        at = end
    return bytes(moved[start:])


def _shift_name(moved: bytearray, at: int, start: int, shift: int) -> int:
    """Adjust the name at `at`; the offset behind it."""
    end = wire.skip_name(bytes(moved), at)
    if end - at >= 2 and moved[end - 2] >= POINTER:
        target = (moved[end - 2] << 8 | moved[end - 1]) & POINTS_TO
        if target >= start:
            target += shift
            if not 0 <= target <= POINTS_TO:
                raise wire.WireError("a name cannot be pointed to any more")
            moved[end - 2 : end] = (target | POINTER << 8).to_bytes(2, "big")
    return end
