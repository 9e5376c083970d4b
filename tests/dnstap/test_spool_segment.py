"""Files of a spool: Frame Streams whatever happens to the disk, counted whatever is in them."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.backlog import MAX_FRAME
from dnsproxy.dnstap.framestreams import Reader, Started, Stopped, data_frame
from dnsproxy.dnstap.spool_segment import START, STOP, Segment, SegmentWriter, owner_of, read_frames, scan

BEGAN = 1_763_122_390.0


def new_segment(folder: Path, frames: list[bytes], *, finish: bool = False) -> Segment:
    segment = Segment.new(folder, 1, 1, BEGAN)
    writer = SegmentWriter(segment)
    assert writer.append(frames) == len(frames)
    if finish:
        writer.finish()
    else:
        writer.close()
    return segment


def test_a_name_says_whose_it_is_and_when_it_began(tmp_path: Path) -> None:
    segment = Segment.new(tmp_path, 12, 34, BEGAN)
    assert segment.path.name == "spool-12-00000034-20251114T121310Z.fstrm"
    assert Segment.named(segment.path) == segment
    assert owner_of(segment.path.name) == owner_of("spool-12.position") == 12


@pytest.mark.parametrize("name", ["dns.fstrm", "spool-1-1-20251399T000000Z.fstrm", "spool-1-00000001.fstrm"])
def test_other_files_are_nobodys_segments(name: str) -> None:
    assert Segment.named(Path(name)) is None


def test_a_segment_is_a_stream_that_any_reader_reads(tmp_path: Path) -> None:
    payloads = [b"one", b"two" * 1000, b"three"]
    segment = new_segment(tmp_path, [data_frame(payload) for payload in payloads], finish=True)
    started, *frames, stopped = Reader().receive_data(segment.path.read_bytes())
    assert isinstance(started, Started)
    assert isinstance(stopped, Stopped)
    assert frames == payloads
    assert segment.path.stat().st_size == segment.size
    assert segment.path.stat().st_mode & 0o777 == 0o640


def test_what_the_disk_does_not_take_whole_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SegmentWriter(Segment.new(tmp_path, 1, 1, BEGAN))
    really, room = os.pwrite, 10

    def pwrite(descriptor: int, octets: bytes, at: int) -> int:
        return really(descriptor, octets[:room], at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    assert writer.append([b"\0\0\0\1a", b"\0\0\0\2bb", b"\0\0\0\3ccc"]) == 1
    assert writer.segment.path.read_bytes() == START + b"\0\0\0\1a"
    room = 4
    with pytest.raises(OSError, match="No space left"):
        writer.append([b"\0\0\0\1d"])
    writer.close()
    assert (writer.segment.frames, writer.segment.path.stat().st_size) == (1, len(START) + 5)


def test_a_file_that_cannot_even_begin_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "pwrite", lambda *_: 3)
    with pytest.raises(OSError, match="No space left"):
        SegmentWriter(Segment.new(tmp_path, 1, 1, BEGAN))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("finish", [True, False])
def test_frames_are_counted_from_an_offset(tmp_path: Path, finish: bool) -> None:
    frames = [data_frame(b"x" * size) for size in (5, 700_000 // 10, 3, 90_000)] * 8
    segment = new_segment(tmp_path, frames, finish=finish)
    offset = len(START) + sum(map(len, frames[:3]))
    found = scan(segment.path, offset)
    assert (found.frames, found.end, found.damage, found.is_partial) == (29, segment.end, "", False)
    assert found.knows_offset
    assert scan(segment.path, segment.end).frames == 0
    assert not scan(segment.path, offset + 1).knows_offset


@pytest.mark.parametrize("tail", [b"\0", b"\0\0\0\5abcd", STOP[:5], STOP[:11]])
def test_the_beginning_of_a_frame_at_the_end_is_left_by_a_killed_process(tmp_path: Path, tail: bytes) -> None:
    segment = new_segment(tmp_path, [b"\0\0\0\1a"])
    segment.path.write_bytes(segment.path.read_bytes() + tail)
    found = scan(segment.path, len(START))
    assert (found.frames, found.end, found.damage, found.is_partial) == (1, segment.end, "", True)


@pytest.mark.parametrize(
    "tail", [b"\0\0\0\0\0\0\0\4\0\0\0\2", b"\xff\xff\xff\xffabc", STOP + b"more", MAX_FRAME.to_bytes(3, "big") + b"\0"]
)
def test_anything_else_is_damage(tmp_path: Path, tail: bytes) -> None:
    segment = new_segment(tmp_path, [b"\0\0\0\1a"])
    segment.path.write_bytes(segment.path.read_bytes() + tail)
    found = scan(segment.path, len(START))
    assert (found.frames, found.end, found.is_partial) == (1, segment.end, False)
    assert found.damage.endswith("in place of a frame")


@pytest.mark.parametrize("octets", [b"", b"text\n", START[:20], b"\0" * 4096])
def test_a_file_that_does_not_begin_as_one_has_no_frames(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "spool-1-00000001-20251114T121310Z.fstrm"
    path.write_bytes(octets)
    found = scan(path, len(START))
    assert (found.frames, found.end, found.damage) == (0, 0, "no START of a dnstap stream")


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=10), st.binary(max_size=40), st.integers(0, 100))
def test_whatever_is_behind_whole_frames_is_left_out(
    tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], tail: bytes, offset: int
) -> None:
    path = tmp_path_factory.mktemp("spool") / "any"
    whole = START + b"".join(map(data_frame, payloads))
    path.write_bytes(whole + tail)
    found = scan(path, offset)
    assert found.end >= len(whole)
    assert found.end <= path.stat().st_size
    with path.open("rb") as file:
        at = len(START)
        while at < found.end:
            at += sum(map(len, read_frames(file.fileno(), at, found.end, 64)))
        assert at == found.end


def test_reading_what_is_not_frames_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "zeros"
    path.write_bytes(bytes(100))
    with path.open("rb") as file, pytest.raises(OSError, match="not what was written"):
        read_frames(file.fileno(), 0, 100, 50)
