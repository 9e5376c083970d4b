"""GOAWAY frames among others, however they are cut."""

import pytest
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, PingFrame
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.upstream.http.goaway import FrameTooLong, GoawayFilter

GOAWAY = GoAwayFrame(0, last_stream_id=7, additional_data=b"bye").serialize()
FRAMES = st.one_of(
    st.binary(max_size=40).map(lambda data: DataFrame(1, data).serialize()),
    st.just(PingFrame(0, b"12345678").serialize()),
    st.integers(0, 2**31 - 1).map(lambda last: GoAwayFrame(0, last_stream_id=last).serialize()),
)


def is_goaway(octets: bytes) -> bool:
    return isinstance(Frame.parse_frame_header(memoryview(octets[:9]))[0], GoAwayFrame)


def test_a_goaway_is_taken_out_and_its_last_stream_told() -> None:
    before, after = DataFrame(1, b"before").serialize(), DataFrame(3, b"after").serialize()
    assert GoawayFilter().receive_data(before + GOAWAY + after) == (before + after, [7])


def test_without_a_goaway_everything_passes_at_once() -> None:
    frame = DataFrame(1, b"x" * 1000).serialize()
    filtering = GoawayFilter()
    assert filtering.receive_data(frame[:500]) == (frame[:500], [])
    assert filtering.receive_data(frame[500:]) == (frame[500:], [])


def test_a_goaway_that_is_too_short_is_left_for_others_to_refuse() -> None:
    short = b"\0\0\4\7\0\0\0\0\0\0\0\0\0"
    assert GoawayFilter().receive_data(short) == (short, [])


@pytest.mark.parametrize("octets", [b"\0\x40\1\0\0\0\0\0\1", b"HTTP/1.1 400 Bad Request"])
def test_a_frame_that_is_too_long_is_not_waited_for(octets: bytes) -> None:
    with pytest.raises(FrameTooLong):
        GoawayFilter().receive_data(octets)


@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(1, 12), min_size=1))
def test_it_does_not_matter_where_octets_are_cut(frames: list[bytes], sizes: list[int]) -> None:
    octets = b"".join(frames)
    filtering = GoawayFilter()
    passed, last_streams = b"", []
    number = 0
    while octets:
        size = sizes[number % len(sizes)]
        number += 1
        data, last = filtering.receive_data(octets[:size])
        octets = octets[size:]
        passed += data
        last_streams += last
    assert passed == b"".join(frame for frame in frames if not is_goaway(frame))
    assert last_streams == [int.from_bytes(frame[9:13], "big") for frame in frames if is_goaway(frame)]


@given(st.binary(max_size=200))
def test_any_octets_give_octets_or_the_one_error(octets: bytes) -> None:
    try:
        passed, _ = GoawayFilter().receive_data(octets)
    except FrameTooLong:
        return
    assert len(passed) <= len(octets)
