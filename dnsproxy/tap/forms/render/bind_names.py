"""Domain names and character strings out of a message, as BIND reads and escapes them."""

from __future__ import annotations

import re
from typing import Final

MAX_OCTETS: Final = 255
MAX_POINTERS: Final = 128  # in one name; BIND has no limit, but names of more are made to waste time
LABELS_KEPT: Final = 16384  # about 2 MiB, and with the oddest labels 7

_is_plain_label = re.compile(rb"[!#%-'*-\-/-:<-?A-\[\]-~]*").fullmatch
_is_plain_string = re.compile(rb"[ !#-\[\]-~]*").fullmatch
_PRINTED: Final = {octet: chr(octet) if 0x20 < octet < 0x7F else f"\\{octet:03d}" for octet in range(256)}
_IN_LABELS: Final = _PRINTED | {octet: "\\" + chr(octet) for octet in b'"$().;@\\'}
_IN_STRINGS: Final = _PRINTED | {0x20: " ", 0x22: '\\"', 0x5C: "\\\\"}

_labels: dict[bytes, str] = {}


class Unparsable(ValueError):
    """BIND would not parse this message; it says no more."""


def read_name(wire: bytes, at: int, end: int, *, compressed: bool = True) -> tuple[str, int]:
    """The name at `at`, none of it behind `end`, absolute; and the offset behind it."""
    labels, behind = read_labels(wire, at, end, compressed=compressed)
    return "".join([_labels.get(label) or _keep(label) for label in labels]) or ".", behind


def read_labels(wire: bytes, at: int, end: int, *, compressed: bool = True) -> tuple[list[bytes], int]:
    """The labels of that name, without the root's, and the offset behind it; pointers must point backwards."""
    labels: list[bytes] = []
    marker = at
    behind = pointers = 0
    octets = 1
    while at < end:
        size = wire[at]
        at += 1
        if size == 0:
            return labels, behind or at
        if size < 0x40:
            octets += size + 1
            if octets > MAX_OCTETS:
                raise Unparsable("name too long")
            labels.append(wire[at : at + size])
            at += size
        elif size < 0xC0 or not compressed:
            raise Unparsable("bad label type")
        elif at < end:
            pointer = (size & 0x3F) << 8 | wire[at]
            pointers += 1
            if pointer >= marker or pointers > MAX_POINTERS:
                raise Unparsable("pointer forward, or too many")
            behind = behind or at + 1
            at = marker = pointer
    raise Unparsable("name runs past the end")


def _keep(label: bytes) -> str:
    if len(_labels) >= LABELS_KEPT:
        _labels.clear()
    text = label.decode("latin-1")
    text = _labels[label] = (text if _is_plain_label(label) else text.translate(_IN_LABELS)) + "."
    return text


def quoted(octets: bytes) -> str:
    """Octets in quotes, escaped."""
    text = octets.decode("latin-1")
    return f'"{text}"' if _is_plain_string(octets) else f'"{text.translate(_IN_STRINGS)}"'


def read_octets(wire: bytes, at: int, end: int) -> tuple[bytes, int]:
    """What a character string holds, and the offset behind it."""
    if at >= end or at + 1 + wire[at] > end:
        raise Unparsable("string runs past the data")
    behind = at + 1 + wire[at]
    return wire[at + 1 : behind], behind
