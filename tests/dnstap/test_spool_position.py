"""How far a spool was sent: known after every death, because the kernel itself notes it with each frame."""

import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnsproxy.dnstap import spool_position
from dnsproxy.dnstap.framestreams import Reader, Started, Stopped
from dnsproxy.dnstap.spool_position import ENTRIES_MAX, IS_COUNTED_BY_KERNEL, Batch, Position

SPOOL_OCTETS = 1 << 20


@pytest.fixture(params=["counted", "singly"])
def claimed(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Position:
    if request.param == "counted" and not IS_COUNTED_BY_KERNEL:
        pytest.skip("only Linux counts")
    monkeypatch.setattr(spool_position, "IS_COUNTED_BY_KERNEL", request.param == "counted")
    return claim(tmp_path)


def claim(folder: Path, octets: int = SPOOL_OCTETS) -> Position:
    position = Position.claim(folder / "spool-1.position", octets)
    assert position is not None
    return position


def after_death(position: Position) -> Position:
    """As the next process finds it: whoever had the file is gone without a word."""
    fcntl.flock(position._descriptor, fcntl.LOCK_UN)
    return claim(position.path.parent)


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        yield ours, theirs


def read_all(theirs: socket.socket) -> bytes:
    received = b""
    try:
        while part := theirs.recv(1 << 20):
            received += part
    except BlockingIOError:
        pass
    return received


def test_it_begins_at_nothing(tmp_path: Path) -> None:
    position = claim(tmp_path)
    assert (position.segment, position.octets, position.frames) == (0, 0, 0)


def test_a_claimed_one_is_nobody_elses_until_it_is_closed(tmp_path: Path) -> None:
    position = claim(tmp_path)
    assert Position.claim(position.path, SPOOL_OCTETS) is None
    position.close(remove=False)
    assert position.path.exists()
    claim(tmp_path).close(remove=True)
    assert not position.path.exists()


def test_it_survives(tmp_path: Path) -> None:
    position = claim(tmp_path)
    position.set(7, 4711)
    again = after_death(position)
    assert (again.segment, again.octets, again.frames) == (7, 4711, 0)


def test_for_other_tools_it_is_an_empty_stream(tmp_path: Path) -> None:
    position = claim(tmp_path)
    started, stopped, *_ = Reader().receive_data(position.path.read_bytes())
    assert isinstance(started, Started)
    assert isinstance(stopped, Stopped)
    assert position.path.stat().st_size == position.size <= SPOOL_OCTETS // 64


def test_a_small_spool_has_a_small_one(tmp_path: Path) -> None:
    assert claim(tmp_path, 16 << 10).size < 1024


def test_what_is_sent_is_known_to_whoever_comes_next(
    claimed: Position, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    frames = [bytes([number % 256]) * (number % 50 + 1) for number in range(ENTRIES_MAX + 20)]
    claimed.set(3, 42)
    batch = Batch(frames, frames)
    claimed.send(ours.fileno(), batch)
    octets = b"".join(frames)
    assert batch.is_sent
    assert read_all(theirs) == octets
    assert (batch.sent, batch.sent_octets) == (len(frames), len(octets))
    assert claimed.octets == 42 + len(octets)
    again = after_death(claimed)
    assert again.segment == 3
    behind = sum(map(len, frames[-again.frames :])) if again.frames else 0
    assert again.octets + behind == 42 + len(octets)


def test_a_frame_that_is_sent_in_part_goes_on_where_it_stopped_and_is_not_counted_before_it_is_whole(
    claimed: Position, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    frames = [bytes([number]) * 90_000 for number in range(20)]
    claimed.set(1, 0)
    batch = Batch(frames, frames)
    received = b""
    while not batch.is_sent:
        claimed.send(ours.fileno(), batch)
        assert claimed.octets == batch.sent * 90_000
        received += read_all(theirs)
        assert batch.sent == len(received) // 90_000
    assert received == b"".join(frames)


def test_what_is_written_for_a_frame_may_be_longer_than_the_frame(
    claimed: Position, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    claimed.set(1, 0)
    claimed.send(ours.fileno(), Batch([b"a", b"bb"], [b"<a>", b"<bb>"]))
    assert read_all(theirs) == b"<a><bb>"
    assert claimed.octets == 3


def test_a_death_between_two_batches_repeats_nothing(
    claimed: Position, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, _ = pair
    claimed.set(1, 0)
    for number in range(3):
        claimed.send(ours.fileno(), Batch([b"abc"] * 5, [b"abc"] * 5))
        again = Position(claimed.path, os.open(claimed.path, os.O_RDWR), SPOOL_OCTETS)
        assert again.octets + 3 * again.frames == 15 * (number + 1)


def test_a_broken_connection_is_an_error_and_what_was_taken_before_is_counted(
    claimed: Position, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    claimed.set(1, 0)
    claimed.send(ours.fileno(), Batch([b"abc"], [b"abc"]))
    theirs.close()
    with pytest.raises(OSError, match="Broken pipe"):
        claimed.send(ours.fileno(), Batch([b"def"], [b"def"]))
    assert claimed.octets == 3


def test_a_disk_that_takes_no_position_does_not_stop_the_sending(
    claimed: Position, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    def pwrite(*_: object) -> int:
        raise OSError(28, "No space left on device")

    ours, theirs = pair
    claimed.set(1, 0)
    monkeypatch.setattr(os, "pwrite", pwrite)
    batch = Batch([b"abc"] * 3, [b"abc"] * 3)
    claimed.send(ours.fileno(), batch)
    assert (batch.is_sent, read_all(theirs)) == (True, b"abc" * 3)


def test_a_file_that_somebody_cuts_ends_the_connection_not_the_process(
    tmp_path: Path, pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    position = claim(tmp_path)
    ours, _ = pair
    really = os.pwrite

    def pwrite(descriptor: int, octets: bytes, at: int) -> int:
        written = really(descriptor, octets, at)
        os.truncate(position.path, 0)
        return written

    monkeypatch.setattr(os, "pwrite", pwrite)
    if IS_COUNTED_BY_KERNEL:
        with pytest.raises(OSError, match="Bad address"):
            position.send(ours.fileno(), Batch([b"abc"] * 3, [b"abc"] * 3))


@pytest.mark.parametrize("octets", [b"", b"rubbish", bytes(5000), b"\xff" * 70_000])
def test_rubbish_is_no_position(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "spool-1.position"
    path.write_bytes(octets)
    position = claim(tmp_path)
    assert (position.segment, position.octets, position.frames) == (0, 0, 0)
    position.set(1, 2)
    assert after_death(position).octets == 2
