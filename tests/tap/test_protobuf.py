"""Fields out of octets: what the library takes is taken, and whatever else is one error."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.encode import key, number_field, octets_field, varint
from dnsproxy.tap.protobuf import (
    FIXED32,
    FIXED64,
    GROUP,
    GROUP_END,
    MAX_DEPTH,
    Undecodable,
    enum,
    number_of,
    octets_of,
    read_varint,
    spans,
)


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3))
def test_a_number_is_read_back(number: int, behind: bytes) -> None:
    octets = varint(number)
    assert read_varint(octets + behind, 0) == (number, len(octets))


def test_a_number_has_64_bits_and_ten_octets_at_most() -> None:
    assert read_varint(b"\xff" * 9 + b"\x7f", 0) == (2**64 - 1, 10)
    with pytest.raises(Undecodable, match="more than ten"):
        read_varint(b"\xff" * 10 + b"\0", 0)


@pytest.mark.parametrize(("number", "value"), [(0, 0), (7, 7), (2**31 - 1, 2**31 - 1), (2**64 - 1, -1), (2**32, 0)])
def test_an_enum_has_32_bits_with_sign(number: int, value: int) -> None:
    assert enum(number) == value


def test_each_field_has_its_place() -> None:
    octets = (
        number_field(1, 300) + octets_field(16, b"abc") + key(2, FIXED32) + b"\1\0\0\0" + key(3, FIXED64) + bytes(8)
    )
    found = spans(octets, 0, len(octets))
    assert [key >> 3 for key, _, _, _ in found] == [1, 16, 2, 3]
    assert b"".join(octets[start:behind] for _, start, _, behind in found) == octets
    assert number_of(octets, found[0][0], found[0][2]) == 300
    assert octets_of(octets, found[1][2], found[1][3]) == b"abc"
    assert number_of(octets, found[2][0], found[2][2]) == 1


def test_groups_are_stepped_over() -> None:
    inner = key(5, GROUP) + number_field(1, 1) + key(5, GROUP_END)
    octets = key(4, GROUP) + inner + octets_field(7, b"x") + key(4, GROUP_END) + number_field(1, 9)
    assert [(key >> 3, start) for key, start, _, _ in spans(octets, 0, len(octets))] == [(4, 0), (1, len(octets) - 2)]


@pytest.mark.parametrize(
    "octets",
    [
        key(1, 0),
        key(1, 2) + b"\5abcd",
        key(1, 2) + varint(2**63) + b"abcd",
        key(1, GROUP) + octets_field(1, b"")[:1] + varint(2**64 - 1) + b"abcd",
        key(1, FIXED32) + b"abc",
        key(1, FIXED64) + b"abcdefg",
        b"\0\0",
        b"\x80",
        key(1, 6) + b"\0",
        key(1, GROUP_END),
        key(1, GROUP) + number_field(1, 1),
        key(1, GROUP) + key(2, GROUP_END),
        key(1, GROUP) * (MAX_DEPTH + 1) + key(1, GROUP_END) * (MAX_DEPTH + 1),
        varint(2**32 << 3) + b"\0",
    ],
)
def test_what_are_no_fields_is_undecodable(octets: bytes) -> None:
    with pytest.raises(Undecodable):
        spans(octets, 0, len(octets))


def test_a_field_ends_where_its_message_does() -> None:
    octets = octets_field(1, b"abc")
    with pytest.raises(Undecodable):
        spans(octets, 0, len(octets) - 1)


@given(st.binary(max_size=100))
def test_any_octets_are_fields_to_the_last_or_undecodable(octets: bytes) -> None:
    with contextlib.suppress(Undecodable):
        at = 0
        for _, start, value, behind in spans(octets, 0, len(octets)):
            assert at == start < value <= behind
            at = behind
        assert at == len(octets)
