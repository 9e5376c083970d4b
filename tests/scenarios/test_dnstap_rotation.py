"""File taps: names, rotation by size and by the clock, packing, keeping few, and files that others move away."""

import gzip
import itertools
import re
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.client import exchange
from tests.support.collector import wait_until
from tests.support.framestreams import START
from tests.support.load import ask_many
from tests.support.packages import install_package
from tests.support.proxy import Proxy, config_errors
from tests.support.tap_files import GZIP_MAGIC, ZSTD_MAGIC, messages_in, read_file, read_files
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

SIZE = 8 << 10
CLOCK_WITHIN_S = 3.0  # a rotation each second, and patience
ZSTD_MODULE = "zstandard"

PUBLISHED_S = 10.0  # closed files, by a thread of low priority


def file_tap(folder: Path, template: str = "tap.fstrm", /, **keys: object) -> str:
    return dnstap(to=f"file://{folder}/{template}", name="file", **keys)


def closed(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix != ".part")


def open_parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.part"))


def test_a_file_that_rotates_by_size_is_a_row_of_complete_streams(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    folder = tmp_path / "taps"
    proxy = start_proxy(file_tap(folder, rotate_size="8KiB") + forward(upstream))
    ask_many(proxy.port, 100)
    proxy.wait_for_tap("file", lambda now: now["sent"] == 400, "all is written")
    end = time.monotonic() + PUBLISHED_S
    while len(open_parts(folder)) > 1 and time.monotonic() < end:
        time.sleep(0.05)
    assert len(open_parts(folder)) == 1, "the one that is being written"
    early = closed(folder)
    assert len(early) >= 4
    proxy.stop()
    assert not open_parts(folder)
    files = read_files(closed(folder))
    assert len(files) == len(early) + 1
    for one in files:
        assert one.is_complete
        assert len(one.octets) <= SIZE
        assert one.path.stat().st_mode & 0o777 == 0o640
    messages = [message for one in files for message in one.messages]
    arrivals = [message.time_ns for message in messages if message.type == "CQ"]
    assert (len(messages), len(arrivals)) == (400, 100)
    assert arrivals == sorted(arrivals)


def test_a_file_that_rotates_by_time_does_so_by_the_clock_without_traffic(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    folder = tmp_path / "taps"
    proxy = start_proxy(file_tap(folder, rotate_every="1s") + forward(upstream))
    exchange(wire.query("first.example.org"), proxy.port)
    wait_until(lambda: len(closed(folder)) == 1, "published", within_s=CLOCK_WITHIN_S)
    (first,) = closed(folder)
    assert read_file(first).is_complete
    exchange(wire.query("second.example.org"), proxy.port)
    wait_until(lambda: len(closed(folder)) == 2, "published", within_s=CLOCK_WITHIN_S)
    proxy.stop()
    assert [len(one.messages) for one in read_files(closed(folder))] == [4, 4]


def test_names_are_strftimes_of_the_time_a_file_begins(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    folder = tmp_path / "taps"
    template = "%Y/tap-%Y%m%d-%H%M%S.fstrm"
    before = time.time()
    proxy = start_proxy(file_tap(folder, template, rotate_every="1s") + forward(upstream))
    exchange(wire.query("www.example.org"), proxy.port)
    wait_until(lambda: bool(list(folder.glob("*/*.fstrm"))), "published", within_s=CLOCK_WITHIN_S)
    (path,) = folder.glob("*/*.fstrm")
    names = [time.strftime(template, time.localtime(before + second)) for second in range(-1, 5)]
    assert str(path.relative_to(folder)) in names


def test_without_rotation_the_name_is_final_from_the_beginning(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    folder = tmp_path / "taps"
    proxy = start_proxy(file_tap(folder, "tap-%Y.fstrm") + forward(upstream))
    exchange(wire.query("www.example.org"), proxy.port)
    proxy.wait_for_tap("file", lambda now: now["sent"] == 4, "all is written")
    (path,) = folder.iterdir()
    assert re.fullmatch(r"tap-20\d\d\.fstrm", path.name)
    assert len(read_file(path).messages) == 4


@pytest.mark.parametrize("packed", [False, True])
def test_only_the_newest_closed_files_are_kept(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path, packed: bool
) -> None:
    folder = tmp_path / "taps"
    folder.mkdir()
    (folder / "somebody-elses").write_text("not ours to remove")
    packing = {"compress": "gzip"} if packed else {}
    proxy = start_proxy(file_tap(folder, rotate_size="8KiB", keep=2, **packing) + forward(upstream))
    ask_many(proxy.port, 150)
    proxy.wait_for_tap("file", lambda now: now["sent"] == 600, "all is written")
    proxy.stop()
    files = [path for path in closed(folder) if path.name != "somebody-elses"]
    assert len(files) == 2
    assert (folder / "somebody-elses").exists()
    last = messages_in(files)
    assert {wire.qname(one.wire or b"").partition(".")[0] for one in last} >= {"q149"}


def test_closed_files_are_packed_with_gzip(start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path) -> None:
    folder = tmp_path / "taps"
    proxy = start_proxy(file_tap(folder, rotate_size="8KiB", compress="gzip") + forward(upstream))
    ask_many(proxy.port, 100)
    proxy.stop()
    files = closed(folder)
    assert {path.suffix for path in files} == {".gz"}
    assert all(path.read_bytes().startswith(GZIP_MAGIC) for path in files)
    read = read_files(files)
    assert all(one.is_complete for one in read)
    assert len(messages_in(files)) == 400
    unpacked = max(len(gzip.decompress(path.read_bytes())) for path in files)
    assert SIZE // 2 < unpacked <= SIZE, "the size is that of the stream, not of the packed file"


@pytest.mark.skipif(find_spec(ZSTD_MODULE) is None, reason=f"no {ZSTD_MODULE} in this environment")
def test_closed_files_are_packed_with_zstd(start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path) -> None:
    folder = tmp_path / "taps"
    proxy = start_proxy(file_tap(folder, rotate_size="8KiB", compress="zstd") + forward(upstream))
    ask_many(proxy.port, 100)
    proxy.stop()
    files = closed(folder)
    assert {path.suffix for path in files} == {".zst"}
    assert all(path.read_bytes().startswith(ZSTD_MAGIC) for path in files)
    assert len(messages_in(files)) == 400


def test_zstd_without_its_module_is_an_error_that_names_it(tmp_path: Path) -> None:
    environment = install_package(tmp_path / "site", ZSTD_MODULE, 'raise ImportError("not here")', {})
    tap = file_tap(tmp_path, rotate_size="8KiB", compress="zstd")
    (error,) = config_errors(tmp_path, tap + forward("192.0.2.1"), environment)
    assert "compress]" in error
    assert ZSTD_MODULE in error


def test_a_hangup_goes_on_in_a_new_file_where_the_old_one_was_moved_away(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    path, moved = tmp_path / "tap.fstrm", tmp_path / "tap.fstrm.1"
    proxy = start_proxy(dnstap(to=f"file://{path}", name="file") + forward(upstream))
    exchange(wire.query("before.example.org"), proxy.port)
    proxy.wait_for_tap("file", lambda now: now["sent"] == 4, "all is written")
    path.rename(moved)
    exchange(wire.query("between.example.org"), proxy.port)
    proxy.wait_for_tap("file", lambda now: now["sent"] == 8, "all is written")
    proxy.reload()
    exchange(wire.query("after.example.org"), proxy.port)
    wait_until(path.exists, "the new file")
    wait_until(lambda: read_file(moved).is_complete, "STOP in the old one")
    proxy.stop()
    assert len(read_file(moved).messages) == 8
    assert len(read_file(path).messages) == 4
    assert read_file(path).is_complete
    assert proxy.tap_lines["file"] == {"offered": 12, "sent": 12, "queued": 0, "dropped": 0}


def test_a_hangup_under_load_loses_nothing(start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path) -> None:
    path = tmp_path / "tap.fstrm"
    proxy = start_proxy(dnstap(to=f"file://{path}", name="file") + forward(upstream))
    for number in range(4):
        ask_many(proxy.port, 50, f"round{number}")
        path.rename(tmp_path / f"moved{number}")
        proxy.reload()
        wait_until(path.exists, "the new file")
    proxy.stop()
    files = [*tmp_path.glob("tap.fstrm"), *tmp_path.glob("moved*")]  # the last one only if there was something for it
    assert len(messages_in(files)) == 800
    assert all(read_file(one).is_complete for one in files)


def test_a_hangup_closes_and_publishes_a_file_that_rotates(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    folder = tmp_path / "taps"
    proxy = start_proxy(file_tap(folder, rotate_every="1h") + forward(upstream))
    exchange(wire.query("before.example.org"), proxy.port)
    proxy.wait_for_tap("file", lambda now: now["sent"] == 4, "all is written")
    assert not closed(folder)
    proxy.reload()
    wait_until(lambda: len(closed(folder)) == 1, "published")
    exchange(wire.query("after.example.org"), proxy.port)
    proxy.stop()
    assert [len(one.messages) for one in read_files(closed(folder))] == [4, 4]


def test_what_a_killed_proxy_left_behind_is_never_overwritten(upstream: HostileUpstream, tmp_path: Path) -> None:
    folder = tmp_path / "taps"
    body = file_tap(folder, rotate_size="1MiB") + forward(upstream)
    for number in range(2):
        with Proxy(tmp_path, body) as proxy:
            ask_many(proxy.port, 25, f"life{number}")
            proxy.wait_for_tap("file", lambda now: now["sent"] == 100, "all is written")
            proxy.crash()
    with Proxy(tmp_path, body) as proxy:
        ask_many(proxy.port, 25, "life2")
    messages = messages_in(folder.iterdir())
    lives = {wire.qname(one.wire or b"").split(".")[1] for one in messages}
    assert lives == {"life0", "life1", "life2"}
    assert len(messages) == 300


def test_workers_share_a_file_that_rotates(upstream: HostileUpstream, tmp_path: Path) -> None:
    folder = tmp_path / "taps"
    body = "workers = 2\n" + file_tap(folder, rotate_size="8KiB", compress="gzip") + forward(upstream)
    with Proxy(tmp_path, body) as proxy:
        for number in range(12):  # source ports: they meet both workers
            ask_many(proxy.port, 10, f"w{number}")
        proxy.reload()
        ask_many(proxy.port, 10, "after")
    files = closed(folder)
    assert not open_parts(folder)
    assert all(one.is_complete and len(one.octets) <= SIZE for one in read_files(files))
    assert len(messages_in(files)) == 4 * 130


def test_rotation_and_its_keys_are_checked(tmp_path: Path) -> None:
    wrong: list[tuple[str, dict[str, object]]] = [
        ("rotate_size", {"rotate_size": "big"}),
        ("rotate_every", {"rotate_every": "often"}),
        ("keep", {"rotate_size": "1MiB", "keep": -1}),
        ("compress", {"rotate_size": "1MiB", "compress": "lzma"}),
    ]
    taps = [file_tap(tmp_path, f"{key}.fstrm", **keys).replace('"file"', f'"{key}"') for key, keys in wrong]
    errors = config_errors(tmp_path, "".join(taps) + forward("192.0.2.1"))
    assert len(errors) == len(wrong), errors
    for number, (key, _) in enumerate(wrong):
        assert f"[dnstap[{number}].{key}]" in errors[number]


def test_a_file_is_readable_to_the_last_message_while_it_is_written(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    folder = tmp_path / "taps"
    proxy = start_proxy(file_tap(folder, rotate_size="1MiB") + forward(upstream))
    for count in itertools.accumulate([1, 2, 3]):
        ask_many(proxy.port, count, f"n{count}")
        sent = proxy.wait_for_tap("file", lambda now: not now["queued"], "all is written")["sent"]
        (part,) = open_parts(folder)
        read = read_file(part)
        assert (len(read.messages), read.kinds, read.rest) == (sent, (START,), b"")
