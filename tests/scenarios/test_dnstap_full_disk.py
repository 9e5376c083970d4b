"""Taps on a disk that is full: queries are answered, what is lost is counted, and with room again all goes on."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.collector import Collector
from tests.support.load import ask_many
from tests.support.programs import require_program
from tests.support.proxy import Proxy, Status
from tests.support.tap_files import messages_in
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

DISK_OCTETS, BALLAST_OCTETS = 512 << 10, 384 << 10


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.mkdir()
    return path


@pytest.fixture
def mounting(disk: Path) -> list[str]:
    """A command that runs another one with a disk of its own in that folder, seen by nobody else."""
    mount = f'mount -t tmpfs -o size={DISK_OCTETS} none "{disk}" && exec "$@"'
    command = [require_program("unshare"), "-rm", "sh", "-c", mount, "sh"]
    if subprocess.run([*command, "true"], capture_output=True).returncode:
        pytest.skip("no right to mount a disk here")
    return command


@pytest.fixture
def proxy(
    mounting: list[str], disk: Path, upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> Iterator[Proxy]:
    collector.kill()
    taps = dnstap(to=collector, name="spooled", queue=50, spool=f"{disk}/spool")
    taps += dnstap(to=f"file://{disk}/tap.fstrm", name="file", queue=50)
    with Proxy(tmp_path, taps + forward(upstream), prefix=mounting) as running:
        yield running


def inside(proxy: Proxy, disk: Path) -> Path:
    """The disk as the proxy sees it."""
    return Path(f"/proc/{proxy.process.pid}/root{disk}")


def fill(proxy: Proxy) -> None:
    """Asks until both taps have had to drop something."""
    for number in range(20):
        ask_many(proxy.port, 200, f"fill{number}")
        if all(dropped(proxy.tap(name)) for name in ("spooled", "file")):
            return
    pytest.fail("the disk does not fill")


def dropped(tap: Status) -> int:
    return sum(tap["dropped"].values())


def test_a_full_disk_costs_only_what_is_counted_and_with_room_all_goes_on(
    proxy: Proxy, disk: Path, collector: Collector
) -> None:
    ballast = inside(proxy, disk) / "ballast"
    ballast.write_bytes(bytes(BALLAST_OCTETS))
    fill(proxy)
    spooled, file = proxy.tap("spooled"), proxy.tap("file")
    assert spooled["dropped"]["spool_full"] > 0
    ballast.unlink()
    for number in range(10):
        ask_many(proxy.port, 50, f"room{number}")
        if proxy.tap("file")["sent"] > file["sent"] and proxy.tap("spooled")["queued"] > spooled["queued"]:
            break
    proxy.wait_for_tap("file", lambda now: now["sent"] > file["sent"], "written again")
    collector.start()
    status = proxy.wait_for_tap("spooled", lambda now: not now["queued"], "all is sent")
    collector.wait_for(status["sent"])
    proxy.wait_for_tap("file", lambda now: not now["queued"], "all is written")
    kept = messages_in(inside(proxy, disk).glob("tap*"))
    assert len(kept) == proxy.tap("file")["sent"]
