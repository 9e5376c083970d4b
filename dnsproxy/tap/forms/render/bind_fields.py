"""The fields of record data as BIND 9.18 checks and prints them."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Callable
from typing import Final

from dnsproxy.tap.forms.render.bind_names import Unparsable, quoted, read_name, read_octets
from dnsproxy.tap.forms.render.bind_words import (
    ALGORITHMS,
    CERTIFICATES,
    TSIG_RCODES,
    TYPES,
    type_word,
)
from dnsproxy.tap.forms.render.go import stamp_text

Read = Callable[[bytes, int, int], tuple[str, int]]
"""Of a message, the offsets of a field and of the data's end: its text and its end."""

HEX_WORD: Final = 28  # octets between spaces
BASE64_WORD: Final = 42
KEYDATA: Final = 65533  # a type that BIND knows, and has no word for
STARTED_S: Final = int(time.time())  # times of 32 bits are those next to now, which a program's run does not change


def number(octets: int, show: Callable[[int], str] = str) -> Read:
    """A number of so many octets."""

    def read(wire: bytes, at: int, end: int) -> tuple[str, int]:
        if at + octets > end:
            raise Unparsable("data too short")
        return show(int.from_bytes(wire[at : at + octets], "big")), at + octets

    return read


def exactly(octets: int, show: Callable[[bytes], str]) -> Read:
    """So many octets."""

    def read(wire: bytes, at: int, end: int) -> tuple[str, int]:
        if at + octets > end:
            raise Unparsable("data too short")
        return show(wire[at : at + octets]), at + octets

    return read


def rest(show: Callable[[bytes], str], least: int = 0) -> Read:
    """All that is left, at least so many octets."""

    def read(wire: bytes, at: int, end: int) -> tuple[str, int]:
        if at + least > end:
            raise Unparsable("data too short")
        return show(wire[at:end]), end

    return read


def sized(octets: int, show: Callable[[bytes], str]) -> Read:
    """Octets with their number before them, itself of so many octets."""

    def read(wire: bytes, at: int, end: int) -> tuple[str, int]:
        start = at + octets
        behind = start + int.from_bytes(wire[at:start], "big")
        if behind > end:
            raise Unparsable("data too short")
        return show(wire[start:behind]), behind

    return read


def name(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """A name."""
    return read_name(wire, at, end)


def string(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """A character string in quotes."""
    octets, at = read_octets(wire, at, end)
    return quoted(octets), at


def strings(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """Character strings, at least one."""
    first, at = string(wire, at, end)
    texts = [first]
    while at < end:
        text, at = string(wire, at, end)
        texts.append(text)
    return " ".join(texts), at


def string_or_two(wire: bytes, at: int, end: int) -> tuple[str, int]:
    """One character string or two."""
    first, at = string(wire, at, end)
    if at == end:
        return first, at
    second, at = string(wire, at, end)
    return f"{first} {second}", at


def types(allow_none: bool) -> Read:
    """A type bitmap (RFC 4034 section 4.1.2), a space before each word."""

    def read(wire: bytes, at: int, end: int) -> tuple[str, int]:
        if at > end or (at == end and not allow_none):
            raise Unparsable("no types")
        return "".join(_words_of(wire, at, end)), end

    return read


def _words_of(wire: bytes, at: int, end: int) -> list[str]:
    words = []
    last = -1
    while at < end:
        if at + 2 > end:
            raise Unparsable("bitmap is cut")
        window, size = wire[at], wire[at + 1]
        at += 2
        if window <= last or not 1 <= size <= 32 or at + size > end or not wire[at + size - 1]:
            raise Unparsable("bad bitmap")
        words += [f" {type_word(window << 8 | bit)}" for bit in bits_of(wire[at : at + size])]
        at += size
        last = window
    return words


def bits_of(octets: bytes) -> list[int]:
    """Which bits are set, from 0, the first octet's highest."""
    return [at * 8 + bit for at, octet in enumerate(octets) if octet for bit in range(8) if octet << bit & 0x80]


def hex_words(octets: bytes) -> str:
    """Hex digits in capitals, with spaces."""
    return octets.hex(" ", -HEX_WORD).upper()


def base64_words(octets: bytes) -> str:
    """Base64 with spaces."""
    pieces = range(0, len(octets), BASE64_WORD)
    return " ".join([base64.b64encode(octets[at : at + BASE64_WORD]).decode("ascii") for at in pieces])


def base64_text(octets: bytes) -> str:
    """Base64 in one piece."""
    return base64.b64encode(octets).decode("ascii")


def hex_text(octets: bytes) -> str:
    """Hex digits in capitals, in one piece."""
    return octets.hex().upper()


def base32_text(octets: bytes) -> str:
    """Base32 with the extended hex alphabet, without padding."""
    return base64.b32hexencode(octets).decode("ascii").rstrip("=")


def salt(octets: bytes) -> str:
    """Hex digits, `-` for none."""
    return hex_text(octets) or "-"


def after_space(show: Callable[[bytes], str]) -> Callable[[bytes], str]:
    """Nothing for no octets, otherwise a space and their text."""
    return lambda octets: f" {show(octets)}" if octets else ""


def address6_text(packed: bytes) -> str:
    """An IPv6 address as libc writes it."""
    return socket.inet_ntop(socket.AF_INET6, packed)


def stamp_near_now(number: int) -> str:
    """`20231114221320`: of the moments that the 32 bits may mean the one next to now (RFC 1982)."""
    ahead = (number - STARTED_S) & 0xFFFF_FFFF
    return stamp_text(STARTED_S + ahead - (0x1_0000_0000 if ahead >= 0x8000_0000 else 0))


def _groups(octets: bytes) -> str:
    return ":".join(f"{octets[at] << 8 | octets[at + 1]:x}" for at in range(0, 8, 2))


def word_of(words: dict[int, str]) -> Callable[[int], str]:
    """The word for a number, or the number."""
    return lambda number: words.get(number) or str(number)


U8: Final = number(1)
U16: Final = number(2)
U32: Final = number(4)
U48: Final = number(6)
TYPE: Final = number(2, type_word)
SIG_TYPE: Final = number(2, word_of(TYPES | {KEYDATA: f"TYPE{KEYDATA}"}))
TIME: Final = number(4, stamp_near_now)
CERTIFICATE: Final = number(2, word_of(CERTIFICATES))
ALGORITHM: Final = number(1, word_of(ALGORITHMS))
SCHEME: Final = number(1, word_of({1: "NOTIFY"}))
TSIG_RCODE: Final = number(2, word_of(TSIG_RCODES))
OCTAL: Final = number(2, lambda value: f"{value:o}")
ADDRESS: Final = exactly(4, socket.inet_ntoa)
ADDRESS6: Final = exactly(16, address6_text)
GROUPS: Final = exactly(8, _groups)
EUI48: Final = exactly(6, lambda octets: octets.hex("-"))
EUI64: Final = exactly(8, lambda octets: octets.hex("-"))
TARGET: Final = rest(quoted)
HEX: Final = rest(hex_words, 1)
BASE64: Final = rest(base64_words, 1)
