"""A DNS message as miekg/dns 1.1.50 prints it, which is what `dnstap -y` and `dnstap -j` show."""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from dnsproxy.tap.forms.render.miekg_edns import opt_text
from dnsproxy.tap.forms.render.miekg_names import Malformed, read_name
from dnsproxy.tap.forms.render.miekg_rdata import DATA, OPT, UNKNOWN
from dnsproxy.tap.forms.render.miekg_words import OPCODES, RCODES, class_word, type_word

__all__ = ["Malformed", "first_question", "message_text"]

HEADER: Final = 12
NO_UINT16: Final = "overflow unpacking uint16"
NO_UINT32: Final = "overflow unpacking uint32"
CUT: Final = "overflowing header size"
MESSAGES_KEPT: Final = 4096  # a message passes twice and more: from the client and to the upstream, and back
LONGEST_KEPT: Final = 512  # octets
LONGEST_TEXT_KEPT: Final = 2048  # characters; all together no more than about 12 MiB

_FLAGS: Final = (
    (0x8000, " qr"),
    (0x0400, " aa"),
    (0x0200, " tc"),
    (0x0100, " rd"),
    (0x0080, " ra"),
    (0x0040, " z"),
    (0x0020, " ad"),
    (0x0010, " cd"),
)
# what has no presentation form is commented out
_BEFORE: Final = {10: ";", 249: ";", 250: "\n;; TSIG PSEUDOSECTION:\n; "}

_unpack_header = Struct("!HHHHH").unpack_from
_unpack_record = Struct("!HHIH").unpack_from

_texts: dict[bytes, tuple[str, str]] = {}


class _Record(NamedTuple):
    """A record's type, TTL and line or lines, without the last line's end."""

    type: int
    ttl: int
    text: str


def message_text(wire: bytes) -> str:
    """The message, dig's form, each line with its end; Malformed with the text of miekg/dns's error."""
    before, behind = _texts.get(wire[2:]) or _render(wire)
    return f"{before}{wire[0] << 8 | wire[1]}{behind}"


def first_question(wire: bytes) -> tuple[str, str, str] | None:
    """Name, class and type of the first question, as text; None if there is none or any part cannot be unpacked."""
    try:
        message_text(wire)
    except Malformed:
        return None
    if len(wire) == HEADER or wire[4:6] == b"\0\0":
        return None
    name, at = read_name(wire, HEADER, len(wire))
    type, qclass, _ = _type_and_class(wire, at)
    return name, class_word(qclass), type_word(type)


def _render(wire: bytes) -> tuple[str, str]:
    """What stands before the message ID and what behind it."""
    if len(wire) < HEADER:
        raise Malformed(NO_UINT16)
    flags, *counts = _unpack_header(wire, 2)
    if len(wire) == HEADER:
        counts = [0, 0, 0, 0]
    questions, at = _read_questions(wire, counts[0])
    sections = []
    for count in counts[1:]:
        records, at = _read_records(wire, at, count)
        sections.append(records)
    text = _head_text(flags, sections[2]), _rest_text(flags, questions, sections)
    _keep(wire, text)
    return text


def _keep(wire: bytes, text: tuple[str, str]) -> None:
    if len(wire) > LONGEST_KEPT or len(text[1]) > LONGEST_TEXT_KEPT:
        return
    if b"\xc0\x00" in wire or b"\xc0\x01" in wire:
        return  # a name may take its octets from the message ID
    if len(_texts) >= MESSAGES_KEPT:
        _texts.clear()
    _texts[wire[2:]] = text


def _read_questions(wire: bytes, count: int) -> tuple[list[str], int]:
    lines = []
    at = HEADER
    for _ in range(count):
        name, at = read_name(wire, at, len(wire))
        type, qclass, at = _type_and_class(wire, at)
        lines.append(f";{name}\t{class_word(qclass)}\t {type_word(type)}\n")
    return lines, at


def _type_and_class(wire: bytes, at: int) -> tuple[int, int, int]:
    """A question's, and the offset behind them; the message may end before both, and in or before the class."""
    room = len(wire) - at
    if room >= 4:
        return wire[at] << 8 | wire[at + 1], wire[at + 2] << 8 | wire[at + 3], at + 4
    if room == 1:
        raise Malformed(NO_UINT16)
    return int.from_bytes(wire[at : at + 2], "big"), 0, len(wire)


def _read_records(wire: bytes, at: int, count: int) -> tuple[list[_Record], int]:
    """At most `count` records: a message may end behind any of them."""
    records = []
    for _ in range(count):
        if at == len(wire):
            break
        record, at = _read_record(wire, at)
        records.append(record)
    return records, at


def _read_record(wire: bytes, at: int) -> tuple[_Record, int]:
    name, at = read_name(wire, at, len(wire))
    if at + 10 > len(wire):
        raise Malformed(NO_UINT32 if 4 <= len(wire) - at < 8 else NO_UINT16)
    type, rclass, ttl, size = _unpack_record(wire, at)
    at += 10
    end = at + size
    if end > len(wire):
        raise Malformed(CUT)
    show, absent = DATA.get(type, UNKNOWN)
    data = show(wire, at, end) if size else absent
    return _Record(type, ttl, _record_text(name, type, rclass, ttl, data)), end


def _record_text(name: str, type: int, rclass: int, ttl: int, data: str) -> str:
    if type == OPT:
        return opt_text(rclass, ttl, data)
    if type not in DATA:
        return f"{name}\t{ttl}\tCLASS{rclass}\tTYPE{type}\t{data}"
    return f"{_BEFORE.get(type, '')}{name}\t{ttl}\t{class_word(rclass)}\t{type_word(type)}\t{data}"


def _head_text(flags: int, additional: list[_Record]) -> str:
    rcode = flags & 15
    opt = _last_opt(additional)
    if opt is not None:
        rcode |= opt.ttl >> 24 << 4
    return f";; opcode: {OPCODES.get(flags >> 11 & 15, '')}, status: {RCODES.get(rcode, '')}, id: "


def _last_opt(additional: list[_Record]) -> _Record | None:
    return next((record for record in reversed(additional) if record.type == OPT), None)


def _rest_text(flags: int, questions: list[str], sections: list[list[_Record]]) -> str:
    answer, authority, additional = sections
    words = "".join(word for bit, word in _FLAGS if flags & bit)
    opt = _last_opt(additional)
    parts = [
        f"\n;; flags:{words}; QUERY: {len(questions)}, ANSWER: {len(answer)}, ",
        f"AUTHORITY: {len(authority)}, ADDITIONAL: {len(additional)}\n",
    ]
    if opt is not None:
        parts.append(f"{opt.text}\n")
    if questions:
        parts += ["\n;; QUESTION SECTION:\n", *questions]
    parts += _section_text("ANSWER", answer)
    parts += _section_text("AUTHORITY", authority)
    if opt is None or len(additional) > 1:
        parts += _section_text("ADDITIONAL", additional, without=OPT)
    return "".join(parts)


def _section_text(title: str, records: list[_Record], without: int = -1) -> list[str]:
    if not records:
        return []
    return [f"\n;; {title} SECTION:\n", *(f"{record.text}\n" for record in records if record.type != without)]
