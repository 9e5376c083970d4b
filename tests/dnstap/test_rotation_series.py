"""One file after the other, by size, by the clock and when asked: each with its name, nothing lost between them."""

from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.stream_file import START
from tests.conftest import SetZone
from tests.dnstap.disk import Disk
from tests.dnstap.tap_files import BARE, HOUR, NOON, end, frames, names, read, read_part, series_of


@pytest.fixture(autouse=True)
def _utc(set_zone: SetZone) -> None:
    set_zone("UTC")


# names

PUBLISHED_S = 20.0  # by a thread of low priority: at most, on a busy machine


def test_without_rotation_a_file_has_its_name_from_the_beginning(tmp_path: Path) -> None:
    series = series_of(tmp_path, "dns-%H%M.fstrm")
    series.write(frames(b"x"), NOON)
    series.write(frames(b"y"), NOON + 25 * HOUR)
    assert names(tmp_path) == ["dns-1200.fstrm"]
    end(series)
    assert read(tmp_path / "dns-1200.fstrm") == [b"x", b"y"]


def test_a_file_that_rotates_is_called_part_until_it_is_complete(tmp_path: Path) -> None:
    series = series_of(tmp_path, "%Y-%m-%d/dns-%H.fstrm", every_s=HOUR)
    series.write(frames(b"x"), NOON)
    assert names(tmp_path) == ["2023-11-15/dns-12.fstrm.part"]
    assert read_part(tmp_path / "2023-11-15/dns-12.fstrm.part") == [b"x"]
    end(series)
    assert names(tmp_path) == ["2023-11-15/dns-12.fstrm"]
    assert read(tmp_path / "2023-11-15/dns-12.fstrm") == [b"x"]


def test_what_is_complete_is_never_overwritten(tmp_path: Path) -> None:
    for payload in (b"1", b"2", b"3"):
        series = series_of(tmp_path, every_s=HOUR)
        series.write(frames(payload), NOON)
        if payload == b"3":
            (tmp_path / "dns.2.fstrm").write_bytes(b"made meanwhile")
        end(series)
    assert names(tmp_path) == ["dns.1.fstrm", "dns.2.fstrm", "dns.3.fstrm", "dns.fstrm"]
    assert (tmp_path / "dns.2.fstrm").read_bytes() == b"made meanwhile"
    assert [read(tmp_path / name) for name in ("dns.fstrm", "dns.1.fstrm", "dns.3.fstrm")] == [[b"1"], [b"2"], [b"3"]]


# size


@given(st.integers(BARE + 44, 2000), st.lists(st.lists(st.integers(2, 40), min_size=1, max_size=30), max_size=5))
def test_no_file_exceeds_its_size_and_every_frame_is_in_one(size: int, batches: list[list[int]]) -> None:
    with TemporaryDirectory() as name, patch("os.fsync"):  # which takes its time
        folder, series, offered = Path(name), series_of(Path(name), size=size), list[bytes]()
        for batch in batches:
            payloads = [len(offered).to_bytes(2, "big") + bytes(octets - 2) for octets in batch]
            offered += payloads
            series.write(frames(*payloads), NOON)
        end(series)
        files = sorted(folder.iterdir(), key=lambda path: int(path.name.split(".")[1].replace("fstrm", "0")))
        assert all(path.stat().st_size <= size for path in files)
        assert [frame for path in files for frame in read(path)] == offered
        assert series.written == len(frames(*offered))


def test_a_file_is_filled_to_the_last_octet(tmp_path: Path) -> None:
    series = series_of(tmp_path, size=BARE + 3 * len(frames(b"1")))
    series.write(frames(b"1", b"2", b"3", b"4"), NOON)
    end(series)
    assert [read(tmp_path / name) for name in ("dns.fstrm", "dns.1.fstrm")] == [[b"1", b"2", b"3"], [b"4"]]


def test_a_frame_that_fits_in_no_file_has_one_for_itself(tmp_path: Path) -> None:
    series = series_of(tmp_path, size=BARE + 20)
    series.write(frames(b"1", bytes(100), b"2"), NOON)
    end(series)
    assert [len(read(tmp_path / name)) for name in names(tmp_path)] == [1, 1, 1]


# time


def test_a_file_ends_on_the_hour_though_nothing_arrives(tmp_path: Path) -> None:
    series = series_of(tmp_path, "dns-%H%M.fstrm", every_s=HOUR)
    series.write(frames(b"x"), NOON + 600)
    assert series.turn == NOON + HOUR
    assert series.pause_s(NOON + HOUR - 5) == 5
    assert not series.is_due(NOON + HOUR - 1)
    assert series.is_due(NOON + HOUR)
    series.write(b"", NOON + HOUR)
    assert series.wait(PUBLISHED_S)
    assert names(tmp_path) == ["dns-1210.fstrm", "dns-1300.fstrm.part"]
    end(series)
    assert names(tmp_path) == ["dns-1210.fstrm"], "without frames there is nothing to publish"


def test_what_comes_first_ends_a_file(tmp_path: Path) -> None:
    series = series_of(tmp_path, "dns-%H.fstrm", size=BARE + 10, every_s=HOUR)
    series.write(frames(b"1", b"2", b"3"), NOON)
    series.write(frames(b"4"), NOON + HOUR)
    end(series)
    assert names(tmp_path) == ["dns-12.1.fstrm", "dns-12.fstrm", "dns-13.fstrm"]


def test_a_file_without_frames_is_never_published(tmp_path: Path) -> None:
    series = series_of(tmp_path, "dns-%H.fstrm", every_s=HOUR)
    for hour in range(3):
        series.write(b"", NOON + hour * HOUR)
        assert names(tmp_path) == [f"dns-{12 + hour}.fstrm.part"]
    end(series)
    assert names(tmp_path) == []


# asked to begin anew


def test_asked_for_another_file_the_next_number_begins(tmp_path: Path) -> None:
    series = series_of(tmp_path)
    series.write(frames(b"1"), NOON)
    series.ask()
    assert series.is_due(NOON)
    series.write(b"", NOON)
    assert not series.is_due(NOON)
    assert read(tmp_path / "dns.fstrm") == [b"1"]
    series.write(frames(b"2"), NOON)
    end(series)
    assert read(tmp_path / "dns.1.fstrm") == [b"2"]


@pytest.mark.parametrize("before", [[], ["dns.fstrm", "dns.1.fstrm"]])
def test_where_the_file_was_moved_away_its_name_is_made_anew(tmp_path: Path, before: list[str]) -> None:
    for name in before:
        (tmp_path / name).write_bytes(b"old")
    series = series_of(tmp_path)
    series.write(frames(b"1"), NOON)
    (own,) = set(names(tmp_path)) - set(before)
    (tmp_path / own).rename(tmp_path / "moved.1")
    series.write(frames(b"2"), NOON)
    (tmp_path / "dns.7.fstrm").write_bytes(b"somebody else's")
    series.ask()
    series.write(frames(b"3"), NOON)
    end(series)
    assert read(tmp_path / "moved.1") == [b"1", b"2"]
    assert read(tmp_path / own) == [b"3"]


def test_a_file_that_was_moved_away_is_its_movers_own_to_compress(tmp_path: Path) -> None:
    series = series_of(tmp_path, compress="gzip")
    series.write(frames(b"1"), NOON)
    (tmp_path / "dns.fstrm").rename(tmp_path / "moved.1")
    series.ask()
    series.write(frames(b"2"), NOON)
    end(series)
    assert names(tmp_path) == ["dns.fstrm.gz", "moved.1"]
    assert (read(tmp_path / "moved.1"), read(tmp_path / "dns.fstrm.gz")) == ([b"1"], [b"2"])


def test_a_file_that_rotates_is_published_when_another_is_asked_for(tmp_path: Path) -> None:
    series = series_of(tmp_path, size=1 << 20)
    series.write(frames(b"1"), NOON)
    series.ask()
    series.write(b"", NOON)
    assert series.wait(PUBLISHED_S)
    assert names(tmp_path) == ["dns.1.fstrm.part", "dns.fstrm"]
    end(series)
    assert names(tmp_path) == ["dns.fstrm"]


@pytest.mark.parametrize(("rotation", "name"), [({}, "dns.fstrm"), ({"every_s": HOUR}, "dns.fstrm.part")])
def test_a_file_that_was_deleted_is_begun_anew_by_the_next_write(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rotation: dict[str, Any], name: str
) -> None:
    series = series_of(tmp_path, **rotation)
    series.write(frames(b"1"), NOON)
    (tmp_path / name).unlink()
    series.write(frames(b"2"), NOON)
    series.write(frames(b"3"), NOON)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        f"tap tap: {tmp_path / name} was deleted, with what it held; another file begins"
    ]
    end(series)
    assert names(tmp_path) == ["dns.fstrm"]
    assert read(tmp_path / "dns.fstrm") == [b"2", b"3"]


def test_nothing_is_asked_of_a_tap_that_has_no_file_yet(tmp_path: Path) -> None:
    series = series_of(tmp_path)
    series.ask()
    series.write(frames(b"1"), NOON)
    assert not series.is_due(NOON)
    assert names(tmp_path) == ["dns.fstrm"]
    end(series)


def test_only_the_first_file_of_a_start_may_be_empty(tmp_path: Path) -> None:
    series = series_of(tmp_path)
    series.begin(NOON)
    series.ask()
    series.write(b"", NOON)
    end(series)
    assert names(tmp_path) == ["dns.fstrm"]
    assert read(tmp_path / "dns.fstrm") == []


# disks


def test_a_full_disk_ends_a_write_with_whole_frames_and_the_next_one_goes_on(tmp_path: Path, disk: Disk) -> None:
    series = series_of(tmp_path, size=1 << 20)
    series.begin(NOON)
    disk.room = len(START + frames(b"1", b"2")) + 2
    with pytest.raises(OSError, match="No space left"):
        series.write(frames(b"1", b"2", b"3", b"4"), NOON)
    assert series.written == len(frames(b"1", b"2"))
    assert read_part(tmp_path / "dns.fstrm.part") == [b"1", b"2"]
    with pytest.raises(OSError, match="No space left"):
        series.end()
    assert series.is_open
    disk.room = inf
    series.write(frames(b"3", b"4"), NOON)
    end(series)
    assert read(tmp_path / "dns.fstrm") == [b"1", b"2", b"3", b"4"]


def test_room_that_is_made_by_deleting_the_file_of_a_full_disk_is_used(tmp_path: Path, disk: Disk) -> None:
    series = series_of(tmp_path)
    series.write(frames(b"1"), NOON)
    disk.room = len(START + frames(b"1"))
    with pytest.raises(OSError, match="No space left"):
        series.write(frames(b"2"), NOON)
    (tmp_path / "dns.fstrm").unlink()
    series.write(frames(b"2"), NOON)
    assert read_part(tmp_path / "dns.fstrm") == [b"2"]
    disk.room = inf
    end(series)


def test_a_file_that_cannot_be_begun_is_begun_by_the_next_write(tmp_path: Path, disk: Disk) -> None:
    series = series_of(tmp_path, "dns-%H.fstrm", every_s=HOUR)
    series.write(frames(b"1"), NOON)
    disk.refuses_start = True
    with pytest.raises(OSError, match="No space left"):
        series.write(frames(b"2"), NOON + HOUR)
    assert (series.is_open, series.written) == (False, len(frames(b"1")))
    assert series.wait(PUBLISHED_S)
    assert names(tmp_path) == ["dns-12.fstrm"]
    disk.refuses_start = False
    series.write(frames(b"2"), NOON + HOUR)
    end(series)
    assert [read(tmp_path / name) for name in ("dns-12.fstrm", "dns-13.fstrm")] == [[b"1"], [b"2"]]
