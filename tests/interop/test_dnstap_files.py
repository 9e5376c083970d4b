"""Files of a tap that rotates as `dnstap`, `dnstap-read` and `fstrm_dump` read them: growing, closed, left behind."""

import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import trio_test

from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.file_output import FileOutput
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.rotation import Rotation
from tests.dnstap.tap_files import names
from tests.dnstap.waiting import until
from tests.interop.test_dnstap_outputs import IPV4, IPV6, offer
from tests.support.programs import require_program, run_program

pytestmark = pytest.mark.interop

MESSAGES = IPV4 + IPV6


def lines_of_dnstap(file: Path) -> int:
    return len(run_program("dnstap", "-q", "-r", str(file)).splitlines())


def lines_of_dnstap_read(file: Path) -> int:
    return len(run_program("dnstap-read", str(file)).splitlines())


def frames_of_fstrm_dump(file: Path) -> int:
    command = [require_program("fstrm_dump"), str(file)]
    return subprocess.run(command, check=True, capture_output=True).stderr.count(b"Data frame")


READERS = pytest.mark.parametrize("frames_in", [lines_of_dnstap, lines_of_dnstap_read, frames_of_fstrm_dump])


@asynccontextmanager
async def file_tap(path: Path, **rotation: Any) -> AsyncIterator[FileOutput]:
    destination = Destination("file", path=str(path))
    options = OutputOptions("tap", destination, TlsOptions(), 100_000, 1 << 26, rotation=Rotation(**rotation))
    output = FileOutput(options)
    async with trio.open_nursery() as nursery:
        await nursery.start(output.run)
        yield output
        await output.drain(10)


@READERS
@trio_test
async def test_the_part_that_is_being_written_is_readable_to_its_last_message(
    tmp_path: Path, frames_in: Callable[[Path], int]
) -> None:
    async with file_tap(tmp_path / "%Y" / "dns.fstrm", size=1 << 20) as output:
        for count in (8, 16, 24):
            offer(output, MESSAGES)
            await until(lambda: output.tap_status()["queued"] == 0)
            (part,) = names(tmp_path)
            assert part.endswith(".part")
            assert await trio.to_thread.run_sync(frames_in, tmp_path / part) == count


@READERS
@trio_test
async def test_closed_files_have_all_messages_between_them(tmp_path: Path, frames_in: Callable[[Path], int]) -> None:
    async with file_tap(tmp_path / "dns.fstrm", size=4096) as output:
        offer(output, MESSAGES, times=20)
    files = [tmp_path / name for name in names(tmp_path)]
    assert len(files) > 4
    assert sum(map(frames_in, files)) == 160


@READERS
@trio_test
async def test_what_a_crash_left_is_a_whole_file_after_the_next_start(
    tmp_path: Path, frames_in: Callable[[Path], int]
) -> None:
    async with file_tap(tmp_path / "crashed.fstrm") as output:
        offer(output, MESSAGES)
    octets = (tmp_path / "crashed.fstrm").read_bytes()
    (tmp_path / "dns.fstrm.part").write_bytes(octets[:-20])  # STOP and the end of the last message are missing
    async with file_tap(tmp_path / "dns.fstrm", size=1 << 20):
        pass
    assert frames_in(tmp_path / "dns.fstrm") == len(MESSAGES) - 1


@pytest.mark.parametrize("compress", ["gzip", "zstd"])
@trio_test
async def test_compressed_files_are_streams_once_they_are_unpacked(tmp_path: Path, compress: str) -> None:
    program = require_program(compress)
    async with file_tap(tmp_path / "dns.fstrm", size=1 << 20, compress=compress) as output:
        offer(output, MESSAGES)
    (name,) = names(tmp_path)
    unpacked = tmp_path / "unpacked.fstrm"
    unpacked.write_bytes(await trio.to_thread.run_sync(unpack, program, tmp_path / name))
    assert lines_of_dnstap_read(unpacked) == len(MESSAGES)


def unpack(program: str, file: Path) -> bytes:
    return subprocess.run([program, "-dc", str(file)], check=True, capture_output=True).stdout
