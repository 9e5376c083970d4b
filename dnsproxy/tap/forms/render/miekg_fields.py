"""The fields of record data as miekg/dns unpacks and prints them."""

from __future__ import annotations

import base64
import socket
from collections.abc import Callable
from typing import Final, NamedTuple

from dnsproxy.tap.forms.render.go import address_text, stamp_text
from dnsproxy.tap.forms.render.miekg_names import BAD_LABEL, Malformed, read_name, read_string, string_text
from dnsproxy.tap.forms.render.miekg_words import ALGORITHMS, CERTIFICATES, type_word

MAX_NAMES: Final = 4 * 65535  # characters; each octet may take four
POINTER: Final = 0xC0

Read = Callable[[bytes, int, int, list[str]], tuple[str, int]]
"""Of a message, the offsets of a field and of the data's end, and the texts of the fields before: its text, its end."""


class Field(NamedTuple):
    """How a field is read, what is printed where data ends before it, and whether data may end behind it."""

    read: Read
    absent: str
    may_be_last: bool = True


def _number(octets: int, name: str, show: Callable[[int], str] = str) -> Field:
    def read(wire: bytes, at: int, end: int, _: list[str]) -> tuple[str, int]:
        if at + octets > end:
            raise Malformed(f"overflow unpacking {name}")
        return show(int.from_bytes(wire[at : at + octets], "big")), at + octets

    return Field(read, show(0))


def _rest(show: Callable[[bytes], str]) -> Field:
    def read(wire: bytes, at: int, end: int, _: list[str]) -> tuple[str, int]:
        return show(wire[at:end]), end

    return Field(read, show(b""))


def _sized(name: str, size_at: int, show: Callable[[bytes], str]) -> Field:
    def read(wire: bytes, at: int, end: int, before: list[str]) -> tuple[str, int]:
        behind = at + int(before[size_at])
        if behind > end:
            raise Malformed(f"overflow unpacking {name}")
        return show(wire[at:behind]), behind

    return Field(read, show(b""), may_be_last=False)


def _read_name(wire: bytes, at: int, end: int, _: list[str]) -> tuple[str, int]:
    return read_name(wire, at, end)


def _read_names(wire: bytes, at: int, end: int, _: list[str]) -> tuple[str, int]:
    """Names, a blank before each; what would be more text than such a record can have is refused, though not there."""
    known: dict[bytes, str] = {}  # a record may consist of pointers to one far-fetched name
    names = []
    room = MAX_NAMES
    while at < end:
        pointer = wire[at : at + 2]
        name = known.get(pointer)
        if name is not None:
            at += 2
        else:
            name, at = read_name(wire, at, end)
            if pointer[0] >= POINTER:
                known[pointer] = name
        room -= len(name)
        if room < 0:
            raise Malformed(BAD_LABEL)
        names.append(f" {name}")
    return "".join(names), at


def _read_string(wire: bytes, at: int, end: int, _: list[str]) -> tuple[str, int]:
    return read_string(wire, at, end)


def _read_strings(wire: bytes, at: int, end: int, _: list[str]) -> tuple[str, int]:
    strings = []
    while at < end:
        string, at = read_string(wire, at, end)
        strings.append(f'"{string}"')
    return " ".join(strings), at


def _read_address(wire: bytes, at: int, end: int, _: list[str]) -> tuple[str, int]:
    if at + 4 > end:
        raise Malformed("overflow unpacking a")
    return socket.inet_ntoa(wire[at : at + 4]), at + 4


def _read_address6(wire: bytes, at: int, end: int, _: list[str]) -> tuple[str, int]:
    if at + 16 > end:
        raise Malformed("overflow unpacking aaaa")
    return address_text(wire[at : at + 16]), at + 16


def _read_locator(wire: bytes, at: int, end: int, before: list[str]) -> tuple[str, int]:
    text, at = _read_address(wire, at, end, before)
    return f" {text}", at


def _read_types(wire: bytes, at: int, end: int, _: list[str]) -> tuple[str, int]:
    """A type bitmap (RFC 4034 section 4.1.2)."""
    words = []
    last = -1
    while at < end:
        if at + 2 > end:
            raise Malformed("overflow unpacking NSEC(3)")
        window, size = wire[at], wire[at + 1]
        at += 2
        _check_window(window, last, size, end - at)
        bits = int.from_bytes(wire[at : at + size], "big")
        top = size * 8 - 1
        words += [f" {type_word(window << 8 | bit)}" for bit in range(size * 8) if bits >> (top - bit) & 1]
        at += size
        last = window
    return "".join(words), at


def _check_window(window: int, last: int, size: int, room: int) -> None:
    if window <= last:
        raise Malformed("out of order NSEC(3) block in type bitmap")
    if size == 0:
        raise Malformed("empty NSEC(3) block in type bitmap")
    if size > 32:
        raise Malformed("NSEC(3) block too long in type bitmap")
    if size > room:
        raise Malformed("overflowing NSEC(3) block in type bitmap")


def to_base64(octets: bytes) -> str:
    """Standard base64, padded."""
    return base64.b64encode(octets).decode("ascii")


def _to_base32(octets: bytes) -> str:
    return base64.b32hexencode(octets).decode("ascii").rstrip("=")


def _to_upper_hex(octets: bytes) -> str:
    return octets.hex().upper()


def _salt(octets: bytes) -> str:
    return _to_upper_hex(octets) or "-"


def _hex_in_pieces(octets: bytes) -> str:
    """SMIMEA's: a space after every 1024 digits, at the end too."""
    digits = octets.hex()
    return " ".join(digits[at : at + 1024] for at in range(0, len(digits) + 1, 1024))


def _quoted_octets(octets: bytes) -> str:
    """CAA's and URI's: what stands on the wire is taken for escaped text, and escaped anew."""
    text = []
    at = 0
    while at < len(octets):
        octet, size = _unescape(octets, at)
        if size > 1 and octet == 0x2E and octets[at + 1] == 0x2E:
            text.append("\\.")
        elif size:
            text.append(string_text(bytes((octet,))))
        at += size or 1
    return f'"{"".join(text)}"'


def _unescape(octets: bytes, at: int) -> tuple[int, int]:
    """The octet that is written at `at`, and how many octets that takes; none for a backslash at the end."""
    if octets[at] != 0x5C:
        return octets[at], 1
    if at + 1 == len(octets):
        return 0, 0
    digits = octets[at + 1 : at + 4]
    if len(digits) == 3 and digits.isdigit():
        return int(digits) & 0xFF, 4
    return octets[at + 1], 2


def _eui(octets: int) -> Callable[[int], str]:
    return lambda number: number.to_bytes(octets, "big").hex("-")


def _locator64(digits: str) -> Callable[[int], str]:
    def show(number: int) -> str:
        text = format(number, digits)
        return f"{text[:4]}:{text[4:8]}:{text[8:12]}:{text[12:]}"

    return show


U8: Final = _number(1, "uint8")
U16: Final = _number(2, "uint16")
U32: Final = _number(4, "uint32")
TYPE: Final = _number(2, "uint16", type_word)
TIME: Final = _number(4, "uint32", stamp_text)
TIME48: Final = _number(6, "uint64 as uint48", stamp_text)
CERTIFICATE: Final = _number(2, "uint16", lambda number: CERTIFICATES.get(number) or str(number))
ALGORITHM: Final = _number(1, "uint8", lambda number: ALGORITHMS.get(number) or str(number))
EUI48: Final = _number(6, "uint64 as uint48", _eui(6))
EUI64: Final = _number(8, "uint64", _eui(8))
NODE: Final = _number(8, "uint64", _locator64("016x"))
LOCATOR64: Final = _number(8, "uint64", _locator64("016X"))
NAME: Final = Field(_read_name, "")
NAMES: Final = Field(_read_names, "")
STRING: Final = Field(_read_string, "")
STRINGS: Final = Field(_read_strings, "")
ADDRESS: Final = Field(_read_address, "")
ADDRESS6: Final = Field(_read_address6, "")
LOCATOR32: Final = Field(_read_locator, "")
TYPES: Final = Field(_read_types, "")
HEX: Final = _rest(bytes.hex)
UPPER_HEX: Final = _rest(_to_upper_hex)
HEX_IN_PIECES: Final = _rest(_hex_in_pieces)
BASE64: Final = _rest(to_base64)
QUOTED: Final = _rest(_quoted_octets)


def sized_hex(size_at: int) -> Field:
    """Lower-case digits of as many octets as the field of that index says."""
    return _sized("hex", size_at, bytes.hex)


def sized_upper_hex(size_at: int) -> Field:
    """The same in capitals."""
    return _sized("hex", size_at, _to_upper_hex)


def sized_salt(size_at: int) -> Field:
    """The same, `-` for none."""
    return _sized("hex", size_at, _salt)


def sized_base32(size_at: int) -> Field:
    """Base32 with the extended hex alphabet, without padding."""
    return _sized("base32", size_at, _to_base32)


def sized_base64(size_at: int) -> Field:
    """Base64."""
    return _sized("base64", size_at, to_base64)
