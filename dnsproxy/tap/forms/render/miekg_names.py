"""Domain names and character strings out of a message, escaped as miekg/dns escapes them."""

from __future__ import annotations

import re
from typing import Final

MAX_OCTETS: Final = 255
MAX_POINTERS: Final = 126  # in one name: more than the labels of the longest one could need
LABELS_KEPT: Final = 16384  # about 2 MiB, and with the oddest labels 7

NO_ROOM: Final = "buffer size too small"
TOO_LONG: Final = "domain name exceeded 255 wire-format octets"
TOO_MANY: Final = "too many compression pointers"
BAD_LABEL: Final = "bad rdata"
STRING_CUT: Final = "overflow unpacking txt"

_is_plain_label = re.compile(rb"[!#-&*-\-/-:<-?A-\[\]-~]*").fullmatch
_is_plain_string = re.compile(rb"[ !#-\[\]-~]*").fullmatch
_PRINTED: Final = {octet: chr(octet) if 0x20 <= octet < 0x7F else f"\\{octet:03d}" for octet in range(256)}
_IN_STRINGS: Final = _PRINTED | {octet: "\\" + chr(octet) for octet in b'"\\'}
_IN_LABELS: Final = _PRINTED | {octet: "\\" + chr(octet) for octet in b". '@;()\"\\"}

_labels: dict[bytes, str] = {}


class Malformed(ValueError):
    """miekg/dns would not unpack these octets; the text is its error's."""

    def __init__(self, why: str) -> None:
        super().__init__(f"dns: {why}")


def read_name(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """The name at `at` of a message that ends at `end`, absolute, and the offset behind it."""
    parts = []
    behind = pointers = octets = 0
    while at < end:
        size = wire[at]
        at += 1
        if size >= 0xC0:
            if at >= end:
                break
            behind = behind or at + 1
            pointers += 1
            if pointers > MAX_POINTERS:
                raise Malformed(TOO_MANY)
            at = (size & 0x3F) << 8 | wire[at]
        elif size >= 0x40:
            raise Malformed(BAD_LABEL)
        elif size:
            if at + size > end:
                break
            octets += size + 1
            if octets >= MAX_OCTETS:
                raise Malformed(TOO_LONG)
            label = wire[at : at + size]
            parts.append(_labels.get(label) or _keep_label(label))
            at += size
        else:
            return "".join(parts) or ".", behind or at
    raise Malformed(NO_ROOM)


def _keep_label(label: bytes) -> str:
    if len(_labels) >= LABELS_KEPT:
        _labels.clear()
    text = _labels[label] = label_text(label) + "."
    return text


def label_text(label: bytes) -> str:
    """A label, escaped."""
    text = label.decode("latin-1")
    return text if _is_plain_label(label) else text.translate(_IN_LABELS)


def read_string(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """The character string at `at`, escaped, without quotes, and the offset behind it."""
    if at >= end or at + 1 + wire[at] > end:
        raise Malformed(STRING_CUT)
    behind = at + 1 + wire[at]
    return string_text(wire[at + 1 : behind]), behind


def string_text(octets: bytes) -> str:
    """A character string, escaped, without quotes."""
    text = octets.decode("latin-1")
    return text if _is_plain_string(octets) else text.translate(_IN_STRINGS)
