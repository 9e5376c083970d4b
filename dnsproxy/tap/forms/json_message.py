"""The keys of `--json` that a DNS message in wire format is read for, as JSON text."""

from __future__ import annotations

from binascii import b2a_base64
from json.encoder import encode_basestring_ascii as quote
from struct import Struct
from typing import Final

from dnsproxy import wire as dns
from dnsproxy.tap.edns import option_text
from dnsproxy.tap.rdata import data_text, generic_text, read_name
from dnsproxy.tap.words import CLASSES, OPCODES, OPTIONS, TYPES, rcode_word, word

NO_MESSAGE: Final = (
    '"id":null,"opcode":null,"rcode":null,"flags":null,"qname":null,"qtype":null,"qclass":null,"qdcount":null,'
    '"ancount":null,"nscount":null,"arcount":null,"answer":null,"authority":null,"additional":null,"edns":null'
)
FLAGS: Final = (
    (0x8000, "qr"),
    (0x0400, "aa"),
    (0x0200, "tc"),
    (0x0100, "rd"),
    (0x0080, "ra"),
    (0x0020, "ad"),
    (0x0010, "cd"),
)
WITHOUT: Final = frozenset([dns.OPT, 250])  # OPT has a key of its own, and TSIG none

_unpack_header = Struct("!HHHHHH").unpack_from
_unpack_record = Struct("!HHIH").unpack_from
_flags_texts: dict[int, str] = {}


def message_keys(wire: bytes, is_query: bool) -> tuple[str, str | None]:
    """From `opcode` to `edns`, without the braces, and why not all of it could be read; there is a header."""
    reading = _Reading(wire)
    reading.read()
    return reading.keys(is_query), reading.malformed


class _Reading:
    """One message: what could be read of it, up to where something is wrong."""

    __slots__ = ("_at", "_counts", "_flags", "_rcode_high", "_wire", "edns", "malformed", "question", "sections")

    def __init__(self, wire: bytes) -> None:
        _, self._flags, *self._counts = _unpack_header(wire)
        self._wire = wire
        self._at = dns.QUESTION_START
        self._rcode_high = 0
        self.question = '"qname":null,"qtype":null,"qclass":null'
        self.sections = ["null", "null", "null"]
        self.edns = "null"
        self.malformed: str | None = None

    def keys(self, is_query: bool) -> str:
        flags = self._flags
        rcode = "null" if is_query else f'"{rcode_word(self._rcode_high << 4 | flags & 15)}"'
        qdcount, ancount, nscount, arcount = self._counts
        answer, authority, additional = self.sections
        shown = _flags_texts.get(flags) or _flags_text(flags)
        return (
            f'"opcode":"{word(OPCODES, flags >> 11 & 15)}","rcode":{rcode},"flags":{shown},{self.question},'
            f'"qdcount":{qdcount},"ancount":{ancount},"nscount":{nscount},"arcount":{arcount},'
            f'"answer":{answer},"authority":{authority},"additional":{additional},"edns":{self.edns}'
        )

    def read(self) -> None:
        try:
            self._questions()
            for number, count in enumerate(self._counts[1:]):
                self._section(number, count)
        except ValueError as exc:
            self.malformed = str(exc)
        else:
            left = len(self._wire) - self._at
            if left and self.malformed is None:
                self.malformed = f"{left} octets behind the last record"

    def _questions(self) -> None:
        for number in range(self._counts[0]):
            name, at = read_name(self._wire, self._at)
            self._at = at + 4
            if self._at > len(self._wire):
                raise dns.WireError("question runs past the end")
            if number == 0:
                qtype = int.from_bytes(self._wire[at : at + 2], "big")
                qclass = int.from_bytes(self._wire[at + 2 : at + 4], "big")
                self.question = (
                    f'"qname":{quote(name)},"qtype":"{word(TYPES, qtype)}","qclass":"{word(CLASSES, qclass)}"'
                )

    def _section(self, number: int, count: int) -> None:
        records: list[str] = []
        try:
            for _ in range(count):
                record = self._record()
                if record:
                    records.append(record)
        finally:
            self.sections[number] = f"[{','.join(records)}]"

    def _record(self) -> str:
        """The record at `_at`; nothing if it is not to be in a list."""
        wire = self._wire
        name, at = read_name(wire, self._at)
        start = at + 10
        if start > len(wire):
            raise dns.WireError("record runs past the end")
        rtype, rclass, ttl, size = _unpack_record(wire, at)
        end = start + size
        if end > len(wire):
            raise dns.WireError("record data runs past the end")
        self._at = end
        if rtype in WITHOUT:
            if rtype == dns.OPT and self.edns == "null":
                self._opt(rclass, ttl, wire[start:end])
            return ""
        return (
            f'{{"name":{quote(name)},"ttl":{ttl},"class":"{word(CLASSES, rclass)}","type":"{word(TYPES, rtype)}",'
            f'"data":{quote(self._data(rtype, rclass, start, end))}}}'
        )

    def _data(self, rtype: int, rclass: int, start: int, end: int) -> str:
        try:
            return data_text(self._wire, rtype, rclass, start, end)
        except ValueError as exc:
            self._blame(f"{word(TYPES, rtype)} record: {exc}")
            return generic_text(self._wire[start:end])

    def _opt(self, udp_size: int, ttl: int, data: bytes) -> None:
        self._rcode_high = ttl >> 24
        options = []
        at = 0
        while at < len(data):
            behind = at + 4 if at + 4 > len(data) else at + 4 + (data[at + 2] << 8 | data[at + 3])
            if behind > len(data):
                self._blame("EDNS option runs past the OPT record")
                break
            options.append(_option(data[at] << 8 | data[at + 1], data[at + 4 : behind]))
            at = behind
        do = "true" if ttl & dns.DO_BIT else "false"
        self.edns = f'{{"version":{ttl >> 16 & 255},"udp_size":{udp_size},"do":{do},"options":[{",".join(options)}]}}'

    def _blame(self, reason: str) -> None:
        if self.malformed is None:
            self.malformed = reason


def _flags_text(flags: int) -> str:
    text = _flags_texts[flags] = "[" + ",".join([f'"{flag}"' for bit, flag in FLAGS if flags & bit]) + "]"
    return text


def _option(code: int, data: bytes) -> str:
    text = option_text(code, data)
    shown = "null" if text is None else quote(text)
    return f'{{"code":{code},"name":"{word(OPTIONS, code)}","data":"{base64_text(data)}","text":{shown}}}'


def base64_text(octets: bytes) -> str:
    """Without line breaks."""
    return b2a_base64(octets, newline=False).decode("ascii")
