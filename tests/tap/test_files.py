"""A file of frames from beginning to end, and what is told of it."""

import gzip
from pathlib import Path

import pytest

from dnsproxy.tap.files import TapFile
from tests.tap.frames import MAIN, payload, payloads_in, stream

GOOD = payload()


def frames_of(path: Path) -> tuple[list[bytes], TapFile, list[str]]:
    told: list[str] = []
    file = TapFile(str(path), tell=told.append)
    return [frame.payload for frame in file.frames()], file, told


def test_all_frames_are_read(tmp_path: Path) -> None:
    payloads, file, told = frames_of(MAIN)
    assert payloads == payloads_in(MAIN.read_bytes())
    assert (file.position, file.damages.frames, told) == (MAIN.stat().st_size, 6, [])


def test_many_frames_come_in_several_batches(tmp_path: Path) -> None:
    path = tmp_path / "many"
    path.write_bytes(stream(*[GOOD] * 5000))
    batches = list(TapFile(str(path)).batches())
    assert sum(map(len, batches)) == 5000
    assert len(batches) > 1


def test_damage_is_summed_up_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(stream(GOOD, b"junk")[:-1])
    payloads, file, told = frames_of(path)
    assert payloads == [GOOD]
    assert file.damages.total == 2
    assert told[-1] == f"{path}: 1 frame, 2 damaged (truncated 1, undecodable 1)"


def test_a_reader_that_stops_early_is_told_what_there_was(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_bytes(stream(b"junk", GOOD))
    told: list[str] = []
    frames = TapFile(str(path), tell=told.append).frames()
    assert next(frames).payload == GOOD
    frames.close()  # type: ignore[attr-defined]
    assert told[-1].endswith("1 frame, 1 damaged (undecodable 1)")


def test_a_compressed_file_that_ends_early_is_truncated(tmp_path: Path) -> None:
    path = tmp_path / "t.gz"
    path.write_bytes(gzip.compress(stream(*[GOOD] * 10))[:-3])
    payloads, file, told = frames_of(path)
    assert payloads == [GOOD] * 10
    assert file.damages.counts == {"truncated": 1}
    assert told[0].startswith(f"{path}: offset {len(stream(*[GOOD] * 10))}: truncated: gzip: ")


def test_a_file_that_is_not_there_is_the_systems_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        frames_of(tmp_path / "none")
