"""File taps: whole streams, new files beside old ones, and disks that fill up."""

import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.file_output import FileOutput
from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.rotation import Rotation
from tests.dnstap.disk import Disk
from tests.dnstap.tap_files import HOUR, NOON, names, read, read_part
from tests.dnstap.waiting import until


@asynccontextmanager
async def running(
    path: Path, *, queue: int = 10_000, drain_s: float = 5.0, **rotation: Any
) -> AsyncIterator[FileOutput]:
    """A file tap that is drained at the end of the block. Its day begins at noon, and passes as the test's."""
    destination = Destination("file", path=str(path))
    options = OutputOptions("tap", destination, TlsOptions(), queue, 1 << 26, rotation=Rotation(**rotation))
    began = trio.current_time()
    output = FileOutput(options, lambda: NOON + trio.current_time() - began)
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


@pytest.fixture
def jumping_clock(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> MockClock:
    """The clock does not know that a thread is at work and would jump past it: everything is done in place."""

    async def run_in_place(function: Callable[..., Any], *arguments: Any, abandon_on_cancel: bool = False) -> Any:
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", run_in_place)
    monkeypatch.setattr("dnsproxy.dnstap.rotation_archive.PATIENCE_S", 10)  # of the real clock
    return autojump_clock


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
    assert read_part(path) == payloads[:3]


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
async def test_a_tap_that_is_cancelled_leaves_a_whole_stream_and_nothing_to_tell(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "dns.fstrm"
    output = FileOutput(OutputOptions("tap", Destination("file", path=str(path)), TlsOptions(), 10, 1 << 20))
    async with trio.open_nursery() as nursery:
        await nursery.start(output.run)
        await until(lambda: output.state == "connected")
        nursery.cancel_scope.cancel()
    assert read(path) == []
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


# rotation


@trio_test
async def test_a_file_ends_on_the_hour_though_nothing_arrives(tmp_path: Path, jumping_clock: MockClock) -> None:
    async with running(tmp_path / "dns-%s.fstrm", every_s=HOUR) as output:
        payloads = offer(output, 3)
        await until(lambda: output.tap_status()["queued"] == 0)
        assert [name.endswith(".part") for name in names(tmp_path)] == [True]
        await trio.sleep(HOUR - 2)
        assert [name.endswith(".part") for name in names(tmp_path)] == [True]
        await trio.sleep(3)
        assert names(tmp_path) == [f"dns-{NOON:.0f}.fstrm", f"dns-{NOON + HOUR:.0f}.fstrm.part"]
        assert read(tmp_path / f"dns-{NOON:.0f}.fstrm") == payloads
        await trio.sleep(2.5 * HOUR)
        assert names(tmp_path) == [f"dns-{NOON:.0f}.fstrm", f"dns-{NOON + 3 * HOUR:.0f}.fstrm.part"]
        assert (output.state, output.connects) == ("connected", 1)
    assert names(tmp_path) == [f"dns-{NOON:.0f}.fstrm"]


@trio_test
async def test_nothing_is_lost_or_out_of_order_between_files(tmp_path: Path) -> None:
    async with running(tmp_path / "dns.fstrm", size=5000, compress="gzip") as output:
        payloads = offer(output, 2000)
        await until(lambda: output.tap_status()["sent"] == 2000)
        payloads += offer(output, 2000)
    count = len(names(tmp_path))
    assert count > 9
    files = [tmp_path / f"dns.{number}.fstrm.gz" for number in range(1, count)]
    assert [frame for path in (tmp_path / "dns.fstrm.gz", *files) for frame in read(path)] == payloads
    assert output.tap_status()["bytes"] == 4000 * 12


@trio_test
async def test_asked_to_reopen_an_idle_tap_begins_another_file_at_once(
    tmp_path: Path, jumping_clock: MockClock
) -> None:
    path = tmp_path / "dns.fstrm"
    async with running(path) as output:
        first = offer(output, 2)
        await until(lambda: output.tap_status()["queued"] == 0)
        path.rename(tmp_path / "moved")
        began = trio.current_time()
        output.reopen()
        await until(path.exists)
        assert trio.current_time() - began < 0.1
        assert read(tmp_path / "moved") == first
        second = offer(output, 1)
        await until(lambda: output.tap_status()["queued"] == 0)
        output.reopen()
        await until((tmp_path / "dns.1.fstrm").exists)
        third = offer(output, 3)
        await until(lambda: output.tap_status()["queued"] == 0)
        assert (output.state, output.connects) == ("connected", 1)
    assert [read(tmp_path / name) for name in names(tmp_path)] == [third, second, first]


@trio_test
async def test_a_disk_that_is_full_when_a_file_must_end_loses_nothing_that_the_queue_holds(
    tmp_path: Path, disk: Disk, jumping_clock: MockClock
) -> None:
    async with running(tmp_path / "dns-%H.fstrm", queue=100, every_s=HOUR) as output:
        payloads = offer(output, 10)
        await until(lambda: output.tap_status()["queued"] == 0)
        disk.room = 42 + 10 * 12
        await trio.sleep(HOUR)
        assert output.state == "down"
        payloads += offer(output, 100)
        offer(output, 5)
        assert output.tap_status()["dropped"]["spool_full"] == 5
        await trio.sleep(60)
        assert names(tmp_path) == ["dns-12.fstrm.part"]
        disk.room = float("inf")
        await until(lambda: output.tap_status()["queued"] == 0)
        assert output.state == "connected"
    assert names(tmp_path) == ["dns-12.fstrm", "dns-13.fstrm"]
    assert [frame for name in names(tmp_path) for frame in read(tmp_path / name)] == payloads


@trio_test
async def test_a_message_that_no_file_has_room_for_is_counted_as_too_long(
    tmp_path: Path, jumping_clock: MockClock
) -> None:
    async with running(tmp_path / "dns.fstrm", size=1024) as output:
        output.offer(data_frame(bytes(2000)))
        payloads = offer(output, 1)
        await until(lambda: output.tap_status()["sent"] == 1)
        assert output.tap_status()["dropped"]["oversize"] == 1
    assert read(tmp_path / "dns.fstrm") == payloads


@trio_test
async def test_a_file_that_takes_long_to_compress_does_not_delay_the_end_past_the_deadline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = threading.Event()
    monkeypatch.setattr("dnsproxy.dnstap.rotation_archive.compress", lambda *_arguments: hold.wait(10))
    try:
        began = trio.current_time()
        async with running(tmp_path / "dns.fstrm", size=1 << 20, compress="gzip", drain_s=0.2) as output:
            payloads = offer(output, 3)
        assert trio.current_time() - began < 2
        assert output.tap_status()["sent"] == 3
        assert read(tmp_path / "dns.fstrm.part") == payloads, "complete, for the next start to publish"
    finally:
        hold.set()
