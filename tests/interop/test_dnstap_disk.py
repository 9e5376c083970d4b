"""What taps put on disk, read by the real programs: files that rotate, packed ones, and what waits for a collector."""

import subprocess
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support.collector import Collector, unix_address, wait_until
from tests.support.load import ask_many
from tests.support.name_servers import Nsd
from tests.support.programs import require_program, run_program
from tests.support.proxy import Proxy
from tests.support.tap_files import messages_in, read_files
from tests.support.toml import dnstap, forward

pytestmark = pytest.mark.interop

QUERIES = 100  # each has four messages
QUEUE = 10
UNPACKERS = {"gzip": "zcat", "zstd": "zstdcat"}


def answering(authority: Nsd) -> str:
    return forward(authority, timeout="2s", deadline="4s")


def file_tap(folder: Path, **keys: object) -> str:
    return dnstap(to=f"file://{folder}/tap.fstrm", name="file", **keys)


def spooling_tap(folder: Path) -> str:
    address = unix_address(folder, "away.sock")
    return dnstap(to=address, name="main", queue=QUEUE, spool=str(folder / "spool"))


def in_order(folder: Path) -> list[Path]:
    """The files with messages, oldest first."""
    return [one.path for one in read_files(folder.rglob("*"))]


def printed_lines(files: list[Path], *command: str) -> int:
    """How many lines a program prints for all of these."""
    return sum(len(run_program(*command, str(path)).splitlines()) for path in files)


def wait_until_spooled(folder: Path) -> int:
    """How many messages are on disk, once all that the queue does not hold are."""
    wait_until(lambda: len(messages_in(folder.rglob("*"))) >= 4 * QUERIES - QUEUE, "on disk")
    return len(messages_in(folder.rglob("*")))


def test_rotated_files_are_whole_streams_to_every_reader(
    start_proxy: StartProxy, authority: Nsd, tmp_path: Path
) -> None:
    proxy = start_proxy(file_tap(tmp_path / "taps", rotate_size="16KiB") + answering(authority))
    ask_many(proxy.port, QUERIES, "wild", qtype="TXT")
    proxy.stop()
    files = in_order(tmp_path / "taps")
    assert len(files) > 3
    assert printed_lines(files, "dnstap", "-q", "-r") == 4 * QUERIES
    assert printed_lines(files, "dnstap-read") == 4 * QUERIES
    for path in files:
        copied = tmp_path / "copied.fstrm"
        run_program("fstrm_dump", str(path), str(copied))
        assert copied.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("packing", ["gzip", "zstd"])
def test_packed_files_unpack_to_streams_that_dnstap_read_prints(
    start_proxy: StartProxy, authority: Nsd, tmp_path: Path, packing: str
) -> None:
    if packing == "zstd":
        pytest.importorskip("zstandard", reason="no zstandard in this environment")
    proxy = start_proxy(file_tap(tmp_path / "taps", rotate_size="16KiB", compress=packing) + answering(authority))
    ask_many(proxy.port, QUERIES, "wild", qtype="TXT")
    proxy.stop()
    printed = 0
    for path in in_order(tmp_path / "taps"):
        plain = tmp_path / "plain.fstrm"
        with plain.open("wb") as output:
            subprocess.run([require_program(UNPACKERS[packing]), str(path)], check=True, stdout=output)
        printed += printed_lines([plain], "dnstap-read")
    assert printed == 4 * QUERIES


def test_what_waits_in_a_spool_is_read_by_every_program_and_still_arrives(
    start_proxy: StartProxy, authority: Nsd, tmp_path: Path
) -> None:
    proxy = start_proxy(spooling_tap(tmp_path) + answering(authority))
    ask_many(proxy.port, QUERIES, "wild", qtype="TXT")
    kept = wait_until_spooled(tmp_path / "spool")
    files = in_order(tmp_path / "spool")
    assert printed_lines(files, "dnstap", "-q", "-r") == kept
    assert printed_lines(files, "dnstap-read") == kept
    with Collector(unix_address(tmp_path, "away.sock")) as collector:
        collector.wait_for(4 * QUERIES)
        proxy.stop()


def test_what_a_killed_proxy_left_in_its_spool_is_read_by_every_program(authority: Nsd, tmp_path: Path) -> None:
    with Proxy(tmp_path, spooling_tap(tmp_path) + answering(authority)) as proxy:
        ask_many(proxy.port, QUERIES, "wild", qtype="TXT")
        kept = wait_until_spooled(tmp_path / "spool")
        proxy.crash()
    files = in_order(tmp_path / "spool")
    assert printed_lines(files, "dnstap", "-q", "-r") == kept
    assert printed_lines(files, "dnstap-read") == kept
