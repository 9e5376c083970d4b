"""How old the newest frame is, and whether a certain one has come."""

import gzip
import os
from pathlib import Path

import pytest

from dnsproxy.tap.freshness import Search, files_of, newest_ns
from tests.tap.frames import SECOND, payload, stream, write_stream


def at(second: int) -> bytes:
    return payload("CLIENT_QUERY", query_time=(second, 0))


def file(path: Path, *seconds: int, age_s: int = 0) -> Path:
    write_stream(path, map(at, seconds))
    os.utime(path, (SECOND - age_s, SECOND - age_s))
    return path


def test_the_newest_is_the_last_in_the_file_written_last(tmp_path: Path) -> None:
    file(tmp_path / "dns.1.fstrm", 20, 30)
    file(tmp_path / "dns.fstrm", 10, age_s=5)
    assert newest_ns(str(tmp_path / "dns.fstrm")) == 30 * 10**9


def test_a_little_disorder_does_not_hide_the_newest(tmp_path: Path) -> None:
    path = file(tmp_path / "dns.fstrm", *range(1000), 2000, 1500, 1600)
    assert newest_ns(str(path)) == 2000 * 10**9


def test_incomplete_files_count_and_compressed_ones(tmp_path: Path) -> None:
    name = str(tmp_path / "dns.fstrm")
    file(tmp_path / "dns.fstrm.part", 50, age_s=1)
    assert newest_ns(name) == 50 * 10**9
    (tmp_path / "dns.fstrm.gz").write_bytes(gzip.compress(stream(at(60))))
    os.utime(tmp_path / "dns.fstrm.gz", (SECOND, SECOND))
    assert newest_ns(name) == 60 * 10**9


def test_a_file_that_has_just_been_begun_leaves_it_to_the_one_before(tmp_path: Path) -> None:
    file(tmp_path / "dns.fstrm", 10, age_s=60)
    file(tmp_path / "dns.1.fstrm")
    assert newest_ns(str(tmp_path / "dns.fstrm")) == 10 * 10**9


@pytest.mark.parametrize("name", ["dns-%Y%m%d.fstrm", "dns-*.fstrm", "dns-2023111?.fstrm"])
def test_templates_and_globs_stand_for_all_that_match(tmp_path: Path, name: str) -> None:
    file(tmp_path / "dns-20231114.fstrm", 10)
    file(tmp_path / "dns-20231115.fstrm.part", 20)
    file(tmp_path / "other.fstrm", 90)
    assert newest_ns(str(tmp_path / name)) == 20 * 10**9


def test_a_name_with_a_percent_sign_is_a_name_too(tmp_path: Path) -> None:
    path = file(tmp_path / "100%.fstrm", 10)
    assert files_of(str(path)) == [path]


def test_of_no_file_and_of_other_files_there_is_none(tmp_path: Path) -> None:
    assert newest_ns(str(tmp_path / "dns.fstrm")) is None
    (tmp_path / "dns.fstrm").write_bytes(b"something else altogether, longer than any control frame would be" * 20)
    assert newest_ns(str(tmp_path / "dns.fstrm")) is None
    (tmp_path / "dns.fstrm").write_bytes(gzip.compress(stream(at(60)))[:-9])
    assert newest_ns(str(tmp_path / "dns.fstrm")) in {None, 60 * 10**9}


def test_damaged_frames_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "dns.fstrm"
    path.write_bytes(stream(at(10), b"\xff" * 20, payload("CLIENT_QUERY", query_time=None)))
    assert newest_ns(str(path)) == 10 * 10**9


def test_a_search_finds_what_is_added_and_not_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "dns.fstrm"
    path.write_bytes(b"needle")
    search = Search(str(path), b"needle")
    assert not search.is_found()
    with path.open("ab") as file:
        file.write(b" and hay and need")
        file.flush()
        assert not search.is_found()
        file.write(b"le")
    assert search.is_found()


def test_a_search_looks_into_new_files_and_renamed_and_cut_ones(tmp_path: Path) -> None:
    path = tmp_path / "dns.fstrm"
    path.write_bytes(b"x" * 100)
    search = Search(str(path), b"needle")
    (tmp_path / "dns.1.fstrm.part").write_bytes(b"a needle")
    assert search.is_found()
    (tmp_path / "dns.1.fstrm.part").unlink()
    assert not search.is_found()
    path.write_bytes(b"needle")
    assert search.is_found()
