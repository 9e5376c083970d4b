"""Protocol Buffers on the wire: fields out of octets, as far as dnstap.proto needs them; no library."""

from __future__ import annotations

from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
GROUP: Final = 3
GROUP_END: Final = 4
FIXED32: Final = 5
VARINT_MAX: Final = 10  # octets; more is no varint
LENGTH_MAX: Final = 1 << 31  # octets of a field, as the libraries have it; compiled, offsets have no more than 64 bits
MAX_DEPTH: Final = 100  # of groups in groups, as the libraries have it
PAST_THE_END: Final = "a field runs past the end"


class Undecodable(ValueError):
    """The octets are no dnstap protobuf, or a MESSAGE without message; the text says why."""


def read_varint(octets: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, cut to 64 bits, and the offset behind it; IndexError where the octets end."""
    number = 0
    for shift in range(0, 7 * VARINT_MAX, 7):
        octet = octets[at]
        at += 1
        number |= (octet & 0x7F) << shift
        if octet < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, at
    raise Undecodable("a number of more than ten octets")


def read_length(octets: bytes, at: int) -> tuple[int, int]:
    """The length at `at`, and the offset behind it; as `read_varint`, and Undecodable where no field is that long."""
    size = octets[at]
    if size < 0x80:
        return size, at + 1
    size, at = read_varint(octets, at)
    if size > LENGTH_MAX:
        raise Undecodable(PAST_THE_END)
    return size, at


def read_key(octets: bytes, at: int) -> tuple[int, int]:
    """A field's key, its number and three bits of wire type, and the offset of its value."""
    key, at = read_varint(octets, at)
    if not 0 < key >> 3 < 1 << 29:
        raise Undecodable(f"a field of number {key >> 3}")
    return key, at


def field_end(octets: bytes, key: int, at: int) -> int:
    """The offset behind the value at `at`, which may lie behind the octets' end; IndexError where none can be told."""
    wire_type = key & 7
    if wire_type == VARINT:
        return read_varint(octets, at)[1]
    if wire_type == LENGTH:
        size, at = read_length(octets, at)
        return at + size
    if wire_type == FIXED32:
        return at + 4
    if wire_type == FIXED64:
        return at + 8
    if wire_type == GROUP:
        return _group_end(octets, key >> 3, at)
    raise Undecodable(f"a field of wire type {wire_type}")


def _group_end(octets: bytes, number: int, at: int) -> int:
    inside = [number]
    while inside:
        key, at = read_key(octets, at)
        if key & 7 == GROUP:
            inside.append(key >> 3)
            if len(inside) > MAX_DEPTH:
                raise Undecodable("too many groups in groups")
        elif key & 7 != GROUP_END:
            at = field_end(octets, key, at)
        elif inside.pop() != key >> 3:
            raise Undecodable("a group ends that did not begin")
    return at


def spans(octets: bytes, at: int, end: int) -> list[tuple[int, int, int, int]]:
    """Every field between `at` and `end`, in order: its key, offsets of the key, of the value and behind it.

    A value of wire type LENGTH begins with its length. Undecodable where the octets are no fields.
    """
    found = []
    try:
        while at < end:
            key, value = read_key(octets, at)
            behind = field_end(octets, key, value)
            found.append((key, at, value, behind))
            at = behind
    except IndexError:
        raise Undecodable(PAST_THE_END) from None
    if at != end:
        raise Undecodable(PAST_THE_END)
    return found


def number_of(octets: bytes, key: int, value: int) -> int:
    """The number that stands at `value`, of wire type VARINT or FIXED32."""
    return read_varint(octets, value)[0] if key & 7 == VARINT else int.from_bytes(octets[value : value + 4], "little")


def octets_of(octets: bytes, value: int, behind: int) -> bytes:
    """The octets of a value of wire type LENGTH."""
    return octets[read_length(octets, value)[1] : behind]


def enum(number: int) -> int:
    """An enum's value as the 32 bits with sign that it has."""
    return (number & 0xFFFF_FFFF ^ 0x8000_0000) - 0x8000_0000
