"""Record data in presentation form (RFC 1035, 3597, 9460): the common types at once, the others by dnspython."""

from __future__ import annotations

import re
import socket
from struct import Struct
from struct import error as struct_error
from typing import Final

from dnsproxy import wire as dns

A, NS, CNAME, SOA, PTR, MX, TXT, AAAA, DNAME = 1, 2, 5, 6, 12, 15, 16, 28, 39
ADDRESSES: Final = {A: 4, AAAA: 16}
FAMILIES: Final = {A: socket.AF_INET, AAAA: socket.AF_INET6}
ONE_NAME: Final = frozenset([NS, CNAME, PTR, DNAME])
IN, NONE, ANY = 1, 254, 255
LIKE_IN: Final = frozenset([IN, NONE, ANY])  # the last two in updates, where they say what to do (RFC 2136)
LABELS_KEPT: Final = 16384  # about 2 MiB
POINTER: Final = 0xC0

_soa_numbers = Struct("!IIIII")
_is_plain_string = re.compile(rb"[ !#-\[\]-~]*").fullmatch
_ESCAPED: Final = {octet: f"\\{octet:03d}" for octet in [*range(0x20), *range(0x7F, 0x100)]} | {
    0x22: '\\"',
    0x5C: "\\\\",
}
_labels: dict[bytes, str] = {}


def read_name(wire: bytes, start: int) -> tuple[str, int]:
    """The name at `start` in presentation form, absolute, and the offset behind it; pointers lead backwards only.

    WireError when there is none.
    """
    labels: list[str] = []
    at = earliest = start
    behind = octets = 0
    size = len(wire)
    while at < size:
        length = wire[at]
        if length == 0:
            return "".join(labels) or ".", behind or at + 1
        if length >= POINTER:
            if at + 1 >= size:
                break
            target = (length & 0x3F) << 8 | wire[at + 1]
            if not dns.QUESTION_START <= target < earliest:
                raise dns.WireError("compression pointer leads nowhere")
            behind = behind or at + 2
            at = earliest = target
            continue
        octets += length + 1
        if length > 63 or octets >= dns.MAX_NAME:
            raise dns.WireError("unknown label type, or a name longer than 255 octets")
        label = wire[at : at + length + 1]
        labels.append(_labels.get(label) or _keep_label(label))
        at += length + 1
    raise dns.WireError("name runs past the end")


def _keep_label(label: bytes) -> str:
    """A label with its length before it as text with a dot behind it."""
    if len(_labels) >= LABELS_KEPT:
        _labels.clear()
    if len(label) <= label[0]:
        raise dns.WireError("name runs past the end")
    text = _labels[label] = dns.name_to_text(label + b"\0")
    return text


def data_text(wire: bytes, rtype: int, rclass: int, start: int, end: int) -> str:
    """The record data between two offsets; ValueError when it is not what its type demands."""
    if start == end:
        return ""
    if rclass in LIKE_IN:
        if rtype in ADDRESSES and end - start == ADDRESSES[rtype]:
            return socket.inet_ntop(FAMILIES[rtype], wire[start:end])
        rclass = IN
    if rtype in ONE_NAME:
        return _whole(read_name(wire, start), end)
    if rtype == MX and end - start > 2:
        return f"{int.from_bytes(wire[start : start + 2], 'big')} {_whole(read_name(wire, start + 2), end)}"
    if rtype == TXT:
        return _strings(wire[start:end])
    if rtype == SOA:
        return _soa(wire, start, end)
    return _by_library(wire, rtype, rclass, start, end)


def generic_text(data: bytes) -> str:
    """Data of any type (RFC 3597 section 5)."""
    return f"\\# {len(data)} {data.hex()}" if data else "\\# 0"


def _whole(name: tuple[str, int], end: int) -> str:
    text, behind = name
    if behind != end:
        raise dns.WireError("record data does not end with its name")
    return text


def _soa(wire: bytes, start: int, end: int) -> str:
    primary, at = read_name(wire, start)
    mailbox, at = read_name(wire, at)
    if end - at != _soa_numbers.size:
        raise dns.WireError("record data of another size than a SOA's")
    numbers = " ".join(map(str, _soa_numbers.unpack_from(wire, at)))
    return f"{primary} {mailbox} {numbers}"


def _strings(data: bytes) -> str:
    strings = []
    at = 0
    while at < len(data):
        behind = at + 1 + data[at]
        if behind > len(data):
            raise dns.WireError("character string runs past the end")
        strings.append(f'"{string_text(data[at + 1 : behind])}"')
        at = behind
    return " ".join(strings)


def string_text(octets: bytes) -> str:
    """A character string, escaped, without quotes."""
    text = octets.decode("latin-1")
    return text if _is_plain_string(octets) else text.translate(_ESCAPED)


def _by_library(wire: bytes, rtype: int, rclass: int, start: int, end: int) -> str:
    from dns import rdata, rdataclass, rdatatype
    from dns.exception import DNSException

    try:
        kind = rdataclass.RdataClass.make(rclass), rdatatype.RdataType.make(rtype)
        return rdata.from_wire(*kind, wire, start, end - start).to_text()
    except (DNSException, ValueError, IndexError, KeyError, UnicodeError, struct_error) as exc:
        raise dns.WireError(f"{type(exc).__name__} {exc}".strip()) from exc
