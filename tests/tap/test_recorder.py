"""From runs to files: soon, whole, and whatever the disk does counted."""

import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import trio_test

from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.dnstap.rotation import Rotation
from dnsproxy.tap.damage import Damages
from dnsproxy.tap.errors import Failure
from dnsproxy.tap.recorder import FULL_OCTETS, Recorder
from dnsproxy.tap.recording import Recording
from dnsproxy.tap.runs import Run
from dnsproxy.tap.standard_stream import StandardStream
from tests.dnstap.disk import Disk
from tests.dnstap.tap_files import BARE, HOUR, NOON, names, read, read_part
from tests.dnstap.waiting import until
from tests.tap.frames import stream

Told = pytest.CaptureFixture[str]
DAMAGES = Damages("s")


class Clock:
    """Stands still unless it is set."""

    now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def run_of(*payloads: bytes) -> Run:
    return Run(b"".join(map(data_frame, payloads)), len(payloads))


@asynccontextmanager
async def recording(folder: Path, clock: Clock, flush_s: float = 0.01, **rotation: Any) -> AsyncIterator[Recorder]:
    """A recorder in `dns.fstrm`, or after noon in another file of that name; ended with the block."""
    files = Recording(f"{folder}/dns.fstrm", Rotation(utc=True, always_part=True, **rotation))
    files.open(clock.now)
    size = rotation.get("size")
    recorder = Recorder(files, flush_s, size - BARE if size else inf, clock)
    async with trio.open_nursery() as nursery:
        await nursery.start(recorder.run)
        yield recorder
        recorder.end()


@trio_test
async def test_what_arrived_is_in_the_file_after_a_moment(tmp_path: Path, clock: Clock) -> None:
    async with recording(tmp_path, clock) as recorder:
        recorder.take(run_of(b"1", b"2"), DAMAGES)
        recorder.take(run_of(b"3"), DAMAGES)
        await until(lambda: read_part(tmp_path / "dns.fstrm.part") == [b"1", b"2", b"3"])
    assert names(tmp_path) == ["dns.fstrm"]
    assert read(tmp_path / "dns.fstrm") == [b"1", b"2", b"3"]
    assert recorder.summary() == "wrote 3 frames, dropped 0"


@trio_test
async def test_who_is_in_a_hurry_does_not_wait_for_that_moment(tmp_path: Path, clock: Clock) -> None:
    async with recording(tmp_path, clock, flush_s=inf) as recorder:
        recorder.take(run_of(b"1"), DAMAGES)
        with trio.move_on_after(0.05) as waiting:
            await until(lambda: read_part(tmp_path / "dns.fstrm.part"))
        assert waiting.cancelled_caught
        await recorder.flush()
        assert read_part(tmp_path / "dns.fstrm.part") == [b"1"]
        recorder.take(run_of(bytes(600_000)), DAMAGES)
        recorder.take(run_of(bytes(600_000)), DAMAGES)
        await until(lambda: recorder.written == 3)


@trio_test
async def test_a_file_ends_by_the_clock_and_what_came_before_is_in_it(tmp_path: Path, clock: Clock) -> None:
    async with recording(tmp_path, clock, flush_s=inf, every_s=HOUR) as recorder:
        recorder.take(run_of(b"before"), DAMAGES)
        clock.now = NOON + HOUR
        await recorder.flush()
        recorder.take(run_of(b"behind"), DAMAGES)
    assert [read(tmp_path / name) for name in ("dns.fstrm", "dns.1.fstrm")] == [[b"before"], [b"behind"]]


@trio_test
async def test_a_file_ends_by_the_clock_when_nothing_comes(tmp_path: Path, clock: Clock) -> None:
    async with recording(tmp_path, clock, every_s=HOUR) as recorder:
        recorder.take(run_of(b"x"), DAMAGES)
        await recorder.flush()
        clock.now = NOON + HOUR
        recorder.rotate()  # wakes it, as the hour would
        await until(lambda: "dns.fstrm" in names(tmp_path))


@trio_test
async def test_a_signal_ends_a_file_behind_what_has_come(tmp_path: Path, clock: Clock) -> None:
    async with recording(tmp_path, clock, flush_s=inf) as recorder:
        recorder.take(run_of(b"before"), DAMAGES)
        recorder.rotate()
        await until(lambda: names(tmp_path) == ["dns.1.fstrm.part", "dns.fstrm"])
        recorder.take(run_of(b"behind"), DAMAGES)
    assert [read(tmp_path / name) for name in ("dns.fstrm", "dns.1.fstrm")] == [[b"before"], [b"behind"]]


@trio_test
async def test_a_signal_has_the_disk_take_all_for_good(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    async with recording(tmp_path, clock, flush_s=inf) as recorder:
        recorder.take(run_of(b"x"), DAMAGES)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
            recorder.sync()
            await until(lambda: synced)
    assert synced == [(tmp_path / "dns.fstrm").stat().st_size - BARE + 42]


@trio_test
async def test_no_file_is_larger_than_it_may_be(tmp_path: Path, clock: Clock) -> None:
    async with recording(tmp_path, clock, size=BARE + 30) as recorder:
        recorder.take(run_of(*(b"%d" % number for number in range(10)), bytes(27), bytes(26)), DAMAGES)
    assert (recorder.written, recorder.dropped) == (11, 1)
    sizes = [(tmp_path / name).stat().st_size for name in names(tmp_path)]
    assert max(sizes) == BARE + 30
    assert sum(len(read(tmp_path / name)) for name in names(tmp_path)) == 11


# disks


@trio_test
async def test_a_full_disk_drops_and_counts_and_recording_goes_on_when_there_is_room(
    tmp_path: Path, clock: Clock, disk: Disk, capsys: Told
) -> None:
    async with recording(tmp_path, clock) as recorder:
        disk.room = 42 + 2 * 5 + 3
        recorder.take(run_of(b"1", b"2", b"3"), DAMAGES)
        await recorder.flush()
        recorder.take(run_of(b"4", b"5"), DAMAGES)
        await recorder.flush()
        assert (recorder.written, recorder.dropped) == (2, 3)
        disk.room = inf
        recorder.take(run_of(b"6"), DAMAGES)
    assert read(tmp_path / "dns.fstrm") == [b"1", b"2", b"6"]
    assert capsys.readouterr().err.splitlines() == [
        "recording: No space left on device; what comes is dropped until it can be written",
        "recording goes on, 3 frames were dropped",
    ]


@trio_test
async def test_where_not_even_a_file_can_be_begun_it_is_tried_again(tmp_path: Path, clock: Clock, disk: Disk) -> None:
    async with recording(tmp_path, clock) as recorder:
        recorder.take(run_of(b"1"), DAMAGES)
        await recorder.flush()
        disk.refuses_start = True
        recorder.rotate()
        recorder.take(run_of(b"2"), DAMAGES)
        await recorder.flush()
        recorder.take(run_of(b"3"), DAMAGES)
        await recorder.flush()
        disk.refuses_start = False
        recorder.take(run_of(b"4"), DAMAGES)
    assert recorder.dropped == 1
    assert [read(tmp_path / name) for name in ("dns.fstrm", "dns.1.fstrm")] == [[b"1", b"2"], [b"4"]]


@trio_test
async def test_a_last_file_without_room_for_stop_is_a_failure_and_repaired_later(
    tmp_path: Path, clock: Clock, disk: Disk
) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(Failure, match="the last file stays incomplete: No space left")):
        async with recording(tmp_path, clock) as recorder:
            recorder.take(run_of(b"1"), DAMAGES)
            await recorder.flush()
            disk.room = 42 + 5
    assert names(tmp_path) == ["dns.fstrm.part"]
    disk.room = inf
    async with recording(tmp_path, clock):
        pass
    assert read(tmp_path / "dns.fstrm") == [b"1"]


@trio_test
async def test_a_slow_disk_makes_producers_wait(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    really_write = os.pwrite

    def hang(*arguments: Any) -> int:
        gate.wait(10)
        return really_write(*arguments)

    async with recording(tmp_path, clock) as recorder:
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", hang)
            while not recorder.is_full:
                recorder.take(run_of(bytes(1_000_000)), DAMAGES)
                await trio.lowlevel.checkpoint()
            assert recorder.taken * 1_000_004 < FULL_OCTETS + 1_000_004
            gate.set()
            await recorder.wait_for_room()
    assert recorder.written == recorder.taken


# standard output


@trio_test
async def test_standard_output_gets_a_whole_stream() -> None:
    reading, writing = os.pipe()
    recorder = Recorder(StandardStream(writing), 0.01)
    async with trio.open_nursery() as nursery:
        await nursery.start(recorder.run)
        recorder.take(run_of(b"1", b"2"), DAMAGES)
        recorder.end()
    os.close(writing)
    assert os.read(reading, 4096) == stream(b"1", b"2")
    os.close(reading)


@trio_test
async def test_a_reader_that_has_gone_ends_it() -> None:
    reading, writing = os.pipe()
    recorder = Recorder(StandardStream(writing), 0.01)
    os.close(reading)
    with pytest.RaisesGroup(BrokenPipeError):
        async with trio.open_nursery() as nursery:
            await nursery.start(recorder.run)
            recorder.take(run_of(b"1"), DAMAGES)
    os.close(writing)
