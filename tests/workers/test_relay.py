"""Several workers' file taps and the files that they write together, over real sockets."""

import dataclasses
import errno
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import trio_test

from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.relayed_output import ANSWER, BATCH, MAX_BATCH, RelayedOutput
from dnsproxy.dnstap.rotation import Rotation
from dnsproxy.workers.relay import Relay
from tests.dnstap.disk import Disk
from tests.dnstap.tap_files import names, read
from tests.dnstap.waiting import until

FRAMES = 2000


@pytest.fixture
def relay() -> Iterator[Relay]:
    relay = Relay()
    yield relay
    relay.close()


def options(path: Path, queue: int = 10_000, **rotation: Any) -> OutputOptions:
    destination = Destination("file", path=str(path))
    return OutputOptions("tap", destination, TlsOptions(), queue, 1 << 26, rotation=Rotation(**rotation))


def connect(relay: Relay, path: Path, **rotation: Any) -> socket.socket:
    """As a worker does, without one."""
    ours, theirs = socket.socketpair()
    ours.settimeout(5)
    relay.serve({"key": str(path), "name": "tap", "path": str(path), "rotation": rotation}, theirs.detach())
    return ours


async def reach(relay: Relay, tap: OutputOptions) -> trio.SocketStream:
    """What a worker's link does: hands one end over."""
    ours, theirs = trio.socket.socketpair()
    await trio.lowlevel.checkpoint()
    rotation = dataclasses.asdict(tap.rotation)
    relay.serve(
        {"key": repr(tap), "name": tap.name, "path": tap.destination.path, "rotation": rotation}, theirs.detach()
    )
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


@trio_test
async def test_a_full_disk_cuts_no_frame_and_the_workers_count_what_they_cannot_keep(
    tmp_path: Path, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "dns.fstrm"
    disk = Disk(monkeypatch)
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
async def test_a_disk_that_stays_full_is_told_of_once(
    tmp_path: Path, relay: Relay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tries, disk = 0, Disk(monkeypatch)

    async def count(tap: OutputOptions) -> trio.SocketStream:
        nonlocal tries
        tries += 1
        return await reach(relay, tap)

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.getMessage().startswith("tap tap ")]

    caplog.set_level("INFO", "dnsproxy")
    output = RelayedOutput(options(tmp_path / "dns.fstrm"), count)
    async with trio.open_nursery() as nursery:
        await nursery.start(output.run)
        await until(lambda: output.state == "connected")
        caplog.clear()
        disk.room = 100
        output.offer(data_frame(bytes(200)))
        await until(lambda: tries >= 4)
        assert told() == ["tap tap down: No space left on device"]
        assert output.state == "down"
        disk.room = float("inf")
        await until(lambda: output.tap_status()["sent"] == 1)
        assert told() == ["tap tap down: No space left on device", "tap tap connected"]
        assert output.connects == 2
        await output.drain(5.0)


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


# rotation


@trio_test
async def test_the_files_of_all_rotate_by_size_and_each_frame_is_in_one(tmp_path: Path, relay: Relay) -> None:
    async with outputs(relay, options(tmp_path / "dns.fstrm", size=20_000, compress="gzip"), 3) as made:
        for number in range(FRAMES):
            for which, output in enumerate(made):
                output.offer(data_frame(bytes((which,)) + number.to_bytes(4, "big") + bytes(40)))
            if number % 500 == 0:
                await trio.sleep(0.06)
    await until(lambda: all(name.endswith(".gz") for name in names(tmp_path)))
    count = len(names(tmp_path))
    files = [tmp_path / f"dns.{number}.fstrm.gz" for number in range(1, count)]
    frames = [frame for file in (tmp_path / "dns.fstrm.gz", *files) for frame in read(file)]
    assert count > 3 * FRAMES * 49 / 20_000
    assert len(frames) == 3 * FRAMES
    for which in range(3):
        assert [int.from_bytes(frame[1:5], "big") for frame in frames if frame[0] == which] == list(range(FRAMES))


class Clock:
    """Stands a moment before noon until it is moved on, and goes on from there."""

    def __init__(self) -> None:
        self.now = 1_700_049_600.0 - 0.3
        self._began = time.monotonic()

    def __call__(self) -> float:
        return self.now + time.monotonic() - self._began


def test_a_file_ends_on_the_hour_though_no_worker_writes(tmp_path: Path) -> None:
    relay = Relay(Clock())
    with connect(relay, tmp_path / "dns-%s.fstrm", every_s=3600.0) as worker:
        assert worker.recv(ANSWER.size) == ANSWER.pack(0, 0)
        worker.sendall(BATCH.pack(5) + data_frame(b"x"))
        assert worker.recv(ANSWER.size) == ANSWER.pack(5, 0)
        assert names(tmp_path) == ["dns-1700049599.fstrm.part"]
        wait_for(lambda: names(tmp_path) == ["dns-1700049599.fstrm", "dns-1700049600.fstrm.part"])
        assert read(tmp_path / "dns-1700049599.fstrm") == [b"x"]
    relay.close()
    assert names(tmp_path) == ["dns-1700049599.fstrm"]


def test_all_files_of_a_moment_are_reopened_and_no_later_ones(tmp_path: Path, relay: Relay) -> None:
    path, part, later = tmp_path / "dns.fstrm", tmp_path / "part.fstrm", tmp_path / "later.fstrm"
    with connect(relay, path) as plain, connect(relay, part, size=1 << 20) as rotating:
        for worker in (plain, rotating):
            worker.recv(ANSWER.size)
            worker.sendall(BATCH.pack(5) + data_frame(b"1"))
            worker.recv(ANSWER.size)
        path.rename(tmp_path / "moved")
        reopen = relay.reopener()
        with connect(relay, later) as late:
            late.recv(ANSWER.size)
            reopen()
            wait_for(lambda: {"dns.fstrm", "part.fstrm"} < set(names(tmp_path)))
        assert read(tmp_path / "moved") == read(part) == [b"1"]
        plain.sendall(BATCH.pack(5) + data_frame(b"2"))
        plain.recv(ANSWER.size)
    relay.close()
    assert names(tmp_path) == ["dns.fstrm", "later.fstrm", "moved", "part.fstrm"]
    assert (read(path), read(later)) == ([b"2"], [])


def test_a_file_that_cannot_be_begun_in_time_is_begun_for_the_next_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay, disk = Relay(Clock()), Disk(monkeypatch)
    with connect(relay, tmp_path / "dns-%s.fstrm", every_s=3600.0) as worker:
        worker.recv(ANSWER.size)
        worker.sendall(BATCH.pack(5) + data_frame(b"1"))
        worker.recv(ANSWER.size)
        disk.refuses_start = True
        wait_for(lambda: names(tmp_path) == ["dns-1700049599.fstrm"])
        worker.sendall(BATCH.pack(5) + data_frame(b"2"))
        assert worker.recv(ANSWER.size) == ANSWER.pack(0, errno.ENOSPC)
        disk.refuses_start = False
        worker.sendall(BATCH.pack(5) + data_frame(b"2"))
        assert worker.recv(ANSWER.size) == ANSWER.pack(5, 0)
    relay.close()
    assert [read(tmp_path / name) for name in names(tmp_path)] == [[b"1"], [b"2"]]


def wait_for(holds: Callable[[], bool]) -> None:
    """Of threads, in real time."""
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
