"""Files that are being written, moved, cut, compressed and removed: each message once, in the order of the writing."""

import gzip
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.tap import watched
from dnsproxy.tap.watched import QUIET_S, Watched
from tests.tap.frames import SECOND, START, STOP, payload, stream

Told = pytest.CaptureFixture[str]
STEPS = ["frame", "half", "rest", "stop", "move", "remove", "cut", "finish", "look"]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Looker:
    """Looks again and again; `seen` are the numbers of the messages."""

    def __init__(self, name: str | Path) -> None:
        self.clock = Clock()
        self.watched = Watched(str(name), clock=self.clock)
        self.seen: list[int] = []

    def look(self, times: int = 1) -> list[int]:
        for _ in range(times):
            for frames in self.watched.batches():
                self.seen += [int(frame.extra or b"-1") for frame in frames]
        return self.seen


def frame(number: int) -> bytes:
    return data_frame(payload(extra=b"%d" % number, query_time=(SECOND + number, 0)))


def frames(*numbers: int) -> bytes:
    return b"".join(map(frame, numbers))


def whole(*numbers: int) -> bytes:
    return START + frames(*numbers) + STOP


def append(path: Path, octets: bytes) -> None:
    with path.open("ab") as file:
        file.write(octets)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# what becomes of one file


class Writer:
    """Does one thing after the other to a file, and knows what somebody who looks in between must have seen."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written: list[int] = []
        self.rest = b""
        self.moved = 0
        path.write_bytes(START)

    def do(self, step: str, looker: Looker) -> None:
        if step == "look":
            looker.look()
        elif step == "rest" or (self.rest and step in {"frame", "half", "stop"}):
            append(self.path, self.rest)
            self.rest = b""
        elif step == "frame":
            append(self.path, frame(self._next()))
        elif step == "half":
            octets = frame(self._next())
            append(self.path, octets[:-7])
            self.rest = octets[-7:]
        elif step == "stop":
            append(self.path, STOP + START)
        else:
            self._begin_anew(step, looker)

    def _begin_anew(self, step: str, looker: Looker) -> None:
        if self.rest:
            append(self.path, self.rest)
            self.rest = b""
        looker.look()  # who has never seen a file cannot know that it was there; nor what was cut
        if step == "move":
            self.moved += 1
            self.path.rename(self.path.with_name(f"moved.{self.moved}"))
            append(self.path.with_name(f"moved.{self.moved}"), frame(self._next()))
        elif step == "remove":
            self.path.unlink()
        elif step == "finish":
            append(self.path, STOP)
        if step == "finish":
            append(self.path, START)
        else:
            self.path.write_bytes(START + frame(self._next()))

    def _next(self) -> int:
        self.written.append(len(self.written))
        return self.written[-1]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(STEPS), max_size=25))
def test_each_message_is_seen_once_and_in_order_whatever_becomes_of_the_file(steps: list[str]) -> None:
    with TemporaryDirectory() as folder:
        looker = Looker(Path(folder) / "dns.fstrm")
        looker.look()
        writer = Writer(Path(folder) / "dns.fstrm")
        for step in steps:
            writer.do(step, looker)
        writer.do("rest", looker)
        assert looker.look(3) == writer.written
        looker.watched.close()
        assert looker.watched.damaged == 0
        assert looker.watched.frames == len(writer.written)


def test_a_deleted_file_is_read_until_nobody_writes_it_any_more(tmp_path: Path) -> None:
    path = tmp_path / "dns.fstrm"
    looker = Looker(path)
    with path.open("wb", buffering=0) as file:
        file.write(START + frames(1))
        looker.look()
        path.unlink()
        looker.look(3)
        file.write(frames(2))
        assert looker.look() == [1, 2]
        looker.clock.now += QUIET_S / 2
        file.write(frames(3))
        assert looker.look() == [1, 2, 3]
        assert len(looker.watched) == 1
        looker.clock.now += QUIET_S + 1
        looker.look()
        assert len(looker.watched) == 0, "its descriptor and its room on the disk are given back"


def test_a_file_is_begun_anew_though_its_size_and_time_stay_the_same(tmp_path: Path) -> None:
    path = tmp_path / "dns.fstrm"
    path.write_bytes(whole(1) + START)
    looker, written_ns = Looker(path), path.stat().st_mtime_ns
    looker.look()
    path.write_bytes(whole(2) + START)
    os.utime(path, ns=(written_ns, written_ns))  # a file system's clock has some ticks in a second
    assert looker.look() == [1, 2]


def test_what_is_no_stream_is_told_once_until_it_is_another_file(tmp_path: Path, capsys: Told) -> None:
    path = tmp_path / "dns.fstrm"
    path.write_bytes(b"nonsense")
    looker = Looker(path)
    looker.look(3)
    append(path, b"more")
    looker.look(3)
    path.write_bytes(START + frames(1))
    assert looker.look() == [1]
    assert capsys.readouterr().err.splitlines() == [
        f"{path}: offset 0: start: no START at the beginning",
        f"{path}: 0 frames, 1 damaged (start 1)",
    ]


def test_a_file_that_may_not_be_read_is_told_once(
    tmp_path: Path, capsys: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.fstrm").write_bytes(whole(1))
    (tmp_path / "b.fstrm").write_bytes(whole(2))
    really_open = os.open

    def refuse(path: Path, *arguments: int) -> int:
        if Path(path).name == "a.fstrm":
            raise PermissionError(13, "Permission denied", str(path))
        return really_open(path, *arguments)

    monkeypatch.setattr(os, "open", refuse)
    assert Looker(tmp_path / "*.fstrm").look(3) == [2]
    assert capsys.readouterr().err == f"{tmp_path}/a.fstrm: Permission denied\n"


# which files are meant


@pytest.mark.parametrize(("name", "expected"), [("dns*.fstrm*", [1, 2, 3, 4, 5, 6]), ("dns.fstrm", [6])])
def test_files_are_read_in_the_order_of_their_beginning(tmp_path: Path, name: str, expected: list[int]) -> None:
    (tmp_path / "dns.fstrm.gz").write_bytes(gzip.compress(whole(1, 2)))
    (tmp_path / "dns.2.fstrm").write_bytes(whole(5))
    (tmp_path / "dns.1.fstrm").write_bytes(whole(3, 4))
    (tmp_path / "dns.3.fstrm.part").write_bytes(START + frames(6))
    (tmp_path / "dns.4.fstrm.gz.tmp").write_bytes(b"half")
    (tmp_path / "dns.5.fstrm.part").write_bytes(START)
    (tmp_path / "other.fstrm").write_bytes(whole(100))
    looker = Looker(tmp_path / name)
    assert looker.look() == expected
    append(tmp_path / "dns.5.fstrm.part", frames(7))
    (tmp_path / "dns.6.fstrm").write_bytes(whole(8))
    assert looker.look() == [*expected, 7, 8], "a plain name's numbered files are those that come later"


def test_a_compressed_form_of_what_was_read_is_not_read_again(tmp_path: Path) -> None:
    part = tmp_path / "dns-1.fstrm.part"
    part.write_bytes(START + frames(1))
    looker = Looker(tmp_path / "dns-%u.fstrm")
    looker.look()
    append(part, frames(2) + STOP)
    (tmp_path / "dns-1.fstrm.gz").write_bytes(gzip.compress(whole(1, 2)))
    looker.look()
    part.unlink()
    assert looker.look(4) == [1, 2]
    (tmp_path / "dns-2.fstrm.gz").write_bytes(gzip.compress(whole(3)))
    assert looker.look(2) == [1, 2, 3], "one that was never seen otherwise is"


def test_a_number_of_the_system_that_is_used_again_is_another_file(tmp_path: Path) -> None:
    looker = Looker(tmp_path / "dns-%S.fstrm")
    for number in range(10, 40):
        path = tmp_path / f"dns-{number}.fstrm.part"
        path.write_bytes(whole(number))
        looker.look()
        (tmp_path / f"dns-{number}.fstrm.gz").write_bytes(gzip.compress(whole(number)))
        path.unlink()
        looker.look(number % 3)
        (tmp_path / f"dns-{number}.fstrm.gz").unlink()
    assert looker.look(3) == list(range(10, 40))


@pytest.mark.parametrize("open_max", [2, 64])
def test_many_files_take_few_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_max: int) -> None:
    monkeypatch.setattr(watched, "OPEN_MAX", open_max)
    for number in range(10, 30):
        (tmp_path / f"dns-{number}.fstrm").write_bytes(START + frames(number))
    looker = Looker(tmp_path / "dns-%S.fstrm")
    before = descriptors()
    assert looker.look() == list(range(10, 30))
    assert descriptors() - before == min(open_max, 20)
    append(tmp_path / "dns-10.fstrm", frames(100))
    append(tmp_path / "dns-29.fstrm", frames(101))
    assert looker.look(2) == [*range(10, 30), 100, 101]
    (tmp_path / "dns-11.fstrm").unlink()
    looker.look(3)
    looker.clock.now += QUIET_S + 1
    looker.look()
    assert len(looker.watched) == 19
    looker.watched.close()
    assert descriptors() == before


# where it begins


@pytest.mark.parametrize("count", [0, 1, 3, 7, 100])
def test_the_last_messages_of_several_files(tmp_path: Path, count: int) -> None:
    (tmp_path / "dns-10.fstrm").write_bytes(whole(0, 1, 2, 3))
    (tmp_path / "dns-11.fstrm.gz").write_bytes(gzip.compress(whole(4, 5)))
    (tmp_path / "dns-12.fstrm.part").write_bytes(START + frames(6, 7) + frames(8)[:-1])
    looker = Looker(tmp_path / "dns-%S.fstrm")
    last = looker.watched.begin_with_last(count)
    assert [int(frame.extra or b"") for frame in last] == list(range(8))[8 - min(count, 8) :]
    assert looker.look(2) == []
    append(tmp_path / "dns-12.fstrm.part", frames(8)[-1:])
    append(tmp_path / "dns-10.fstrm", START + frames(9))
    assert looker.look(2) == [9, 8]


def test_the_last_messages_of_those_that_are_taken(tmp_path: Path) -> None:
    (tmp_path / "dns.fstrm").write_bytes(whole(*range(100)))
    last = Looker(tmp_path / "dns.fstrm").watched.begin_with_last(3, lambda frame: (frame.extra or b"").endswith(b"5"))
    assert [frame.extra for frame in last] == [b"75", b"85", b"95"]


def test_files_that_were_written_last_before_a_time_are_passed_over(tmp_path: Path) -> None:
    for number in (10, 20):
        path = tmp_path / f"dns-{number}.fstrm"
        path.write_bytes(START + frames(number, number + 1))
        os.utime(path, (SECOND + number, SECOND + number))
    looker = Looker(tmp_path / "dns-%S.fstrm")
    looker.watched.begin_since((SECOND + 15) * 10**9)
    assert looker.look() == [20, 21]
    append(tmp_path / "dns-10.fstrm", frames(30))
    assert looker.look() == [20, 21, 30]


def test_a_stream_of_one_file_keeps_its_order_even_if_its_times_do_not(tmp_path: Path) -> None:
    (tmp_path / "dns.fstrm").write_bytes(stream(*(payload(extra=b"%d" % n, query_time=(n, 0)) for n in (5, 3, 9, 1))))
    last = Looker(tmp_path / "dns.fstrm").watched.begin_with_last(4)
    assert [frame.extra for frame in last] == [b"5", b"3", b"9", b"1"]
