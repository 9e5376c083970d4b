"""Closed files: few are kept, compressed or not, and what a crash left is among them."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from dnsproxy.dnstap.rotation import Rotation
from dnsproxy.dnstap.rotation_archive import too_many
from dnsproxy.dnstap.rotation_compress import compress
from dnsproxy.dnstap.stream_file import START, STOP
from tests.dnstap.disk import Disk
from tests.dnstap.tap_files import BARE, HOUR, NOON, end, frames, names, octets, read, series_of

# keeping few


@pytest.mark.parametrize("compress", [None, "gzip", "zstd"])
def test_only_the_newest_closed_files_are_kept(tmp_path: Path, compress: str | None) -> None:
    series = series_of(tmp_path, "%M/dns.fstrm", size=BARE + 5, keep=3, compress=compress)
    (tmp_path / "precious").write_bytes(b"")
    for minute in range(6):
        series.write(frames(b"%d" % minute), NOON + 60 * minute)
        series.wait(10)
    ending = {None: "", "gzip": ".gz", "zstd": ".zst"}[compress]
    assert names(tmp_path) == [
        *(f"0{minute}/dns.fstrm{ending}" for minute in (2, 3, 4)),
        "05/dns.fstrm.part",
        "precious",
    ]
    end(series)
    closed = [f"0{minute}/dns.fstrm{ending}" for minute in (3, 4, 5)]
    assert names(tmp_path) == [*closed, "precious"]
    assert [read(tmp_path / name) for name in closed] == [[b"3"], [b"4"], [b"5"]]
    assert not (tmp_path / "00").exists(), "a folder goes with its last file"


@pytest.mark.parametrize(
    ("rotation", "count"),
    [
        (Rotation(), 0),
        (Rotation(keep=4), 0),
        (Rotation(keep=1), 3),
        (Rotation(keep_octets=100), 0),
        (Rotation(keep_octets=99), 1),
        (Rotation(keep_octets=70), 2),
        (Rotation(keep_octets=1), 3),
        (Rotation(keep_s=25.0), 2),
        (Rotation(keep_s=1.0), 4),
        (Rotation(keep=3, keep_octets=70, keep_s=100.0), 2),
    ],
)
def test_files_go_by_number_size_and_age_oldest_first(rotation: Rotation, count: int) -> None:
    files = [(NOON - 40 + 10 * number, 10 * (number + 1)) for number in range(4)]
    assert too_many(files, rotation, NOON) == count
    assert too_many([], rotation, NOON) == 0


def test_without_rotation_the_files_of_earlier_starts_count(tmp_path: Path) -> None:
    for number in range(5):
        series = series_of(tmp_path, keep=2)
        series.write(frames(b"%d" % number), NOON)
        assert series.wait(10)
        assert len(names(tmp_path)) == min(number, 2) + 1, "and the one that is being written does not"
        end(series)
    assert names(tmp_path) == ["dns.3.fstrm", "dns.4.fstrm"]


def test_a_file_that_another_process_writes_is_not_removed(tmp_path: Path) -> None:
    other, series = series_of(tmp_path), series_of(tmp_path, keep=1)
    other.write(frames(b"other"), NOON)
    for payload in (b"1", b"2", b"3"):
        series.write(frames(payload), NOON)
        series.ask()
    end(series)
    end(other)
    assert names(tmp_path) == ["dns.3.fstrm", "dns.fstrm"]
    assert read(tmp_path / "dns.fstrm") == [b"other"]


# compression


@pytest.mark.parametrize(("compress", "ending"), [("gzip", ".gz"), ("zstd", ".zst")])
def test_closed_files_are_compressed_and_nothing_else_is_left(tmp_path: Path, compress: str, ending: str) -> None:
    series = series_of(tmp_path, size=2000, compress=compress)
    payloads = [b"%d" % number * 50 for number in range(100)]
    series.write(frames(*payloads), NOON)
    end(series)
    files = [tmp_path / name for name in names(tmp_path)]
    assert len(files) > 3
    assert {file.suffix for file in files} == {ending}
    assert sorted(frame for file in files for frame in read(file)) == sorted(payloads)
    assert all(len(octets(file)) <= 2000 for file in files)
    assert {file.stat().st_mode & 0o777 for file in files} == {0o640}


def test_what_cannot_be_compressed_is_published_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gzip.GzipFile.write", Disk(monkeypatch).refuse)
    series = series_of(tmp_path, size=1 << 20, compress="gzip")
    series.write(frames(b"1"), NOON)
    end(series)
    assert names(tmp_path) == ["dns.fstrm"]
    assert read(tmp_path / "dns.fstrm") == [b"1"]
    assert "dns.fstrm.part is not compressed: No space left on device" in caplog.text


def test_files_that_fill_faster_than_they_are_compressed_make_a_tap_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = threading.Event()

    def compress_later(*arguments: Any) -> None:
        hold.wait(10)
        compress(*arguments)

    monkeypatch.setattr("dnsproxy.dnstap.rotation_archive.compress", compress_later)
    monkeypatch.setattr("dnsproxy.dnstap.rotation_archive.MOST_WAITING", 2)
    monkeypatch.setattr("dnsproxy.dnstap.rotation_archive.PATIENCE_S", 0)
    series = series_of(tmp_path, size=BARE + 5, compress="gzip")
    try:
        with pytest.raises(OSError, match="busy"):
            series.write(frames(*(b"%d" % number for number in range(9))), NOON)
        in_files = series.written // 5
        assert 2 <= in_files <= 5
        assert (series.is_open, len(names(tmp_path))) == (True, in_files), "the last one is full"
    finally:
        hold.set()
    for number in range(in_files, 9):
        assert series.wait(10)
        series.write(frames(b"%d" % number), NOON)
    end(series)
    assert sorted(frame for name in names(tmp_path) for frame in read(tmp_path / name)) == [b"%d" % n for n in range(9)]


# crashes


@pytest.mark.parametrize("rest", [b"", b"\0\0", frames(b"half a frame")[:-3], STOP, bytes(4096)])
def test_what_a_crash_left_is_published_by_the_next_start(tmp_path: Path, rest: bytes) -> None:
    part = tmp_path / "2023" / "dns.fstrm.part"
    part.parent.mkdir()
    part.write_bytes(START + frames(b"1", b"2") + rest)
    series = series_of(tmp_path, "%Y/dns.fstrm", size=1 << 20)
    series.write(frames(b"3"), NOON)
    assert series.wait(10)
    assert names(tmp_path) == ["2023/dns.1.fstrm.part", "2023/dns.fstrm"]
    assert read(tmp_path / "2023/dns.fstrm") == [b"1", b"2"]
    end(series)
    assert read(tmp_path / "2023/dns.1.fstrm") == [b"3"]


def test_a_start_compresses_what_was_left_and_removes_what_was_half_compressed(tmp_path: Path) -> None:
    (tmp_path / "dns.4.fstrm.part").write_bytes(START + frames(b"4") + STOP)
    (tmp_path / "dns.4.fstrm.gz.tmp").write_bytes(b"\x1f\x8bhalf")
    (tmp_path / "dns.5.fstrm.part").write_bytes(START)
    (tmp_path / "dns.6.fstrm.part").write_bytes(b"no stream")
    (tmp_path / "dns.x.fstrm.part").write_bytes(START)
    series = series_of(tmp_path, every_s=HOUR, compress="gzip")
    series.begin(NOON)
    end(series)
    assert names(tmp_path) == ["dns.4.fstrm.gz", "dns.6.fstrm.part", "dns.x.fstrm.part"]
    assert read(tmp_path / "dns.4.fstrm.gz") == [b"4"]


@pytest.mark.parametrize("compress", [None, "gzip"])
def test_what_was_published_in_the_moment_of_the_crash_is_not_published_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compress: str | None
) -> None:
    series = series_of(tmp_path, size=1 << 20, compress=compress)
    series.write(frames(b"1"), NOON)
    with monkeypatch.context() as crashing:
        crashing.setattr(Path, "unlink", lambda _path, missing_ok=False: None)
        end(series)
    assert len(names(tmp_path)) == 2 + bool(compress)
    series = series_of(tmp_path, size=1 << 20, compress=compress)
    series.begin(NOON)
    end(series)
    (name,) = names(tmp_path)
    assert read(tmp_path / name) == [b"1"]


def test_what_somebody_writes_is_no_leftover(tmp_path: Path) -> None:
    one, other = series_of(tmp_path, size=1 << 20), series_of(tmp_path, size=1 << 20)
    one.write(frames(b"1"), NOON)
    other.write(frames(b"2"), NOON)
    assert other.wait(10)
    one.write(frames(b"3"), NOON)
    assert names(tmp_path) == ["dns.1.fstrm.part", "dns.fstrm.part"]
    end(one)
    end(other)
    assert (read(tmp_path / "dns.fstrm"), read(tmp_path / "dns.1.fstrm")) == ([b"1", b"3"], [b"2"])


def test_a_part_that_ends_without_stop_gets_it_from_the_next_start(tmp_path: Path) -> None:
    series = series_of(tmp_path, size=1 << 20)
    series.write(frames(b"1"), NOON)
    assert series.wait(10)
    series.abandon()
    assert not series.is_open
    series = series_of(tmp_path, size=1 << 20)
    series.begin(NOON)
    end(series)
    assert read(tmp_path / "dns.fstrm") == [b"1"]


def test_a_disk_that_cannot_sync_leaves_the_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "fsync", Disk(monkeypatch).refuse)
    series = series_of(tmp_path, size=1 << 20)
    series.write(frames(b"1"), NOON)
    end(series)
    assert names(tmp_path) == ["dns.fstrm.part"]
    assert "dns.fstrm.part stays as it is: No space left on device" in caplog.text
