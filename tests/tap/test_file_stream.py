"""A file's octets whole, octet by octet, cut anywhere, joined, and hostile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.framestreams import DNSTAP, MAX_SKIPPED, ControlType, control_frame, data_frame
from dnsproxy.tap.damage import Damages
from dnsproxy.tap.file_stream import FileStream
from dnsproxy.tap.frame import TapFrame
from tests.tap.frames import CORPUS, START, STOP, payload, stream

GOOD = payload()
OTHER = payload("CLIENT_RESPONSE")
UNKNOWN = control_frame(77)


class Read:
    """What became of octets that came in such pieces."""

    def __init__(self, *pieces: bytes, max_frame: int = 1 << 20) -> None:
        self.told: list[str] = []
        self.damages = Damages("f", self.told.append)
        self.stream = FileStream(self.damages, max_frame)
        self.frames: list[TapFrame] = [frame for piece in pieces for frame in self.stream.receive_data(piece)]
        self.stream.end()
        self.kinds = dict(self.damages.counts)

    @property
    def payloads(self) -> list[bytes]:
        return [frame.payload for frame in self.frames]


def pieces_of(octets: bytes, size: int) -> list[bytes]:
    return [octets[at : at + size] for at in range(0, len(octets), size)]


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_a_good_file_has_its_frames_and_no_damage(size: int) -> None:
    read = Read(*pieces_of(stream(GOOD, OTHER), size))
    assert read.payloads == [GOOD, OTHER]
    assert read.kinds == {}
    assert read.damages.frames == 2
    assert read.stream.is_stopped


def test_a_file_without_stop_or_content_type_is_good() -> None:
    assert Read(stream(GOOD, stop=False)).kinds == {}
    assert Read(control_frame(ControlType.START) + data_frame(GOOD)).payloads == [GOOD]


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_joined_files_are_read_to_the_last(size: int) -> None:
    octets = stream(GOOD) + stream(OTHER, stop=False) + stream(GOOD)
    read = Read(*pieces_of(octets, size))
    assert read.payloads == [GOOD, OTHER, GOOD]
    assert read.kinds == {}


def test_unknown_control_frames_are_no_damage() -> None:
    read = Read(UNKNOWN + START + UNKNOWN + data_frame(GOOD) + UNKNOWN + STOP + UNKNOWN)
    assert (read.payloads, read.kinds) == ([GOOD], {})


@pytest.mark.parametrize("name", sorted(path.name for path in CORPUS.glob("*.fstrm")))
def test_each_recorded_file_cut_at_each_octet_has_its_whole_frames(name: str) -> None:
    octets = (CORPUS / name).read_bytes()
    starts, data_ends = frame_bounds(octets)
    for cut in range(len(octets) + 1):
        read = Read(octets[:cut])
        assert len(read.frames) == sum(end <= cut for end in data_ends)
        if cut == 0:
            assert read.told[0] == "f: offset 0: start: no octets, and so no START"
        elif cut in starts:
            assert read.kinds == {}
        else:
            begun = max(start for start in starts if start < cut)
            assert read.told[0] == f"f: offset {cut}: truncated: the end is inside the frame at offset {begun}"


def frame_bounds(octets: bytes) -> tuple[set[int], list[int]]:
    """Where frames begin, or one could, and where data frames end."""
    starts, data_ends, at = {0}, [], 0
    while at + 8 <= len(octets):
        length, control_length = (int.from_bytes(octets[start : start + 4], "big") for start in (at, at + 4))
        at += 4 + length if length else 8 + control_length
        if at <= len(octets):
            starts.add(at)
            data_ends += [at] if length else []
    return starts, data_ends


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_an_oversize_frame_is_passed_over_exactly(size: int) -> None:
    octets = START + data_frame(GOOD) + data_frame(b"x" * 300) + data_frame(OTHER) + STOP
    read = Read(*pieces_of(octets, size), max_frame=250)
    assert read.payloads == [GOOD, OTHER]
    offset = len(START) + 4 + len(GOOD)
    assert read.told == [f"f: offset {offset}: oversize: frame of 300 octets"]


def test_an_end_inside_an_oversize_frame_is_truncated_too() -> None:
    read = Read(START + data_frame(b"x" * 300)[:-1], max_frame=250)
    assert read.kinds == {"oversize": 1, "truncated": 1}


def test_a_monstrous_frame_ends_the_stream() -> None:
    read = Read(START + data_frame(GOOD) + (MAX_SKIPPED + 1).to_bytes(4, "big") + data_frame(GOOD) * 3)
    assert read.payloads == [GOOD]
    assert read.kinds == {"oversize": 1}
    assert read.stream.is_over


@pytest.mark.parametrize("between", [b"", UNKNOWN, START, control_frame(ControlType.READY, DNSTAP)])
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_an_undecodable_frame_is_told_with_its_offset_and_passed_over(between: bytes, size: int) -> None:
    before = START + data_frame(GOOD) + between + data_frame(b"a" * 600) + between
    read = Read(*pieces_of(before + data_frame(b"junk") + data_frame(OTHER), size), max_frame=500)
    assert read.payloads == [GOOD, OTHER]
    assert any(line.startswith(f"f: offset {len(before)}: undecodable: ") for line in read.told)


@pytest.mark.parametrize("type", [ControlType.READY, ControlType.ACCEPT, ControlType.FINISH])
def test_control_frames_of_connections_are_damage_in_files(type: ControlType) -> None:
    read = Read(START + control_frame(type) + data_frame(GOOD) + STOP)
    assert (read.payloads, read.kinds) == ([GOOD], {"control": 1})
    assert read.told == [f"f: offset {len(START)}: control: {type.name} behind START"]


def test_malformed_control_frames_are_passed_over_and_long_ones_end_the_stream() -> None:
    malformed_stop = control_frame(ControlType.STOP, b"type")
    read = Read(START + malformed_stop + data_frame(GOOD) + bytes(4) + (513).to_bytes(4, "big") + bytes(600))
    assert (read.payloads, read.kinds) == ([GOOD], {"control": 2})
    assert read.stream.is_over


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"a text\n",
        b"x",
        data_frame(GOOD),
        STOP,
        control_frame(ControlType.READY, DNSTAP) + START + data_frame(GOOD),
        bytes(1000),
        UNKNOWN + data_frame(GOOD),
    ],
)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_without_start_nothing_is_read(octets: bytes, size: int) -> None:
    read = Read(*pieces_of(octets, size))
    assert (read.payloads, read.kinds) == ([], {"start": 1})


def test_behind_stop_a_start_is_needed() -> None:
    read = Read(stream(GOOD) + data_frame(OTHER) + stream(OTHER))
    assert (read.payloads, read.kinds) == ([GOOD], {"start": 1})
    assert read.told == [f"f: offset {len(stream(GOOD))}: start: data behind STOP, where START should be"]


@pytest.mark.parametrize("before", [b"", stream(GOOD), stream(GOOD, stop=False)])
def test_another_content_type_ends_the_stream(before: bytes) -> None:
    read = Read(before + control_frame(ControlType.START, b"other\x1b") + data_frame(OTHER))
    assert read.payloads == ([GOOD] if before else [])
    assert read.kinds == {"content_type": 1}
    assert read.told == [f"f: offset {len(before)}: content_type: the stream has 'other\\x1b'"]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_any_octets_are_read_to_an_end(pieces: list[bytes]) -> None:
    read = Read(*pieces)
    assert read.damages.frames == len(read.frames)
    assert read.stream.is_over


@given(st.integers(0, 400), st.binary(max_size=4), st.integers(1, 60))
def test_the_pieces_in_which_it_comes_do_not_matter(at: int, junk: bytes, size: int) -> None:
    octets = bytearray(stream(GOOD, OTHER))
    octets[at : at + len(junk)] = junk
    whole, cut = Read(bytes(octets)), Read(*pieces_of(bytes(octets), size))
    assert whole.payloads == cut.payloads
    assert whole.told == cut.told
