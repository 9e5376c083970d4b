"""A DNS message from the keys of `--json` that describe it, for lines without the message itself."""

from __future__ import annotations

import base64
import binascii
import re
import struct
from collections.abc import Mapping
from typing import Any, Final

from dnsproxy.tap.words import CLASSES, OPCODES, RCODES, TYPES
from dnsproxy.wire import HEADER, MAX_MESSAGE, OPT, RECORD, name_from_text

FLAGS: Final = {"qr": 0x8000, "aa": 0x0400, "tc": 0x0200, "rd": 0x0100, "ra": 0x0080, "ad": 0x0020, "cd": 0x0010}
DNSSEC_OK: Final = 0x8000
SECTIONS: Final = ("answer", "authority", "additional")
_GENERIC: Final = re.compile(r"\\# (\d{1,5})((?: [0-9A-Fa-f]+)*)", re.ASCII)  # RFC 3597 section 5

Values = Mapping[str, Any]


def message_of(values: Values) -> bytes | None:
    """The message that `id`, `flags`, `qname`, `answer` and the others tell of, names not compressed.

    None where they tell of none; ValueError says what is wrong with them.
    """
    if values.get("id") is None:
        return None
    rcode = _numbered(values.get("rcode"), _RCODES)
    question = _question(values)
    sections = [[_record(record) for record in values.get(section) or ()] for section in SECTIONS]
    if values.get("edns"):
        sections[2].append(_opt(values["edns"], rcode))
    counts = [1 if question else 0, *map(len, sections)]
    message = HEADER.pack(values["id"], _flags(values, rcode), *counts) + question + b"".join(map(b"".join, sections))
    if len(message) > MAX_MESSAGE:
        raise ValueError(f"a message of {len(message)} octets")
    return message


def octets_of(text: str | None) -> bytes | None:
    """What base64 stands for; ValueError where it is none."""
    if text is None:
        return None
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as exc:
        raise ValueError(f"base64: {exc}") from exc


def _flags(values: Values, rcode: int) -> int:
    opcode = _numbered(values.get("opcode"), _OPCODES)
    return sum(FLAGS[flag] for flag in values.get("flags") or ()) | (opcode & 15) << 11 | rcode & 15


def _question(values: Values) -> bytes:
    if values.get("qname") is None:
        return b""
    qtype, qclass = _numbered(values.get("qtype"), _TYPES), _numbered(values.get("qclass"), _CLASSES)
    return name_from_text(values["qname"]) + struct.pack("!HH", qtype, qclass)


def _record(record: Values) -> bytes:
    rdtype, rdclass = _numbered(record["type"], _TYPES), _numbered(record["class"], _CLASSES)
    data = _data(rdtype, rdclass, record)
    return name_from_text(record["name"]) + RECORD.pack(rdtype, rdclass, record["ttl"], len(data)) + data


def _data(rdtype: int, rdclass: int, record: Values) -> bytes:
    from dns import rdata, rdataclass, rdatatype
    from dns.exception import DNSException

    text = record["data"]
    if not text:  # as in updates (RFC 2136)
        return b""
    if generic := _GENERIC.fullmatch(text):  # of a known type where it is not what that demands
        return _counted(bytes.fromhex(generic[2]), int(generic[1]))
    try:
        octets = rdata.from_text(rdataclass.RdataClass.make(rdclass), rdatatype.RdataType.make(rdtype), text).to_wire()
    except DNSException as exc:
        raise ValueError(f"{record['type']}: {exc}") from exc
    assert octets is not None
    return octets


def _counted(octets: bytes, size: int) -> bytes:
    if len(octets) != size:
        raise ValueError(f"{len(octets)} octets of record data where {size} are announced")
    return octets


def _opt(edns: Values, rcode: int) -> bytes:
    options = b"".join(_option(option) for option in edns["options"])
    ttl = rcode >> 4 << 24 | edns["version"] << 16 | (DNSSEC_OK if edns["do"] else 0)
    return b"\0" + RECORD.pack(OPT, edns["udp_size"], ttl, len(options)) + options


def _option(option: Values) -> bytes:
    octets = octets_of(option["data"]) or b""
    return struct.pack("!HH", option["code"], len(octets)) + octets


def _numbered(word: str | None, words: dict[str, int]) -> int:
    """A word's number; a number in a string is what it is."""
    if word is None:
        return 0
    number = words.get(word)
    return int(word.removeprefix("TYPE").removeprefix("CLASS")) if number is None else number


def _numbers(words: dict[int, str]) -> dict[str, int]:
    return {word: number for number, word in words.items()}


_OPCODES, _RCODES, _CLASSES, _TYPES = map(_numbers, (OPCODES, RCODES, CLASSES, TYPES))
