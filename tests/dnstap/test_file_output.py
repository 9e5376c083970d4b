"""File taps: whole streams, new files beside old ones, and disks that fill up."""

import errno
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.file_output import FileOutput
from dnsproxy.dnstap.framestreams import DNSTAP, Reader, Started, Stopped, data_frame
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.stream_file import create_beside
from tests.dnstap.waiting import until


@asynccontextmanager
async def running(path: Path, *, queue: int = 10_000, drain_s: float = 5.0) -> AsyncIterator[FileOutput]:
    """A file tap that is drained at the end of the block."""
    output = FileOutput(OutputOptions("tap", Destination("file", path=str(path)), TlsOptions(), queue, 1 << 26))
    async with trio.open_nursery() as nursery:
        await nursery.start(output.run)
        yield output
        await output.drain(drain_s)
    status = output.tap_status()
    assert status["offered"] == status["sent"] + status["queued"] + sum(status["dropped"].values())


def offer(output: FileOutput, count: int, octets: int = 8) -> list[bytes]:
    payloads = [number.to_bytes(octets, "big") for number in range(count)]
    for payload in payloads:
        output.offer(data_frame(payload))
    return payloads


def read(path: Path) -> list[bytes]:
    """The frames of a whole stream."""
    first, *frames, last = Reader().receive_data(path.read_bytes())
    assert (first, last) == (Started(DNSTAP, bidirectional=False), Stopped())
    return [frame for frame in frames if isinstance(frame, bytes)]


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


@trio_test
async def test_a_file_is_a_whole_stream_and_nobody_elses_business(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "dns.fstrm"
    async with running(path) as output:
        payloads = offer(output, 5000)
        await until(lambda: output.tap_status()["queued"] == 0)
        assert output.tap_status()["state"] == "connected"
    assert read(path) == payloads
    assert path.stat().st_mode & 0o777 == 0o640


@trio_test
async def test_what_was_offered_is_on_disk_a_moment_later(tmp_path: Path) -> None:
    path = tmp_path / "dns.fstrm"
    async with running(path) as output:
        offer(output, 1)
        with trio.fail_after(0.3):
            await until(lambda: path.exists() and path.read_bytes().endswith(data_frame(bytes(8))))


@trio_test
async def test_every_start_begins_a_file_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "dns.fstrm"
    for _ in range(3):
        async with running(path) as output:
            offer(output, 1)
    assert names(tmp_path) == ["dns.1.fstrm", "dns.2.fstrm", "dns.fstrm"]
    for name in names(tmp_path):
        assert read(tmp_path / name) == [bytes(8)]


@pytest.mark.parametrize(
    ("present", "name", "made"),
    [
        ([], "dns.fstrm", "dns.fstrm"),
        (["dns.fstrm"], "dns.fstrm", "dns.1.fstrm"),
        (["dns.7.fstrm"], "dns.fstrm", "dns.8.fstrm"),
        (["dns.fstrm", "dns.2.fstrm", "dns.10.fstrm", "dns.x.fstrm", "other.99.fstrm"], "dns.fstrm", "dns.11.fstrm"),
        (["tap"], "tap", "tap.1"),
        (["a.b.fstrm"], "a.b.fstrm", "a.b.1.fstrm"),
    ],
)
def test_a_new_file_is_numbered_above_the_highest(tmp_path: Path, present: list[str], name: str, made: str) -> None:
    for each in present:
        (tmp_path / each).write_bytes(b"precious")
    path, descriptor = create_beside(tmp_path / name)
    os.close(descriptor)
    assert path == tmp_path / made
    assert all((tmp_path / each).read_bytes() == b"precious" for each in present)


def test_a_symbolic_link_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "dns.fstrm").symlink_to(tmp_path / "victim")
    path, descriptor = create_beside(tmp_path / "dns.fstrm")
    os.close(descriptor)
    assert path == tmp_path / "dns.1.fstrm"
    assert not (tmp_path / "victim").exists()


@pytest.fixture
def jumping_clock(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> MockClock:
    """The clock does not know that a thread is at work and would jump past it: everything is done in place."""

    async def run_in_place(function: Callable[..., Any], *arguments: Any) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_in_place)
    return autojump_clock


class Disk:
    """Stands before `os.pwrite`: takes so many octets and is full then, until told otherwise."""

    def __init__(self, room: float) -> None:
        self.room = room
        self._pwrite = os.pwrite

    def __call__(self, descriptor: int, octets: Any, at: int) -> int:
        end = int(min(self.room, at + len(octets)))
        if end <= at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self._pwrite(descriptor, octets[: end - at], at)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk(float("inf"))
    monkeypatch.setattr(os, "pwrite", disk)
    return disk


@trio_test
async def test_a_full_disk_cuts_no_frame_and_writing_goes_on_when_there_is_room(
    tmp_path: Path, disk: Disk, jumping_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "dns.fstrm"
    async with running(path, queue=100) as output:
        await until(lambda: output.state == "connected")
        disk.room = 1000.0
        payloads = offer(output, 90)
        await until(lambda: output.state == "down")
        status = output.tap_status()
        assert (status["last_error"], status["sent"]) == ("No space left on device", (1000 - 42) // 12)
        await until(lambda: path.stat().st_size == 42 + 12 * status["sent"])
        offer(output, 200)
        status = output.tap_status()
        assert status["queued"] == 100
        assert status["dropped"]["spool_full"] == 290 - 100 - status["sent"]
        await trio.sleep(10)
        disk.room = float("inf")
        await until(lambda: output.tap_status()["queued"] == 0)
        assert (output.state, output.tap_status()["connects"]) == ("connected", 2)
    frames = read(path)
    assert frames[:90] == payloads
    assert len(frames) == status["sent"] + 100
    downs = [message for message in caplog.messages if " down: " in message]
    assert downs == ["tap tap down: No space left on device"]


@trio_test
async def test_a_disk_that_stays_full_does_not_delay_the_end_past_the_deadline(
    tmp_path: Path, disk: Disk, jumping_clock: MockClock
) -> None:
    path = tmp_path / "dns.fstrm"
    async with running(path, drain_s=3) as output:
        await until(lambda: output.state == "connected")
        disk.room = 42 + 12 * 3 + 5
        payloads = offer(output, 10)
        await until(lambda: output.state == "down")
        began = trio.current_time()
    assert trio.current_time() - began < 4
    assert output.tap_status()["dropped"]["shutdown"] == 7
    octets = path.read_bytes()
    assert Reader().receive_data(octets)[1:] == payloads[:3]


@trio_test
async def test_a_folder_that_cannot_be_made_is_a_tap_that_is_down(tmp_path: Path, jumping_clock: MockClock) -> None:
    (tmp_path / "folder").write_text("a file")
    async with running(tmp_path / "folder" / "dns.fstrm") as output:
        await until(lambda: output.state == "down")
        assert output.tap_status()["last_error"] in ("File exists", "Not a directory")
        (tmp_path / "folder").unlink()
        await until(lambda: output.state == "connected")


@trio_test
async def test_no_empty_file_is_left_where_not_even_start_fits(
    tmp_path: Path, disk: Disk, jumping_clock: MockClock
) -> None:
    disk.room = 10.0
    async with running(tmp_path / "dns.fstrm") as output:
        await until(lambda: output.state == "down")
        assert names(tmp_path) == []


@trio_test
async def test_a_tap_that_is_cancelled_leaves_a_whole_stream(tmp_path: Path) -> None:
    path = tmp_path / "dns.fstrm"
    output = FileOutput(OutputOptions("tap", Destination("file", path=str(path)), TlsOptions(), 10, 1 << 20))
    async with trio.open_nursery() as nursery:
        await nursery.start(output.run)
        await until(lambda: output.state == "connected")
        nursery.cancel_scope.cancel()
    assert read(path) == []
