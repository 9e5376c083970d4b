"""GOAWAY on a control stream: found whatever the pieces, and nothing else is taken for it."""

from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.upstream.quic.h3_goaway import GoawayReader, read_number

CONTROL, OTHER = 3, 7
SETTINGS = b"\x04\x02\x01\x00"
GOAWAY_8 = b"\x07\x01\x08"


def feed(*pieces: bytes, stream: int = CONTROL) -> list[int | None]:
    reader = GoawayReader()
    return [reader.receive_data(stream, piece) for piece in pieces]


def test_a_goaway_behind_other_frames_is_found() -> None:
    assert feed(b"\0" + SETTINGS + GOAWAY_8) == [8]


def test_a_goaway_is_found_octet_by_octet() -> None:
    octets = b"\0" + SETTINGS + GOAWAY_8 + SETTINGS
    found = feed(*[octets[at : at + 1] for at in range(len(octets))])
    assert [one for one in found if one is not None] == [8]


def test_the_newest_of_several_counts() -> None:
    assert feed(b"\0" + GOAWAY_8 + b"\x07\x01\x04") == [4]


def test_what_a_frame_holds_is_no_goaway() -> None:
    assert feed(b"\0\x04\x03" + GOAWAY_8) == [None]
    assert feed(b"\0\x04\x80\x00\x10\x00", GOAWAY_8) == [None, None]


def test_other_streams_are_no_control_streams() -> None:
    reader = GoawayReader()
    assert reader.receive_data(OTHER, b"\2" + GOAWAY_8) is None
    assert reader.receive_data(OTHER, b"\0" + GOAWAY_8) is None
    assert reader.receive_data(CONTROL, b"\0" + SETTINGS) is None
    assert reader.receive_data(11, b"\0" + GOAWAY_8) is None
    assert reader.receive_data(CONTROL, GOAWAY_8) == 8


def test_a_goaway_of_impossible_length_is_passed_over() -> None:
    assert feed(b"\0\x07\x09" + bytes(9) + GOAWAY_8) == [8]


def test_numbers_are_read_as_the_rfc_has_them() -> None:
    assert read_number(bytes.fromhex("c2197c5eff14e88c"), 0) == (151_288_809_941_952_652, 8)
    assert read_number(bytes.fromhex("9d7f3e7d"), 0) == (494_878_333, 4)
    assert read_number(bytes.fromhex("7bbd"), 0) == (15_293, 2)
    assert read_number(b"\x25", 0) == (37, 1)
    assert read_number(b"\x40", 0) == (0, -1)
    assert read_number(b"", 0) == (0, -1)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_octets_are_read_the_same_in_any_pieces(pieces: list[bytes]) -> None:
    whole = feed(b"\0" + b"".join(pieces))
    apart = feed(b"\0", *pieces)
    assert whole[0] == next((one for one in reversed(apart) if one is not None), None)
