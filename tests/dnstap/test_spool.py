"""A spool's folder: in order, within its bound, shared without quarrels, and empty in the end."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dnsproxy.dnstap.framestreams import data_frame
from tests.dnstap.spools import append, count_frames, messages_in, octets_in, opened, segments, send_all, send_some


def make_frames(count: int, start: int = 0, size: int = 100) -> list[bytes]:
    return [data_frame(b"%d " % number + b"x" * size) for number in range(start, start + count)]


def test_frames_come_back_in_order_and_their_files_are_removed(tmp_path: Path) -> None:
    spool, found = opened(tmp_path / "not" / "there")
    assert found.frames == 0
    frames = make_frames(5000)
    assert append(spool, frames[:3000]).kept == 3000
    received = send_all(spool, 1000)
    assert append(spool, frames[3000:]).kept == 2000
    received += send_all(spool, 5000 - count_frames(received))
    assert received == b"".join(frames)
    assert segments(tmp_path / "not" / "there") == []
    spool.close()
    assert list((tmp_path / "not" / "there").iterdir()) == []


def test_what_is_closed_is_found_by_whoever_comes_next(tmp_path: Path) -> None:
    frames = make_frames(3000)
    spool, _ = opened(tmp_path)
    append(spool, frames[:2000])
    received = send_some(spool)
    spool.close()
    spool, found = opened(tmp_path)
    left = b"".join(frames[:2000])[len(received) :]
    assert 0 < found.frames < 2000
    assert found.age_s < 60
    append(spool, frames[2000:])
    assert send_all(spool, found.frames + 1000) == left + b"".join(frames[2000:])


def test_its_files_are_streams_for_any_reader(tmp_path: Path) -> None:
    spool, _ = opened(tmp_path)
    frames = make_frames(2000)
    append(spool, frames)
    assert len(segments(tmp_path)) > 2
    assert [data_frame(payload) for payload in messages_in(tmp_path)] == frames


def test_folders_and_files_are_not_everybodys(tmp_path: Path) -> None:
    spool, _ = opened(tmp_path / "spool")
    append(spool, make_frames(1))
    assert (tmp_path / "spool").stat().st_mode & 0o007 == 0
    assert all(path.stat().st_mode & 0o777 == 0o640 for path in (tmp_path / "spool").iterdir())


# the bound


@pytest.mark.parametrize("octets", [4 << 10, 64 << 10, 1 << 20])
def test_a_full_spool_takes_no_more(tmp_path: Path, octets: int) -> None:
    spool, _ = opened(tmp_path, octets)
    kept = 0
    for start in range(0, 20_000, 500):
        done = append(spool, make_frames(500, start))
        assert (done.given_up, done.error) == (0, None)
        kept += done.kept
        assert octets_in(tmp_path) <= octets
        if done.kept < 500:
            break
    assert octets_in(tmp_path) > octets * 0.75
    assert append(spool, make_frames(10)).kept == 0
    assert send_all(spool, kept) == b"".join(make_frames(kept))
    assert append(spool, make_frames(10)).kept == 10


@pytest.mark.parametrize("octets", [4 << 10, 64 << 10, 1 << 20])
def test_a_full_spool_may_give_up_the_oldest_instead(tmp_path: Path, octets: int) -> None:
    spool, _ = opened(tmp_path, octets, drops_oldest=True)
    given_up = 0
    for start in range(0, 20_000, 500):
        done = append(spool, make_frames(500, start))
        assert (done.kept, done.error) == (500, None)
        given_up += done.given_up
        assert octets_in(tmp_path) <= octets
    left = 20_000 - given_up
    assert left > 0
    assert send_all(spool, left) == b"".join(make_frames(left, given_up))


def test_what_is_being_sent_is_not_given_up(tmp_path: Path) -> None:
    spool, _ = opened(tmp_path, 64 << 10, drops_oldest=True)
    append(spool, make_frames(300))
    frames, _ = spool.next_frames(1000)
    assert append(spool, make_frames(2000, 300)).kept == 2000
    spool.take_back()
    assert send_some(spool).startswith(b"".join(frames))


def test_the_bound_is_the_folders(tmp_path: Path) -> None:
    one, _ = opened(tmp_path, 256 << 10)
    other, _ = opened(tmp_path, 256 << 10)
    kept = [append(spool, make_frames(1000)).kept for spool in (one, other) for _ in range(2)]
    assert octets_in(tmp_path) <= 256 << 10
    assert kept[0] == kept[1] == 1000
    assert kept[2] < 1000
    assert kept[3] == 0


# the disk


def test_a_disk_that_is_full_takes_what_it_can_and_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, room = os.pwrite, 10_000

    def pwrite(descriptor: int, octets: bytes, at: int) -> int:
        nonlocal room
        if not room:
            raise OSError(28, "No space left on device")
        written = really(descriptor, octets[:room], at)
        room -= written
        return written

    spool, _ = opened(tmp_path)
    monkeypatch.setattr(os, "pwrite", pwrite)
    done = append(spool, make_frames(500))
    assert 0 < done.kept < 100
    assert done.error is not None
    assert append(spool, make_frames(10)).kept == 0
    room = 1 << 20
    again = append(spool, make_frames(100, done.kept))
    assert (again.kept, again.error) == (100, None)
    assert send_all(spool, done.kept + 100) == b"".join(make_frames(done.kept + 100))


def test_a_disk_that_is_full_costs_the_oldest_if_so_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, _ = opened(tmp_path, drops_oldest=True)
    append(spool, make_frames(3000))
    really, full = os.pwrite, octets_in(tmp_path)

    def pwrite(descriptor: int, octets: bytes, at: int) -> int:
        if octets_in(tmp_path) + len(octets) > full:
            raise OSError(28, "No space left on device")
        return really(descriptor, octets, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    done = append(spool, make_frames(100, 3000))
    assert (done.kept, done.error) == (100, None)
    assert 0 < done.given_up < 3000
    assert send_all(spool, 3100 - done.given_up) == b"".join(make_frames(3100 - done.given_up, done.given_up))


@contextmanager
def files_no_longer_than(octets: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_where_only_a_file_may_not_grow_another_one_begins(tmp_path: Path) -> None:
    spool, _ = opened(tmp_path)
    with files_no_longer_than(20_000):
        done = append(spool, make_frames(1000))
    assert (done.kept, done.error) == (1000, None)
    assert len(segments(tmp_path)) > 5
    assert send_all(spool, 1000) == b"".join(make_frames(1000))


def test_a_folder_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="File exists"):
        opened(tmp_path / "file")
    with pytest.raises(OSError, match="Not a directory"):
        opened(tmp_path / "file" / "spool")


def test_a_file_that_was_spoilt_meanwhile_is_given_up_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool, _ = opened(tmp_path)
    append(spool, make_frames(2000))
    first = segments(tmp_path)[0]
    first.write_bytes(bytes(first.stat().st_size))
    frames, given_up = spool.next_frames(1 << 17)
    assert (frames, first.exists()) == ([], False)
    assert send_all(spool, 2000 - given_up) == b"".join(make_frames(2000 - given_up, given_up))
    assert f"tap tap gives up {first}: it is not what was written" in caplog.messages


def test_a_file_that_was_cut_meanwhile_costs_what_is_missing(tmp_path: Path) -> None:
    spool, _ = opened(tmp_path)
    append(spool, make_frames(2000))
    os.truncate(segments(tmp_path)[0], 10_000)
    sent = send_some(spool)
    frames, given_up = spool.next_frames(1 << 17)
    assert (frames, given_up > 0) == ([], True)
    assert b"".join(make_frames(2000)).startswith(sent)
    held = count_frames(sent) + given_up
    assert send_all(spool, 2000 - held) == b"".join(make_frames(2000 - held, held))


# who shares a folder


def test_everybody_has_files_of_his_own(tmp_path: Path) -> None:
    one, _ = opened(tmp_path)
    other, found = opened(tmp_path)
    append(one, make_frames(10))
    append(other, make_frames(20))
    assert (found.frames, other.adopt().frames) == (0, 0)
    assert send_all(one, 10) == b"".join(make_frames(10))
    assert send_all(other, 20) == b"".join(make_frames(20))


def test_what_somebody_left_is_taken_over_once_and_goes_behind(tmp_path: Path) -> None:
    one, _ = opened(tmp_path)
    others = [opened(tmp_path)[0] for _ in range(2)]
    append(one, make_frames(10))
    append(others[0], make_frames(20, 10))
    append(others[1], make_frames(30, 30))
    for other in others:
        other.close()
    assert [one.adopt().frames, one.adopt().frames] == [50, 0]
    append(one, make_frames(5, 60))
    assert send_all(one, 65) == b"".join(make_frames(65))
    assert [path.name for path in tmp_path.iterdir()] == ["spool-1.position"]


def test_fewer_workers_than_before_send_what_all_left(tmp_path: Path) -> None:
    spools = [opened(tmp_path)[0] for _ in range(4)]
    for number, spool in enumerate(spools):
        append(spool, make_frames(100, 100 * number))
    for spool in spools:
        spool.close()
    one, found = opened(tmp_path)
    two, nothing = opened(tmp_path)
    assert (found.frames, nothing.frames) == (400, 0)
    append(two, make_frames(1))
    assert len(send_all(one, 400)) == len(b"".join(make_frames(400)))
    one.close()
    two.close()
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".position"] == ["spool-5.position"]


def test_what_is_older_than_all_the_rest_is_sent_first_by_whoever_comes_next(tmp_path: Path) -> None:
    spool, _ = opened(tmp_path)
    append(spool, make_frames(10, 3))
    assert spool.append_older(make_frames(3)) == 3
    spool.close()
    spool, found = opened(tmp_path)
    assert found.frames == 13
    append(spool, make_frames(7, 13))
    assert send_all(spool, 20) == b"".join(make_frames(20))


def test_a_spool_that_is_emptied_and_filled_again_sends_everything(tmp_path: Path) -> None:
    for number in range(5):
        spool, found = opened(tmp_path)
        assert found.frames == 0
        for part in range(3):
            frames = make_frames(10, 100 * number + part)
            append(spool, frames)
            assert send_all(spool, 10) == b"".join(frames)
        spool.close()


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("ours")
    (tmp_path / "dns.fstrm").write_text("ours too")
    spool, _ = opened(tmp_path, 8 << 10, drops_oldest=True)
    append(spool, make_frames(1000))
    assert (tmp_path / "README").read_text() == "ours"
    assert (tmp_path / "dns.fstrm").read_text() == "ours too"


KILLED = """
import os, pathlib, sys
sys.path.append(sys.argv[2])  # behind what is installed
from tests.dnstap.spools import append, opened
spool, _ = opened(pathlib.Path(sys.argv[1]))
append(spool, [b"\\0\\0\\0\\1x"] * 10)
os.kill(os.getpid(), 9)
"""


def test_a_killed_owner_leaves_no_lock(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = Path(__file__).parents[2]
    ended = subprocess.run([sys.executable, "-P", "-c", KILLED, str(tmp_path), str(root)], timeout=30)
    assert ended.returncode == -9
    assert opened(tmp_path)[1].frames == 10
    assert caplog.messages == []
