"""A DNS message as BIND 9.18 takes it apart: the same checks, records put together by name, type and class."""

from __future__ import annotations

from struct import Struct
from typing import Final

from dnsproxy.tap.forms.render.bind_edns import read_options
from dnsproxy.tap.forms.render.bind_names import Unparsable, read_labels, read_name
from dnsproxy.tap.forms.render.bind_odd_rdata import is_hashed_owner
from dnsproxy.tap.forms.render.bind_rdata import data_text, deleted_text

__all__ = ["Message", "RecordSet", "Unparsable"]

HEADER: Final = 12
RECORD: Final = 10  # octets between owner and data
QUESTION, ANSWER, AUTHORITY, ADDITIONAL = range(4)
NOTIFY, UPDATE = 4, 5
QR: Final = 0x8000
SIG, KEY, OPT, RRSIG, NSEC3, TKEY, TSIG = 24, 25, 41, 46, 50, 249, 250
NONE, ANY = 254, 255
RESINFO: Final = 261
SINGLETONS: Final = {5, 6, 39, RESINFO}  # and CNAME, SOA, DNAME: one at a name; what repeats it counts for nothing
ONLY_ASKED: Final = range(251, 256)  # IXFR to ANY
OF_ANY_CLASS: Final = {TSIG, OPT, KEY, SIG, TKEY}
WITHOUT_CLASS: Final = {OPT, TSIG, TKEY}

_unpack_header = Struct("!HHHHHH").unpack_from
_unpack_record = Struct("!HHIH").unpack_from
_unpack_question = Struct("!HH").unpack_from


class RecordSet:
    """Records of one owner, type and class; `ttl` is the least of theirs, `data` their texts in order.

    Of a question there is no data.
    """

    __slots__ = ("data", "name", "rclass", "ttl", "type")

    def __init__(self, name: str, type: int, rclass: int, ttl: int = 0) -> None:
        self.name = name
        self.type = type
        self.rclass = rclass
        self.ttl = ttl
        self.data: list[str] = []


class Message:
    """What BIND finds; Unparsable if it refuses the octets. Those behind the last record are of no interest to it."""

    def __init__(self, wire: bytes) -> None:
        if len(wire) < HEADER:
            raise Unparsable("no header")
        self.id, self.flags, *self.counts = _unpack_header(wire)
        self.opcode = self.flags >> 11 & 15
        self.rcode = self.flags & 15
        self.sections: list[list[list[RecordSet]]] = [[], [], [], []]  # each the owners' sets, in order
        self.opt: tuple[int, int, list[tuple[int, bytes]]] | None = None
        self.tsig: RecordSet | None = None
        self.sig0: RecordSet | None = None
        self._wire = wire
        self._class: int | None = None
        self._has_tkey = False
        at = self._read_questions()
        for section in (ANSWER, AUTHORITY, ADDITIONAL):
            at = self._read_section(section, at)

    def _read_questions(self) -> int:
        at = HEADER
        questions: dict[int, RecordSet] = {}
        for _ in range(self.counts[QUESTION]):
            name, at = read_name(self._wire, at, len(self._wire))
            if at + 4 > len(self._wire):
                raise Unparsable("question is cut")
            type, qclass = _unpack_question(self._wire, at)
            at += 4
            first = next(iter(questions.values()), None)
            if first is not None and (first.name.lower() != name.lower() or type in questions):
                raise Unparsable("questions of several names, or the same twice")
            self._check_question_class(qclass)
            self._has_tkey = self._has_tkey or type == TKEY
            questions[type] = RecordSet(name if first is None else first.name, type, qclass)
        if questions:
            self.sections[QUESTION].append(list(questions.values()))
        return at

    def _check_question_class(self, qclass: int) -> None:
        """All have the same; that of updates and notifications is a class that data has."""
        if self.opcode in {NOTIFY, UPDATE} and qclass in {NONE, ANY}:
            raise Unparsable("a class without data")
        if self._class is not None and self._class != qclass:
            raise Unparsable("questions of several classes")
        self._class = qclass

    def _read_section(self, section: int, at: int) -> int:
        owners: dict[str, list[RecordSet]] = {}
        sets: dict[tuple[str, int, int, int], RecordSet] = {}
        for left in range(self.counts[section], 0, -1):
            record, covered, at = self._read_record(section, at, is_last=left == 1)
            if record.type == OPT or record is self.tsig or record is self.sig0:
                continue
            if self.opcode == UPDATE:
                self.sections[section].append([record])
            else:
                self._gather(section, record, covered, owners, sets)
        return at

    def _gather(
        self,
        section: int,
        record: RecordSet,
        covered: int,
        owners: dict[str, list[RecordSet]],
        sets: dict[tuple[str, int, int, int], RecordSet],
    ) -> None:
        """Puts a record where its owner's others are, under the name that the first has."""
        if record.type in ONLY_ASKED:
            raise Unparsable("a type that is only asked for")
        owner = record.name.lower()
        if owner not in owners:
            owners[owner] = []
            self.sections[section].append(owners[owner])
        key = owner, record.type, record.rclass, covered
        if key in sets:
            _join(sets[key], record)
        else:
            sets[key] = record
            owners[owner].append(record)
            record.name = owners[owner][0].name

    def _read_record(self, section: int, at: int, *, is_last: bool) -> tuple[RecordSet, int, int]:
        """A record, the type that it covers if it is a signature, and the offset behind it."""
        wire, owner_at = self._wire, at
        name, at = read_name(wire, at, len(wire))
        start = at + RECORD
        if start > len(wire):
            raise Unparsable("record is cut")
        type, rclass, ttl, size = _unpack_record(wire, at)
        self._check_class(type, rclass)
        self._check_place(section, name, type, rclass, is_last=is_last)
        end = start + size
        if end > len(wire):
            raise Unparsable("data is cut")
        record = RecordSet(name, type, rclass, ttl)
        record.data.append(self._data(section, record, start, end))
        covered = int.from_bytes(wire[start : start + 2], "big") if type in {SIG, RRSIG} and size else 0
        if type in {SIG, RRSIG} and size:
            self._check_covered(section, record, covered, is_last=is_last)
        if type == NSEC3 and not is_hashed_owner((read_labels(wire, owner_at, len(wire))[0] or [b""])[0]):
            raise Unparsable("owner is no hash")
        if type == TSIG:
            self.tsig = record
        return record, covered, end

    def _check_class(self, type: int, rclass: int) -> None:
        """That of the question, but for types whose class means something else, and updates."""
        if self._class is None and type not in WITHOUT_CLASS:
            self._class = rclass
        if self.opcode == UPDATE or self._class in {ANY, rclass}:
            return
        if type not in OF_ANY_CLASS or (type == KEY and not self._has_tkey):
            raise Unparsable("another class")

    def _check_place(self, section: int, name: str, type: int, rclass: int, *, is_last: bool) -> None:
        if type == TSIG:
            is_right = section == ADDITIONAL and rclass == ANY and is_last
        elif type == OPT:
            is_right = section == ADDITIONAL and name == "." and self.opt is None
        elif type == TKEY:
            is_right = section == ANSWER or (section == ADDITIONAL and not self.flags & QR)
        else:
            return
        if not is_right:
            raise Unparsable("record in the wrong place")

    def _data(self, section: int, record: RecordSet, start: int, end: int) -> str:
        wire, type, rclass = self._wire, record.type, record.rclass
        if type == OPT:
            self.opt = rclass, record.ttl, read_options(wire, start, end)
            self.rcode |= record.ttl >> 24 << 4
            return ""
        if self.opcode == UPDATE and section in {ANSWER, AUTHORITY} and rclass in {NONE, ANY}:
            if rclass == NONE and section == AUTHORITY:
                return deleted_text(wire, start, end, type, self._class or 0)
            if start != end:
                raise Unparsable("data where there is none")
            return ""
        return data_text(wire, start, end, type, rclass)

    def _check_covered(self, section: int, record: RecordSet, covered: int, *, is_last: bool) -> None:
        """A signature covers a type; SIG(0) signs the message (RFC 2931), and stands at its end."""
        if covered:
            if record.type == SIG and self._class not in {ANY, record.rclass}:
                raise Unparsable("another class")
        elif record.type == SIG and section == ADDITIONAL and is_last and record.name == ".":
            self.sig0 = record
        else:
            raise Unparsable("a signature of nothing")


def _join(records: RecordSet, another: RecordSet) -> None:
    records.ttl = min(records.ttl, another.ttl)
    if records.type not in SINGLETONS:
        records.data += another.data
    elif _folded(records) != _folded(another):
        raise Unparsable("two where there can be one")


def _folded(records: RecordSet) -> str:
    return records.data[0] if records.type == RESINFO else records.data[0].lower()
