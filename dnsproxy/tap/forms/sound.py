"""Whether a DNS message is one that any library can unpack, told quickly; doubtful ones are left to a real parser."""

from __future__ import annotations

from struct import Struct
from typing import Final

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, DNAME, OPT = 1, 2, 5, 6, 12, 15, 16, 28, 39, 41
SIZES: Final = {A: 4, AAAA: 16, OPT: 0}
NAMES: Final = {NS: (0, 1, 0), CNAME: (0, 1, 0), SOA: (0, 2, 20), PTR: (0, 1, 0), MX: (2, 1, 0), DNAME: (0, 1, 0)}
"""Of record data: octets before the names, names, octets behind them."""
NAME_MAX: Final = 254  # octets; miekg/dns takes one less than the standard does
LABEL_MAX: Final = 63
HEADER: Final = 12
POINTER: Final = 0xC0

_unpack_record = Struct("!HHIH").unpack_from
_unpack_counts = Struct("!HHHH").unpack_from


def is_sound(wire: bytes) -> bool:
    """Whether there is one question, every record is of a common type and right, and nothing is left over."""
    try:
        return len(wire) > HEADER and _Walk(wire).is_right()
    except IndexError:
        return False


class _Walk:
    """Through one message; names may point only to where labels of earlier names begin."""

    __slots__ = ("_at", "_sizes", "_wire")

    def __init__(self, wire: bytes) -> None:
        self._wire = wire
        self._at = HEADER
        self._sizes: dict[int, int] = {}  # of names, by where they begin

    def is_right(self) -> bool:
        wire = self._wire
        qdcount, ancount, nscount, arcount = _unpack_counts(wire, 4)
        if qdcount != 1 or not self._name():
            return False
        self._at += 4
        for _ in range(ancount + nscount + arcount):
            if not self._record():
                return False
        return self._at == len(wire)

    def _record(self) -> bool:
        wire = self._wire
        if not self._name():
            return False
        at = self._at + 10
        if at > len(wire):
            return False
        rtype, _, _, size = _unpack_record(wire, at - 10)
        end = at + size
        self._at = end
        if end > len(wire):
            return False
        if rtype in SIZES:
            return SIZES[rtype] == int(size)
        if rtype == TXT:
            return at < end and self._strings(at, end)
        return rtype in NAMES and self._names(rtype, at, end)

    def _names(self, rtype: int, at: int, end: int) -> bool:
        before, names, behind = NAMES[rtype]
        self._at = at + before
        for _ in range(names):
            if not self._name():
                return False
        self._at += behind
        return self._at == end

    def _strings(self, at: int, end: int) -> bool:
        while at < end:
            at += self._wire[at] + 1
        return at == end

    def _name(self) -> bool:
        """Step over the name at `_at`; IndexError where the octets end."""
        wire, at = self._wire, self._at
        size = wire[at]
        if size == POINTER and wire[at + 1] == HEADER < at:  # to the question's name, as most owners do
            self._at = at + 2
            return True
        starts = []
        while 0 < size <= LABEL_MAX:
            starts.append(at)
            at += size + 1
            size = wire[at]
        length = 1
        behind = at + 1
        if size >= POINTER:
            length = self._sizes.get((size & 0x3F) << 8 | wire[at + 1], NAME_MAX + 1)
            behind = at + 2
        elif size:
            return False
        if starts and length + at - starts[0] > NAME_MAX:
            return False
        for start in starts:
            self._sizes[start] = length + at - start
        self._at = behind
        return length <= NAME_MAX
