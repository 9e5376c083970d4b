"""A DNS message as BIND 9.18 prints it: dig's form, plain or indented, and YAML."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from dnsproxy.tap.forms.render.bind_edns import text_lines, yaml_lines
from dnsproxy.tap.forms.render.bind_message import UPDATE, Message, RecordSet
from dnsproxy.tap.forms.render.bind_words import OPCODES, RCODES, class_word, type_word

TTL_COLUMN: Final = 24
CLASS_COLUMN: Final = 32
TYPE_COLUMN: Final = 40
DATA_COLUMN: Final = 48
TAB: Final = 8
INDENT: Final = "    "
MBZ: Final = 0x0040  # the header's bit that must be zero
TITLES: Final = ("QUESTION", "ANSWER", "AUTHORITY", "ADDITIONAL")
UPDATE_TITLES: Final = ("ZONE", "PREREQUISITE", "UPDATE", "ADDITIONAL")
UPDATE_COUNTS: Final = ("ZONE", "PREREQ", "UPDATE", "ADDITIONAL")
FLAGS: Final = (
    (0x8000, " qr"),
    (0x0400, " aa"),
    (0x0200, " tc"),
    (0x0100, " rd"),
    (0x0080, " ra"),
    (0x0020, " ad"),
    (0x0010, " cd"),
)

# in YAML an address does not end in a colon
_open_ends: Final[dict[int, Callable[[str, str], str]]] = dict.fromkeys((28, 38, 45, 260), re.compile("::(?= |$)").sub)
_open_ends[42] = re.compile("::(?=/)").sub


def text(message: Message, indent: str = "") -> str:
    """Lines with their ends, `indent` before each, and, as BIND has it, in the middle of the one with the flags."""
    lines = [
        f";; ->>HEADER<<- opcode: {OPCODES[message.opcode]}, status: {_status(message)}, id: {message.id:6d}",
        _flags_line(message, indent),
    ]
    if message.opt is not None:
        lines += text_lines(*message.opt)
    for title, owners in zip(_titles(message), message.sections, strict=True):
        if owners:
            lines.append(f";; {title} SECTION:")
            lines += _section_lines(title, owners)
            lines.append("")
    shown = "".join(f"{indent}{line}\n" for line in lines)
    return shown + _pseudo_text("TSIG", message.tsig, indent) + _pseudo_text("SIG0", message.sig0, indent)


def _status(message: Message) -> str:
    return RCODES.get(message.rcode) or str(message.rcode)


def _flags(message: Message) -> str:
    return "".join(word for bit, word in FLAGS if message.flags & bit)


def _titles(message: Message) -> tuple[str, ...]:
    return UPDATE_TITLES if message.opcode == UPDATE else TITLES


def _flags_line(message: Message, indent: str) -> str:
    mbz = f"{indent}; MBZ: 0x4" if message.flags & MBZ else ""
    words = UPDATE_COUNTS if message.opcode == UPDATE else TITLES
    counts = ", ".join(f"{word}: {count}" for word, count in zip(words, message.counts, strict=True))
    return f";; flags:{_flags(message)}{mbz}{indent}; {counts}"


def _section_lines(title: str, owners: list[list[RecordSet]]) -> list[str]:
    sets = [records for owner in owners for records in owner]
    if title in {"QUESTION", "ZONE"}:
        return [_question_line(question) for question in sets]
    return [line for records in sets for line in _record_lines(records)]


def _question_line(question: RecordSet) -> str:
    line, column = _in_column(question.name, len(question.name), CLASS_COLUMN, class_word(question.rclass))
    return ";" + _in_column(line, column, TYPE_COLUMN, type_word(question.type))[0]


def _record_lines(records: RecordSet) -> list[str]:
    line, column = _in_column(records.name, len(records.name), TTL_COLUMN, str(records.ttl))
    line, column = _in_column(line, column, CLASS_COLUMN, class_word(records.rclass))
    line, column = _in_column(line, column, TYPE_COLUMN, type_word(records.type))
    start, _ = _in_column(line, column, DATA_COLUMN, "")
    return [start + data for data in records.data]


def _in_column(line: str, at: int, to: int, word: str) -> tuple[str, int]:
    """A word behind the line that ends in column `at`, in column `to` or behind a space, and where it ends."""
    to = max(to, at + 1)
    tabs = to // TAB - at // TAB
    spaces = to % TAB if tabs else to - at
    return line + "\t" * tabs + " " * spaces + word, to + len(word)


def _pseudo_text(title: str, records: RecordSet | None, indent: str) -> str:
    if records is None:
        return ""
    lines = "".join(f"{indent}{line}\n" for line in _record_lines(records))
    return f"{indent};; {title} PSEUDOSECTION:\n{lines}\n"


def yaml(message: Message) -> str:
    """The message's parts as the value of a key, indented."""
    words = UPDATE_COUNTS if message.opcode == UPDATE else TITLES
    lines = [f"opcode: {OPCODES[message.opcode]}", f"status: {_status(message)}", f"id: {message.id}"]
    lines.append(f"flags:{_flags(message)}")
    if message.flags & MBZ:
        lines.append("MBZ: 0x4")
    lines += [f"{word}: {count}" for word, count in zip(words, message.counts, strict=True)]
    if message.opt is not None:
        lines += yaml_lines(*message.opt)
    for title, owners in zip(_titles(message), message.sections, strict=True):
        if owners:
            lines.append(f"{title}_SECTION:")
            lines += [f"  {item}" for records in owners for one in records for item in _items(one)]
    shown = "".join(f"{INDENT}{line}\n" if line else "\n" for line in lines)
    return shown + _pseudo_yaml("TSIG", message.tsig) + _pseudo_yaml("SIG0", message.sig0)


def _pseudo_yaml(title: str, records: RecordSet | None) -> str:
    if records is None:
        return ""
    items = "".join(f"{INDENT}{item}\n" for item in _items(records))
    return f"{INDENT}{title}_PSEUDOSECTION:\n{items}\n"


def _items(records: RecordSet) -> list[str]:
    end = f"{class_word(records.rclass)} {type_word(records.type)}"
    if not records.data:
        return [_item(f"{records.name} {end}")]
    close = _open_ends.get(records.type)
    shown = records.data if close is None else [close("::0", data) for data in records.data]
    return [_item(f"{records.name} {records.ttl} {end} {data}") for data in shown]


def _item(text: str) -> str:
    return "- '" + text.replace("'", "''") + "'"
