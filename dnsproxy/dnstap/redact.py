"""Takes out of DNS messages in wire format what says who asked: functions from octets to octets, for any octets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnsproxy import wire
from dnsproxy.dnstap.anonymizer import Anonymizer, leading_bits
from dnsproxy.dnstap.rename import Renamer

if TYPE_CHECKING:
    from dnsproxy.dnstap.traces import AddressTrace

A, AAAA, SVCB, HTTPS = 1, 28, 64, 65
WITH_ADDRESSES: Final = frozenset([A, AAAA, SVCB, HTTPS])  # in which an address may be overwritten by another
XPF: Final = 65422  # draft-bellis-dnsop-xpf: a proxy's client, both its addresses and ports, as a record of a query
OPT_TYPE: Final = b"\0\x29"
EMPTY_OPT: Final = 10  # octets of an OPT without options, behind its owner

ECS, EARLY_ECS, COOKIE, PADDING, CHAIN, EDE, REPORT_CHANNEL = wire.ECS_OPTION, 20730, 10, 12, 13, wire.EDE_OPTION, 18
STRIPPED: Final = {"ecs": frozenset([ECS, EARLY_ECS]), "cookie": frozenset([COOKIE])}
# Options whose contents, as IANA's registry has them, say nothing of the client's address: beside those above NSID,
# DAU, DHU, N3U, EXPIRE, KEEPALIVE, KEY-TAG, ZONEVERSION. dnsmasq's and Umbrella's, which carry addresses, are not here.
IMPERSONAL: Final = frozenset([3, 5, 6, 7, ECS, 9, COOKIE, 11, PADDING, CHAIN, 14, EDE, REPORT_CHANNEL, 19])
WITH_NAMES: Final = frozenset([CHAIN, REPORT_CHANNEL])
FAMILY_OCTETS: Final = {1: 4, 2: 16}  # of an address, by the numbers that RFC 7871 takes


MEMO_ENTRIES: Final = 4096  # messages remembered with what becomes of them: about 4 MiB if each is as long as it may be
MEMO_WIRE: Final = 512  # octets; longer messages are edited each time


class Redactor:
    """Messages as they may be seen, by rules for their options and, with a renamer, without their names."""

    __slots__ = ("_known", "_renamer", "_rules")

    def __init__(self, rules: OptionRules, renamer: Renamer | None = None) -> None:
        self._rules = rules
        self._renamer = renamer
        self._known: dict[
            bytes, bytes
        ] = {}  # by what stands behind the ID: a query has the same twice, so has an answer

    def message(self, octets: bytes) -> bytes:
        """A message for any octets: those that cannot be walked are cut, those without a header become none."""
        if len(octets) < wire.QUESTION_START:
            return b""
        if self._renamer is None and has_no_options(octets):
            return octets
        behind_id = octets[2:]
        known = self._known.get(behind_id)
        if known is None:
            known = self._edited(octets)[2:]
            if len(octets) <= MEMO_WIRE:
                if len(self._known) >= MEMO_ENTRIES:
                    self._known.clear()
                self._known[behind_id] = known
        return octets if known == behind_id else octets[:2] + known

    def _edited(self, octets: bytes) -> bytes:
        renamer = self._renamer
        try:
            return self._rules.message(octets if renamer is None else renamer.message(octets))
        except wire.WireError:
            return cut(octets) if renamer is None else renamer.question(octets)


class OptionRules:
    """What becomes of the EDNS options of a message: which are removed, how ECS is changed, whether names may stay."""

    __slots__ = ("_anonymizer", "_names_stay", "_removed")

    def __init__(
        self, anonymizer: Anonymizer | None = None, removed: frozenset[int] = frozenset(), names_stay: bool = True
    ) -> None:
        self._anonymizer = anonymizer
        self._removed = removed | (frozenset() if names_stay else WITH_NAMES)
        self._names_stay = names_stay

    def message(self, octets: bytes) -> bytes:
        """The message with its options as they may be seen; WireError when it cannot be walked."""
        pieces = []
        done = 0
        _, records, end = walk(octets)
        for rtype, _, fixed, behind in records:
            if rtype == wire.OPT:
                data = self._options(octets, fixed, behind == end)
                pieces += [octets[done : fixed + 8], len(data).to_bytes(2, "big"), data]
                done = behind
            elif rtype == XPF and self._anonymizer is not None:
                pieces += [octets[done : fixed + 10], bytes(behind - fixed - 10)]
                done = behind
        return b"".join([*pieces, octets[done:end]])

    def _options(self, octets: bytes, fixed: int, is_last: bool) -> bytes:
        """New data of an OPT; of the same size unless it is the last record, as names behind it may be pointed to."""
        kept = []
        try:
            options = wire.opt_options(octets, fixed)
        except wire.WireError:
            if is_last:
                return b""
            raise
        for code, old in options:
            new = self._option(code, old, bool(octets[2] & wire.QR), not is_last)
            if new is not None:
                kept.append(_written(code, new))
            elif not is_last:
                kept.append(_written(PADDING, bytes(len(old))))
        return b"".join(kept)

    def _option(self, code: int, data: bytes, in_response: bool, same_size: bool) -> bytes | None:
        """An option's data as it may be seen; None when it may not."""
        is_personal = self._anonymizer is not None or not self._names_stay
        if code in self._removed or (is_personal and code not in IMPERSONAL):
            return None
        if code == ECS and self._anonymizer is not None:
            return anonymous_ecs(data, self._anonymizer, in_response, same_size)
        if code == EDE and not self._names_stay:
            return data[:2].ljust(len(data) if same_size else 2, b"\0")
        if code == PADDING and is_personal:
            return bytes(len(data))
        return data


def _written(code: int, data: bytes) -> bytes:
    return code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data


def has_no_options(octets: bytes) -> bool:
    """Whether a look without a walk is enough to know that there is no option, nor an address of a proxy's client.

    A record of type OPT has its type's octets in it, wherever it stands; most answers end with an empty one. In a
    query whatever else may be there is counted.
    """
    at = octets.find(OPT_TYPE, wire.QUESTION_START)
    if at < 0:
        return octets[2] >= wire.QR or octets[10:12] == b"\0\0"
    if at + EMPTY_OPT != len(octets) or not octets.endswith(b"\0\0"):
        return False
    return octets[2] >= wire.QR or octets[10:12] == b"\0\1"


def anonymous_ecs(data: bytes, anonymizer: Anonymizer, in_response: bool, same_size: bool = False) -> bytes | None:
    """The data of an ECS option with another address; None when RFC 7871 (section 6) does not allow what was there.

    The source prefix length shrinks to what is left of the address, unless the data must keep its size.
    """
    size = FAMILY_OCTETS.get(int.from_bytes(data[:2], "big"), 0)
    if len(data) < 4 or not size:
        return None
    source, scope = data[2], data[3]
    if source > size * 8 or scope > size * 8 or (scope and not in_response):
        return None
    address = data[4:].ljust(size, b"\0")
    if len(data) != 4 + (source + 7) // 8 or leading_bits(address, source) != address:
        return None
    address, bits = anonymizer.prefix(address, source)
    if same_size:
        bits = source
    return data[:2] + bytes((bits, scope)) + address[: (bits + 7) // 8]


def without_address(octets: bytes, trace: AddressTrace) -> bytes:
    """A message in which the client's address shows nowhere in names, record data and options.

    Where records hold addresses its octets are overwritten, an OPT loses its options; where that will not do the
    message is cut, and of a question that has the address in its name only type and class are left.
    """
    try:
        first, records, end = walk(octets)
    except wire.WireError:
        return cut(octets, trace)
    if trace.is_in(octets[wire.QUESTION_START : max(first - 4, wire.QUESTION_START)]):
        return cut(octets, trace)
    pieces = []
    done = 0
    for rtype, owner, fixed, behind in records:
        data = octets[fixed + 10 : behind]
        if trace.is_in(data):
            if rtype in WITH_ADDRESSES:
                data = data.replace(trace.packed, trace.stand_in)
            elif rtype == wire.OPT and behind == end:
                data = b""
            pieces += [octets[done : fixed + 8], len(data).to_bytes(2, "big"), data]
            done = behind
        if trace.is_in(data) or trace.is_in(octets[owner:fixed]):
            return cut(octets, trace)
    return b"".join([*pieces, octets[done:end]])


def cut(octets: bytes, trace: AddressTrace | None = None) -> bytes:
    """Only header, question and an OPT without options, as far as they can be found; b"" where there is no header."""
    if len(octets) < wire.QUESTION_START:
        return b""
    question = _question(octets)
    fixed = wire.opt_of(octets)
    opt = b"" if fixed < 0 else b"\0" + octets[fixed : fixed + 8] + b"\0\0"
    if trace is not None:
        if trace.is_in(question[:-4]):
            question = b"\0" + question[-4:]
        question = b"" if trace.is_in(question) else question
        opt = b"" if trace.is_in(opt) else opt
    counts = (0, 1 if question else 0, 0, 0, 0, 0, 0, 1 if opt else 0)
    return octets[:4] + bytes(counts) + question + opt


def _question(octets: bytes) -> bytes:
    """The one question of a message; b"" when it cannot be read."""
    try:
        end = wire.question_end(octets) if octets[4:6] == b"\0\1" else wire.QUESTION_START
    except wire.WireError:
        return b""
    return octets[wire.QUESTION_START : end]


def walk(octets: bytes) -> tuple[int, list[tuple[int, int, int, int]], int]:
    """Where the first record stands, all records, and the offset behind the last; WireError when there is no way.

    A record is its type, the offsets of its owner and of its fixed part, and the offset behind it.
    """
    if len(octets) < wire.QUESTION_START:
        raise wire.WireError("shorter than a header")
    _, _, qdcount, ancount, nscount, arcount = wire.HEADER.unpack_from(octets)
    first = wire.QUESTION_START
    for _ in range(qdcount):
        first = wire.skip_name(octets, first) + 4
    if first > len(octets):
        raise wire.WireError("question runs past the end")
    at = first
    records = []
    for _ in range(ancount + nscount + arcount):
        owner = at
        rtype, fixed, at = wire.skip_record(octets, owner)
        records.append((rtype, owner, fixed, at))
    return first, records, at
