"""Files that several workers write together: a hangup and the clock end them as those of a single process."""

import time
from pathlib import Path

from tests.conftest import StartProxy
from tests.support.collector import wait_until
from tests.support.load import ask_many
from tests.support.tap_files import messages_in, read_file
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

TWO = "workers = 2\n"
CLOCK_WITHIN_S = 3.0  # a rotation each second, and patience


def test_a_hangup_goes_on_in_a_new_file_where_the_old_one_was_moved_away(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    path, moved = tmp_path / "tap.fstrm", tmp_path / "tap.fstrm.1"
    proxy = start_proxy(TWO + dnstap(to=f"file://{path}", name="file") + forward(upstream))
    ask_many(proxy.port, 20, "before")
    proxy.wait_for_tap("file", lambda now: now["sent"] == 80, "all is written")
    path.rename(moved)
    proxy.reload()
    wait_until(path.exists, "the new file")
    ask_many(proxy.port, 20, "after")
    assert read_file(moved).is_complete
    proxy.stop()
    assert [len(read_file(one).messages) for one in (moved, path)] == [80, 80]
    assert sorted(tmp_path.glob("*.fstrm*")) == [path, moved]
    assert proxy.tap_lines["file"] == {"offered": 160, "sent": 160, "queued": 0, "dropped": 0}


def test_a_reload_that_adds_a_file_begins_it_once(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    folder = tmp_path / "taps"
    proxy = start_proxy(TWO + forward(upstream))
    proxy.reload(TWO + dnstap(to=f"file://{folder}/tap.fstrm") + forward(upstream))
    ask_many(proxy.port, 10)
    proxy.stop()
    assert [path.name for path in folder.iterdir()] == ["tap.fstrm"]
    assert len(messages_in([folder / "tap.fstrm"])) == 40


def test_the_clock_ends_a_file_without_traffic(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    folder = tmp_path / "taps"
    tap = dnstap(to=f"file://{folder}/%H%M%S.fstrm", rotate_every="1s", compress="gzip", keep=1)
    proxy = start_proxy(TWO + tap + forward(upstream))
    wait_for_a_second_to_begin()
    ask_many(proxy.port, 5, "first")
    wait_until(lambda: len(list(folder.glob("*.gz"))) == 1, "published", within_s=CLOCK_WITHIN_S)
    (first,) = folder.glob("*.gz")
    assert len(messages_in([first])) == 20
    wait_for_a_second_to_begin()
    ask_many(proxy.port, 10, "second")
    wait_until(lambda: not first.exists(), "too old", within_s=CLOCK_WITHIN_S)
    proxy.stop()
    (last,) = folder.iterdir()
    assert len(messages_in([last])) == 40


def wait_for_a_second_to_begin() -> None:
    """So that what is asked now is written before it ends."""
    time.sleep(1.02 - time.time() % 1)
