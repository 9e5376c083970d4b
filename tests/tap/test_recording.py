"""The files of a recorder: gone on in after a crash, never two at once in one, complete before anybody sees them."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from dnsproxy.dnstap.rotation import Rotation
from dnsproxy.tap.errors import Failure
from dnsproxy.tap.hooks import Hooks
from dnsproxy.tap.recording import Recording
from tests.conftest import SetZone
from tests.dnstap.tap_files import BARE, HOUR, NOON, frames, names, octets, read, read_part
from tests.tap.frames import START, STOP
from tests.tap.running import WITHIN_S

Told = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def _utc(set_zone: SetZone) -> None:
    set_zone("UTC")


def recording(folder: Path, name: str = "dns.fstrm", hook: Hooks | None = None, **rotation: Any) -> Recording:
    return Recording(f"{folder}/{name}", Rotation(always_part=True, **rotation), hook)


def end(files: Recording) -> None:
    files.end()
    assert files.wait(WITHIN_S)


def left(path: Path, content: bytes, changed: float = NOON) -> Path:
    """What a recorder left that was killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (changed, changed))
    return path


def test_a_file_is_called_part_until_it_is_complete(tmp_path: Path) -> None:
    files = recording(tmp_path)
    files.open(NOON)
    assert names(tmp_path) == ["dns.fstrm.part"]
    files.write(frames(b"x"), NOON)
    assert read_part(tmp_path / "dns.fstrm.part") == [b"x"]
    end(files)
    assert names(tmp_path) == ["dns.fstrm"]
    assert read(tmp_path / "dns.fstrm") == [b"x"]


def test_a_file_without_frames_is_never_published(tmp_path: Path) -> None:
    files = recording(tmp_path, every_s=HOUR)
    files.open(NOON)
    files.write(b"", NOON + HOUR)
    files.write(b"", NOON + 2 * HOUR)
    end(files)
    assert names(tmp_path) == []


@pytest.mark.parametrize("utc", [False, True])
def test_names_and_turns_are_local_unless_told_otherwise(tmp_path: Path, set_zone: SetZone, utc: bool) -> None:
    set_zone("IST-5:30")
    files = recording(tmp_path, "%H%M.fstrm", every_s=HOUR, utc=utc)
    files.open(NOON)
    files.write(frames(b"x"), NOON)
    assert files.turn == NOON + (HOUR if utc else HOUR / 2)
    end(files)
    assert names(tmp_path) == ["1200.fstrm" if utc else "1730.fstrm"]


# after a crash


@pytest.mark.parametrize("rest", [b"", frames(b"cut")[:-1], STOP, STOP[:5]])
def test_what_was_left_is_gone_on_in_behind_its_last_whole_frame(tmp_path: Path, rest: bytes) -> None:
    left(tmp_path / "dns.fstrm.part", START + frames(b"before") + rest)
    files = recording(tmp_path)
    files.open(NOON + 24 * HOUR)
    files.write(frames(b"behind"), NOON + 24 * HOUR)
    end(files)
    assert names(tmp_path) == ["dns.fstrm"]
    assert read(tmp_path / "dns.fstrm") == [b"before", b"behind"]


def test_what_was_left_is_completed_if_its_time_has_passed(tmp_path: Path) -> None:
    left(tmp_path / "dns-12.fstrm.part", START + frames(b"before"), NOON + 30)
    files = recording(tmp_path, "dns-%H.fstrm", every_s=HOUR)
    files.open(NOON + HOUR)
    files.write(frames(b"behind"), NOON + HOUR)
    end(files)
    assert names(tmp_path) == ["dns-12.fstrm", "dns-13.fstrm"]
    assert [read(tmp_path / name) for name in names(tmp_path)] == [[b"before"], [b"behind"]]
    assert (tmp_path / "dns-12.fstrm").stat().st_mtime == NOON + 30


def test_what_is_gone_on_in_ends_when_it_would_have_ended(tmp_path: Path) -> None:
    left(tmp_path / "dns-12.fstrm.part", START + frames(b"before"), NOON + 30)
    files = recording(tmp_path, "dns-%H.fstrm", every_s=HOUR)
    files.open(NOON + 60)
    assert files.turn == NOON + HOUR
    files.write(frames(b"behind"), NOON + 60)
    end(files)
    assert read(tmp_path / "dns-12.fstrm") == [b"before", b"behind"]


def test_of_several_that_were_left_the_latest_is_gone_on_in(tmp_path: Path) -> None:
    for number, payload in enumerate((b"0", b"1", b"2")):
        left(tmp_path / f"dns.{number}.fstrm.part", START + frames(payload), NOON + number)
    files = recording(tmp_path)
    files.open(NOON + 60)
    files.write(frames(b"more"), NOON + 60)
    end(files)
    assert names(tmp_path) == ["dns.0.fstrm", "dns.1.fstrm", "dns.2.fstrm"]
    assert [read(tmp_path / name) for name in names(tmp_path)] == [[b"0"], [b"1"], [b"2", b"more"]]


def test_what_is_no_stream_stays_and_what_is_empty_goes(tmp_path: Path, capsys: Told) -> None:
    left(tmp_path / "dns.fstrm.part", b"precious")
    left(tmp_path / "dns.1.fstrm.part", START)
    left(tmp_path / "dns.2.fstrm.part", START[:7])
    left(tmp_path / "dns.3.fstrm.gz.tmp", b"half")
    files = recording(tmp_path)
    files.open(NOON)
    files.write(frames(b"x"), NOON)
    end(files)
    assert names(tmp_path) == ["dns.1.fstrm", "dns.fstrm.part"]
    assert (tmp_path / "dns.fstrm.part").read_bytes() == b"precious"
    assert capsys.readouterr().err == f"{tmp_path}/dns.fstrm.part is no Frame Streams file, and stays as it is\n"


def test_what_was_published_before_the_crash_is_not_there_twice(tmp_path: Path) -> None:
    part = left(tmp_path / "dns.fstrm.part", START + frames(b"x") + STOP)
    os.link(part, tmp_path / "dns.fstrm")
    files = recording(tmp_path)
    files.open(NOON)
    end(files)
    assert names(tmp_path) == ["dns.fstrm"]


def test_leftovers_of_other_folders_of_the_template_are_found(tmp_path: Path) -> None:
    left(tmp_path / "2023-11-14" / "dns.fstrm.part", START + frames(b"x"), NOON - 24 * HOUR)
    files = recording(tmp_path, "%F/dns.fstrm", every_s=24 * HOUR, compress="gzip")
    files.open(NOON)
    end(files)
    assert names(tmp_path) == ["2023-11-14/dns.fstrm.gz"]
    assert octets(tmp_path / "2023-11-14" / "dns.fstrm.gz") == START + frames(b"x") + STOP


def test_a_second_recorder_on_the_same_files_fails_and_changes_nothing(tmp_path: Path) -> None:
    first, second = recording(tmp_path, "dns-%S.fstrm"), recording(tmp_path, "dns-%S.fstrm")
    first.open(NOON)
    with pytest.raises(Failure, match=r"another process is recording .*/dns-00\.fstrm\.part"):
        second.open(NOON + 5)
    first.write(frames(b"x"), NOON)
    end(first)
    assert names(tmp_path) == ["dns-00.fstrm"]
    second.open(NOON + 5)
    end(second)


# the archive


def test_recording_waits_for_a_slow_archive_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnsproxy.dnstap.rotation_archive.PATIENCE_S", 0.0)
    monkeypatch.setattr("dnsproxy.dnstap.rotation_archive.MOST_WAITING", 2)
    files = recording(tmp_path, size=BARE + 5, compress="gzip")
    files.open(NOON)
    files.write(frames(*(b"%d" % number for number in range(8))), NOON)
    end(files)
    assert [octets(tmp_path / f"dns.{number}.fstrm.gz") for number in range(1, 8)] == [
        START + frames(b"%d" % number) + STOP for number in range(1, 8)
    ]


def test_files_that_become_too_old_are_removed(tmp_path: Path) -> None:
    old = left(tmp_path / "dns.7.fstrm", b"old", time.time() - 20)
    young = left(tmp_path / "dns.8.fstrm", b"young", time.time() - 5)
    files = recording(tmp_path, keep_s=10.0)
    files.open(NOON)
    end(files)
    assert (old.exists(), young.exists()) == (False, True)
    os.utime(young, (NOON, NOON))
    files.tidy()
    assert files.wait(WITHIN_S)
    assert not young.exists()
