"""Several workers' file taps and the one file that they write, over real sockets."""

import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import trio_test

from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.framestreams import DNSTAP, Reader, Started, Stopped, data_frame
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.relayed_output import ANSWER, BATCH, MAX_BATCH, RelayedOutput
from dnsproxy.workers.relay import Relay, whole_frames
from tests.dnstap.waiting import until

FRAMES = 2000


@pytest.fixture
def relay() -> Iterator[Relay]:
    relay = Relay()
    yield relay
    relay.close()


def options(path: Path, queue: int = 10_000) -> OutputOptions:
    return OutputOptions("tap", Destination("file", path=str(path)), TlsOptions(), queue, 1 << 26)


def connect(relay: Relay, path: Path) -> socket.socket:
    """As a worker does, without one."""
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    relay.serve({"key": str(path), "name": "tap", "path": str(path)}, theirs.detach())
    return ours


async def reach(relay: Relay, tap: OutputOptions) -> trio.SocketStream:
    """What a worker's link does: hands one end over."""
    ours, theirs = trio.socket.socketpair()
    await trio.lowlevel.checkpoint()
    relay.serve({"key": repr(tap), "name": tap.name, "path": tap.destination.path}, theirs.detach())
    return trio.SocketStream(ours)


@asynccontextmanager
async def outputs(relay: Relay, tap: OutputOptions, count: int) -> AsyncIterator[list[RelayedOutput]]:
    """So many workers' parts of one tap, drained at the end."""
    made = [RelayedOutput(tap, partial(reach, relay)) for _ in range(count)]
    async with trio.open_nursery() as nursery:
        for output in made:
            await nursery.start(output.run)
        yield made
        for output in made:
            nursery.start_soon(output.drain, 5.0)
    assert all(balances(output.tap_status()) for output in made)


def balances(status: dict[str, Any]) -> bool:
    return bool(status["offered"] == status["sent"] + status["queued"] + sum(status["dropped"].values()))


def read(path: Path) -> list[bytes]:
    """The frames of a whole stream."""
    first, *frames, last = Reader().receive_data(path.read_bytes())
    assert (first, last) == (Started(DNSTAP, bidirectional=False), Stopped())
    return [frame for frame in frames if isinstance(frame, bytes)]


@trio_test
async def test_one_file_has_the_frames_of_all_each_in_its_order(tmp_path: Path, relay: Relay) -> None:
    path = tmp_path / "new" / "dns.fstrm"
    async with outputs(relay, options(path), 3) as made:
        for number in range(FRAMES):
            for which, output in enumerate(made):
                output.offer(data_frame(bytes((which,)) + number.to_bytes(4, "big") + bytes(number % 200)))
            if number % 500 == 0:
                await trio.sleep(0.06)
    await until(lambda: path.read_bytes().endswith(b"\0\0\0\0\0\0\0\4\0\0\0\3"))
    frames = read(path)
    assert len(frames) == 3 * FRAMES
    for which in range(3):
        numbers = [int.from_bytes(frame[1:5], "big") for frame in frames if frame[0] == which]
        assert numbers == list(range(FRAMES))
    assert sum(output.tap_status()["sent"] for output in made) == 3 * FRAMES
    assert [entry.name for entry in path.parent.iterdir()] == ["dns.fstrm"]
    assert path.stat().st_mode & 0o777 == 0o640


class FullDisk:
    """Stands before `os.pwrite`: takes so many octets of a file, then none."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = float("inf")
        self._pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", self)

    def __call__(self, descriptor: int, octets: Any, at: int) -> int:
        end = int(min(self.room, at + len(octets)))
        if end <= at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._pwrite(descriptor, octets[: end - at], at)


@trio_test
async def test_a_full_disk_cuts_no_frame_and_the_workers_count_what_they_cannot_keep(
    tmp_path: Path, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dns.fstrm"
    disk = FullDisk(monkeypatch)
    async with outputs(relay, options(path, queue=100), 1) as (output,):
        await until(lambda: output.state == "connected")
        disk.room = 1000
        for number in range(90):
            output.offer(data_frame(number.to_bytes(8, "big")))
        await until(lambda: output.state == "down")
        status = output.tap_status()
        assert (status["last_error"], status["sent"]) == ("No space left on device", (1000 - 42) // 12)
        for number in range(90, 290):
            output.offer(data_frame(number.to_bytes(8, "big")))
        status = output.tap_status()
        assert (status["queued"], status["dropped"]["spool_full"]) == (100, 190 - status["sent"])
        disk.room = float("inf")
        await until(lambda: output.tap_status()["queued"] == 0)
    await until(lambda: path.read_bytes().endswith(b"\0\0\0\0\0\0\0\4\0\0\0\3"))
    assert [int.from_bytes(frame, "big") for frame in read(path)] == list(range(100 + status["sent"]))


@trio_test
async def test_a_folder_that_cannot_be_made_is_a_tap_that_is_down(tmp_path: Path, relay: Relay) -> None:
    (tmp_path / "folder").write_text("a file")
    async with outputs(relay, options(tmp_path / "folder" / "dns.fstrm"), 2) as made:
        await until(lambda: all(output.state == "down" for output in made))
        assert made[0].tap_status()["last_error"] in ("File exists", "Not a directory")
        (tmp_path / "folder").unlink()
        await until(lambda: all(output.state == "connected" for output in made))


@trio_test
async def test_a_worker_that_is_killed_leaves_whole_frames_and_its_successor_goes_on(
    tmp_path: Path, relay: Relay
) -> None:
    path = tmp_path / "dns.fstrm"
    with connect(relay, path) as killed:
        assert killed.recv(ANSWER.size) == ANSWER.pack(0, 0)
        killed.sendall(BATCH.pack(9) + data_frame(b"whole"))
        assert killed.recv(ANSWER.size) == ANSWER.pack(9, 0)
        killed.sendall(BATCH.pack(900) + data_frame(b"half of"))
    with connect(relay, path) as successor:
        assert successor.recv(ANSWER.size) == ANSWER.pack(0, 0)
        successor.sendall(BATCH.pack(8) + data_frame(b"more"))
        assert successor.recv(ANSWER.size) == ANSWER.pack(8, 0)
        successor.sendall(BATCH.pack(0))
        assert successor.recv(1) == b""
    await until(lambda: path.read_bytes().endswith(b"\0\0\0\0\0\0\0\4\0\0\0\3"))
    assert read(path) == [b"whole", b"more"]


def test_at_the_end_a_file_is_whole_whatever_became_of_the_workers(tmp_path: Path, relay: Relay) -> None:
    path = tmp_path / "dns.fstrm"
    with connect(relay, path) as killed:
        killed.recv(ANSWER.size)
        killed.sendall(BATCH.pack(5) + data_frame(b"x"))
        killed.recv(ANSWER.size)
    relay.close()
    assert read(path) == [b"x"]


def test_a_batch_that_is_too_long_ends_the_connection(tmp_path: Path, relay: Relay) -> None:
    with connect(relay, tmp_path / "dns.fstrm") as worker:
        worker.recv(ANSWER.size)
        worker.sendall(BATCH.pack(MAX_BATCH + 1))
        assert worker.recv(1) == b""


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
