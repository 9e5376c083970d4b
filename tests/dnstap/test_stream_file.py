"""Files of frames: new beside old, locked while they are written, whole whatever happened to them."""

import os
from itertools import accumulate
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.dnstap.stream_file import START, STOP, StreamFile, create_beside, is_locked, whole_frames
from tests.dnstap.disk import Disk

FRAMES = [data_frame(b"one"), data_frame(b"second" * 20), data_frame(b"3")]
OCTETS = b"".join(FRAMES)
WHOLE = list(accumulate(map(len, FRAMES), initial=len(START)))  # sizes of a file without a partial frame


def begun(path: Path, ending: str = "") -> StreamFile:
    file = StreamFile(path, ending)
    file.create()
    return file


def left(path: Path, octets: bytes) -> Path:
    """What somebody wrote who is no more."""
    path.write_bytes(octets)
    return path


@pytest.mark.parametrize(
    ("present", "name", "made"),
    [
        ([], "dns.fstrm", "dns.fstrm"),
        (["dns.fstrm"], "dns.fstrm", "dns.1.fstrm"),
        (["dns.7.fstrm"], "dns.fstrm", "dns.8.fstrm"),
        (["dns.fstrm", "dns.2.fstrm", "dns.10.fstrm", "dns.x.fstrm", "other.99.fstrm"], "dns.fstrm", "dns.11.fstrm"),
        (["tap"], "tap", "tap.1"),
        (["a.b.fstrm"], "a.b.fstrm", "a.b.1.fstrm"),
        (["dns.fstrm.gz"], "dns.fstrm", "dns.1.fstrm"),
        (["dns.fstrm.gz", "dns.4.fstrm.zst"], "dns.fstrm", "dns.5.fstrm"),
        (["dns.3.fstrm.part"], "dns.fstrm", "dns.4.fstrm"),
        (["dns.3.fstrm.gz.tmp"], "dns.fstrm", "dns.4.fstrm"),
        (["dns.fstrm.1", "dns.fstrm-20231114.gz"], "dns.fstrm", "dns.fstrm"),
    ],
)
def test_a_new_file_is_numbered_above_the_highest(tmp_path: Path, present: list[str], name: str, made: str) -> None:
    for each in present:
        (tmp_path / each).write_bytes(b"precious")
    path, descriptor = create_beside(tmp_path / name)
    os.close(descriptor)
    assert path == tmp_path / made
    assert all((tmp_path / each).read_bytes() == b"precious" for each in present)


def test_an_ending_is_no_part_of_the_name(tmp_path: Path) -> None:
    (tmp_path / "dns.fstrm").touch()
    assert begun(tmp_path / "dns.fstrm", ".part").name == tmp_path / "dns.1.fstrm.part"
    assert begun(tmp_path / "dns.fstrm", ".part").name == tmp_path / "dns.2.fstrm.part"


def test_the_first_choice_is_taken_only_where_nothing_is(tmp_path: Path) -> None:
    path, choice = tmp_path / "dns.fstrm", tmp_path / "dns.4.fstrm"
    for expected in ("dns.4.fstrm", "dns.5.fstrm"):
        name, descriptor = create_beside(path, first_choice=choice)
        os.close(descriptor)
        assert name.name == expected


def test_a_symbolic_link_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "dns.fstrm").symlink_to(tmp_path / "victim")
    path, descriptor = create_beside(tmp_path / "dns.fstrm")
    os.close(descriptor)
    assert path == tmp_path / "dns.1.fstrm"
    assert not (tmp_path / "victim").exists()


def test_a_file_is_locked_until_it_is_closed(tmp_path: Path) -> None:
    file = begun(tmp_path / "dns.fstrm")
    assert is_locked(file.name)
    assert StreamFile.adopt(file.path, file.name) is None
    file.finish()
    assert not is_locked(file.name)


def test_a_new_file_that_somebody_takes_for_a_leftover_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    really_open = os.open

    def open_and_be_robbed(path: Any, flags: int, mode: int = 0o777) -> int:
        descriptor = really_open(path, flags, mode)
        if not made:
            Path(path).unlink()
        made.append(descriptor)
        return descriptor

    monkeypatch.setattr(os, "open", open_and_be_robbed)
    path, descriptor = create_beside(tmp_path / "dns.fstrm")
    assert len(made) == 2
    assert os.path.samestat(path.stat(), os.fstat(descriptor))
    os.close(descriptor)


def test_after_an_error_the_file_ends_with_its_last_whole_frame(tmp_path: Path, disk: Disk) -> None:
    file = begun(tmp_path / "dns.fstrm")
    disk.room = len(START + FRAMES[0]) + 3
    with pytest.raises(OSError, match="No space left"):
        file.append(OCTETS)
    assert file.size == len(START + FRAMES[0])
    assert file.name.read_bytes() == START + FRAMES[0]
    with pytest.raises(OSError, match="No space left"):
        file.seal()
    disk.room = inf
    file.append(FRAMES[2])
    file.finish()
    assert file.name.read_bytes() == START + FRAMES[0] + FRAMES[2] + STOP


def test_not_even_a_beginning_is_left_where_start_does_not_fit(tmp_path: Path, disk: Disk) -> None:
    disk.room = 10
    with pytest.raises(OSError, match="No space left"):
        begun(tmp_path / "dns.fstrm")
    assert list(tmp_path.iterdir()) == []


@given(st.integers(0, len(START + OCTETS + STOP)))
def test_a_leftover_is_cut_behind_its_last_whole_frame(end: int) -> None:
    with TemporaryDirectory() as folder:
        path = left(Path(folder) / "dns.fstrm.part", (START + OCTETS + STOP)[:end])
        assert completed(path)
        whole = max(size for size in WHOLE if size <= max(end, len(START)))
        assert path.read_bytes() == ((START + OCTETS)[:whole] if end >= len(START) else b"") + STOP


@pytest.mark.parametrize("rest", [bytes(1), bytes(5000), b"\xff" * 9, data_frame(b"x" * 9)[:-1], STOP[:-1]])
def test_what_a_dead_machine_leaves_behind_the_frames_is_cut_too(tmp_path: Path, rest: bytes) -> None:
    path = left(tmp_path / "dns.fstrm.part", START + OCTETS + rest)
    assert completed(path)
    assert path.read_bytes() == START + OCTETS + STOP


@pytest.mark.parametrize("octets", [b"precious", b"x" * 5000, START[:-1] + b"x", bytes(100), OCTETS])
def test_what_is_no_stream_of_ours_is_not_touched(tmp_path: Path, octets: bytes) -> None:
    path = left(tmp_path / "dns.fstrm.part", octets)
    assert not completed(path)
    assert path.read_bytes() == octets


def test_frames_can_go_on_behind_what_was_left(tmp_path: Path) -> None:
    path = left(tmp_path / "dns.fstrm.part", START + OCTETS + FRAMES[1][:-1])
    file = StreamFile.adopt(tmp_path / "dns.fstrm", path)
    assert file is not None
    assert (file.size, file.has_frames, file.is_part) == (len(START + OCTETS), True, True)
    file.append(FRAMES[2])
    file.finish()
    assert path.read_bytes() == START + OCTETS + FRAMES[2] + STOP


def test_frames_are_counted_as_they_stand_in_the_file(tmp_path: Path) -> None:
    file = begun(tmp_path / "dns.fstrm")
    assert file.count_frames() == 0
    file.append(OCTETS + data_frame(bytes(2_000_000)))
    assert file.count_frames() == 4
    file.finish()
    left(tmp_path / "dns.fstrm.part", START + OCTETS + FRAMES[0][:-1])
    adopted = StreamFile.adopt(tmp_path / "dns.fstrm", tmp_path / "dns.fstrm.part")
    assert adopted is not None
    assert adopted.count_frames() == 3
    adopted.close()


def test_a_leftover_that_is_completed_stays_as_old_as_it_is(tmp_path: Path) -> None:
    path = left(tmp_path / "dns.fstrm.part", START + OCTETS)
    os.utime(path, ns=(1_700_000_000_000_000_001, 1_700_000_000_000_000_002))
    assert completed(path)
    assert path.stat().st_mtime_ns == 1_700_000_000_000_000_002


def test_a_file_that_was_moved_is_not_discarded(tmp_path: Path) -> None:
    file = begun(tmp_path / "dns.fstrm")
    file.name.rename(tmp_path / "moved")
    (tmp_path / "dns.fstrm").write_bytes(b"somebody else's")
    assert not file.is_there
    file.discard()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["dns.fstrm", "moved"]


def completed(path: Path) -> bool:
    """Add STOP to a leftover, if it is one."""
    file = StreamFile.adopt(path, path)
    if file is None:
        return False
    file.seal_as_it_was()
    file.close()
    return True


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=20), st.integers(0, 900))
def test_whole_frames_are_those_that_end_before(payloads: list[bytes], octets: int) -> None:
    frames = [data_frame(payload) for payload in payloads]
    batch = b"".join(frames)
    octets = min(octets, len(batch))
    whole = whole_frames(memoryview(batch), octets)
    assert whole in [len(b"".join(frames[:count])) for count in range(len(frames) + 1)]
    assert whole <= octets
    rest = batch[whole:octets]
    assert not rest or len(rest) < 4 or len(rest) < 4 + int.from_bytes(rest[:4], "big")


@given(st.binary(max_size=100), st.integers(0, 100))
def test_any_octets_have_a_number_of_whole_frames(batch: bytes, octets: int) -> None:
    octets = min(octets, len(batch))
    assert 0 <= whole_frames(memoryview(batch), octets) <= octets
