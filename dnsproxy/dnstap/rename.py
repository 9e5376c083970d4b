"""Takes names out of DNS messages in wire format: all become the root, or each a keyed digest of itself."""

from __future__ import annotations

import os
from hashlib import blake2b
from typing import Final

from dnsproxy import wire

NAMES_KEPT: Final = 16384  # whose digests are remembered: 4 MiB at most
DIGEST_OCTETS: Final = 16  # no two names of a lifetime share one; twice as many hexadecimal digits fit one label
PERSON: Final = b"dnsproxy qname"  # a key that serves addresses too gives digests of their own
MAX_POINTER: Final = 0x3FFF  # the farthest offset that a compression pointer reaches

# Record data that is kept: octets before the names, names, octets behind them. All other types may show the name that
# was asked for, in text, signatures or hashes that can be guessed, and go without leaving a trace.
ADDRESSES: Final = {1: 4, 28: 16}
LAYOUTS: Final = {
    2: (0, 1, 0),  # NS
    5: (0, 1, 0),  # CNAME
    6: (0, 2, 20),  # SOA
    12: (0, 1, 0),  # PTR
    15: (2, 1, 0),  # MX
    17: (0, 2, 0),  # RP
    18: (2, 1, 0),  # AFSDB
    33: (6, 1, 0),  # SRV
    36: (2, 1, 0),  # KX
    39: (0, 1, 0),  # DNAME
}


_process_key: Final = [os.urandom(32)]


def process_key() -> bytes:
    """A key for digests that no key file gives: after each start a name has another one."""
    return _process_key[0]


def use_process_key(octets: bytes) -> None:
    """Make digests with the key of another process from now on, as workers do with their supervisor's."""
    _process_key[0] = octets


class Renamer:
    """With a key (of up to 64 octets) each name becomes one label, a digest of its lower case; without, the root.

    The root stays the root: it is nobody's name, and says in MX and SRV that there is none.
    """

    __slots__ = ("_key", "_known")

    def __init__(self, key: bytes | None) -> None:
        self._key = key
        self._known: dict[bytes, bytes] = {}

    def name(self, folded: bytes) -> bytes:
        """What stands for an uncompressed, lower-cased name."""
        if self._key is None or folded == b"\0":
            return b"\0"
        known = self._known.get(folded)
        if known is None:
            if len(self._known) >= NAMES_KEPT:
                self._known.clear()
            digest = blake2b(folded, key=self._key, digest_size=DIGEST_OCTETS, person=PERSON).hexdigest().encode()
            known = self._known[folded] = bytes((len(digest),)) + digest + b"\0"
        return known

    def message(self, octets: bytes) -> bytes:
        """The message with other names, without records that may show one; WireError when it cannot be read."""
        if len(octets) < wire.QUESTION_START:
            raise wire.WireError("shorter than a header")
        qdcount, *counts = wire.HEADER.unpack_from(octets)[2:]
        out = bytearray(octets[: wire.QUESTION_START])
        places: dict[bytes, int] = {}
        at = wire.QUESTION_START
        for _ in range(qdcount):
            at = self._copy_question(octets, at, out, places)
        for number, count in enumerate(counts):
            kept = 0
            for _ in range(count):
                before = len(out)
                at = self._copy_record(octets, at, out, places)
                kept += len(out) > before
            out[6 + 2 * number : 8 + 2 * number] = kept.to_bytes(2, "big")
        if len(out) > wire.MAX_MESSAGE:
            raise wire.WireError("longer than a message may be")
        return bytes(out)

    def question(self, octets: bytes) -> bytes:
        """Only the header of a message of at least 12 octets, and its question if that can be read."""
        out = bytearray(octets[:4] + bytes(8))
        if octets[4:6] == b"\0\1":
            try:
                self._copy_question(octets, wire.QUESTION_START, out, {})
                out[5] = 1
            except wire.WireError:
                pass
        return bytes(out)

    def _copy_question(self, octets: bytes, at: int, out: bytearray, places: dict[bytes, int]) -> int:
        folded, behind = read_name(octets, at)
        if behind + 4 > len(octets):
            raise wire.WireError("question runs past the end")
        self._put_owner(folded, out, places)
        out += octets[behind : behind + 4]
        return behind + 4

    def _copy_record(self, octets: bytes, at: int, out: bytearray, places: dict[bytes, int]) -> int:
        """Append the record at `at` if it can stay; the offset behind it."""
        rtype, fixed, behind = wire.skip_record(octets, at)
        if rtype == wire.OPT:
            out += b"\0" + octets[fixed:behind]
            return behind
        data = self._data(octets, rtype, fixed + 10, behind)
        if data is not None:
            self._put_owner(read_name(octets, at)[0], out, places)
            out += octets[fixed : fixed + 8] + len(data).to_bytes(2, "big") + data
        return behind

    def _data(self, octets: bytes, rtype: int, start: int, end: int) -> bytes | None:
        """Record data with other names; None where they cannot be told from the rest."""
        if ADDRESSES.get(rtype) == end - start:
            return octets[start:end]
        layout = LAYOUTS.get(rtype)
        if layout is None:
            return None
        before, names, after = layout
        at = start + before
        data = octets[start:at]
        for _ in range(names):
            folded, at = read_name(octets, at)
            data += self.name(folded)
        return data + octets[at:end] if at + after == end else None

    def _put_owner(self, folded: bytes, out: bytearray, places: dict[bytes, int]) -> None:
        name = self.name(folded)
        place = places.get(name)
        if place is not None:
            out += (0xC000 | place).to_bytes(2, "big")
            return
        if len(name) > 2 and len(out) <= MAX_POINTER:
            places[name] = len(out)
        out += name


def read_name(octets: bytes, start: int) -> tuple[bytes, int]:
    """The name at `start`, uncompressed and lower-cased, and the offset behind it; pointers lead backwards only."""
    labels: list[bytes] = []
    at = earliest = start
    behind = -1
    size = 1
    while True:
        if at >= len(octets):
            raise wire.WireError("name runs past the end")
        length = octets[at]
        if length == 0:
            return b"".join(labels).lower() + b"\0", at + 1 if behind < 0 else behind
        if length >= 0xC0:
            target = int.from_bytes(octets[at : at + 2], "big") & MAX_POINTER
            if at + 2 > len(octets) or not wire.QUESTION_START <= target < earliest:
                raise wire.WireError("compression pointer leads nowhere")
            behind = at + 2 if behind < 0 else behind
            at = earliest = target
            continue
        size += length + 1
        if length > 63 or size > wire.MAX_NAME:
            raise wire.WireError("unknown label type, or a name longer than 255 octets")
        labels.append(octets[at : at + length + 1])
        at += length + 1
