"""`follow` is to recordings what `tail -F` is to logs: each message once and in order, whatever becomes of the file."""

from __future__ import annotations

import gzip
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from dnsproxy.dnstap.framestreams import data_frame
from tests.tap.frames import SECOND, START, STOP, payload, stream, tap
from tests.tap.running import Running, send, wait_until

SOON_S = 0.3
FORM = ["--format", "{.extra}"]


def frame(number: int) -> bytes:
    """One that is told apart, and has a time of its own."""
    return payload(extra=b"%d" % number, query_time=(SECOND + number, 0))


def frames(*numbers: int) -> bytes:
    return b"".join(data_frame(frame(number)) for number in numbers)


def whole(*numbers: int) -> bytes:
    return stream(*map(frame, numbers))


class Following(Running):
    def reads(self, path: Path) -> bool:
        """Whether it has opened the file."""
        for each in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed since
                if os.readlink(each) == str(path):  # noqa: PTH115  Path.readlink makes a Path of "pipe:[1]" for nothing
                    return True
        return False

    def has_read(self, count: int) -> bool:
        """Whether it had when it was asked before."""
        self.send(signal.SIGUSR1)
        return f" {count} frames, " in self.errors

    def shows(self, *numbers: int) -> bool:
        """Whether these were printed, and no others."""
        self.wait_until(lambda: len(self.lines) >= len(numbers), f"{numbers}")
        return self.lines == list(map(str, numbers))


@contextmanager
def following(*arguments: str | Path, **more: Any) -> Iterator[Following]:
    with Following("follow", *arguments, *FORM, is_ready=False, **more) as command:
        yield command


def append(path: Path, octets: bytes) -> None:
    with path.open("ab") as file:
        file.write(octets)


def test_a_file_is_waited_for_and_its_growth_is_seen_soon(tmp_path: Path) -> None:
    path = tmp_path / "dns.fstrm"
    with following(path) as command:
        time.sleep(0.1)
        path.write_bytes(START[:10])
        append(path, START[10:] + frames(1))
        assert command.shows(1)
        took_s = []
        for number in range(2, 7):
            began = time.monotonic()
            append(path, frames(number))
            assert command.shows(*range(1, number + 1))
            took_s.append(time.monotonic() - began)
        assert min(took_s) < SOON_S
        assert command.end(signal.SIGINT) == 0
        assert command.errors == ""


def test_each_message_once_whatever_becomes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "dns.fstrm"
    path.write_bytes(START + frames(1))
    with following(path) as command:
        assert command.shows(1)

        append(path, frames(2)[:-5])  # a partial frame, and its rest
        time.sleep(0.15)
        append(path, frames(2)[-5:])
        assert command.shows(1, 2)

        append(path, STOP)  # STOP and more
        time.sleep(0.15)
        append(path, START + frames(3))
        assert command.shows(1, 2, 3)

        path.rename(tmp_path / "dns.fstrm.1")  # moved: the old one to its end
        append(tmp_path / "dns.fstrm.1", frames(4))
        assert command.shows(1, 2, 3, 4)
        append(tmp_path / "dns.fstrm.1", frames(5) + STOP)
        path.write_bytes(START + frames(6))
        assert command.shows(*range(1, 7))

        path.write_bytes(START + frames(7) + STOP)  # truncated in place, as long as before or longer
        assert command.shows(*range(1, 8))
        path.write_bytes(START + frames(8))
        assert command.shows(*range(1, 9))

        path.unlink()  # deleted, and made again
        time.sleep(0.15)
        path.write_bytes(START + frames(9))
        assert command.shows(*range(1, 10))
        assert command.end() == 0
        assert command.errors == ""


def test_what_a_writer_cut_after_a_crash_is_not_shown_twice(tmp_path: Path) -> None:
    path = tmp_path / "dns.fstrm.part"
    path.write_bytes(START + frames(1, 2) + frames(3)[:20])
    with following(tmp_path / "dns.fstrm") as command:
        assert command.shows(1, 2)
        os.truncate(path, len(START + frames(1, 2)))
        append(path, frames(4))
        assert command.shows(1, 2, 4)
        append(path, STOP)
        time.sleep(0.15)
        os.truncate(path, len(START + frames(1, 2, 4)))
        append(path, frames(5))
        assert command.shows(1, 2, 4, 5)
        assert command.errors == ""


def test_damage_is_told_and_what_can_be_read_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "dns.fstrm"
    path.write_bytes(START + frames(1) + data_frame(b"nonsense") + frames(2))
    with following(path) as command:
        assert command.shows(1, 2)
        append(path, frames(3)[:9])
        path.rename(tmp_path / "old")
        path.write_bytes(b"no Frame Streams file at all")
        command.wait_for_error("start 1")
        path.write_bytes(START + frames(4))
        assert command.shows(1, 2, 4)
        command.wait_for_error("undecodable 1)")
        first, *others = command.errors.splitlines()
        assert first.startswith(f"{path}: offset {len(START + frames(1))}: undecodable: ")
        begun = len(START + frames(1) + data_frame(b"nonsense") + frames(2))
        assert sorted(others) == [
            f"{path}: 0 frames, 1 damaged (start 1)",
            f"{path}: 2 frames, 2 damaged (truncated 1, undecodable 1)",
            f"{path}: offset 0: start: no START at the beginning",
            f"{path}: offset {begun + 9}: truncated: the end is inside the frame at offset {begun}",
        ]


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ([], 11),
        (["--last", "3"], 18),
        (["--last", "0"], 21),
        (["--from-start"], 1),
        (["--since", f"2023-11-14T22:13:{20 + 15}Z"], 15),
        (["--types", "CR", "--last", "2"], 21),
    ],
)
def test_where_it_begins(tmp_path: Path, options: list[str], first: int) -> None:
    path = tmp_path / "dns.fstrm"
    path.write_bytes(START + frames(*range(1, 21)))
    with following(path, *options) as command:
        command.wait_until(lambda: command.reads(path) and command.has_read(20), "a look at the file")
        assert command.shows(*range(first, 21))
        append(path, frames(21) + data_frame(payload("CLIENT_RESPONSE", extra=b"22", response_time=(SECOND + 22, 0))))
        assert command.shows(*(range(first, 23) if "--types" not in options else [22]))


def test_the_last_of_several_files_are_the_last_in_time(tmp_path: Path) -> None:
    (tmp_path / "a.fstrm").write_bytes(whole(1, 3, 5, 7))
    (tmp_path / "b.fstrm").write_bytes(START + frames(2, 4, 6, 8))
    with following(tmp_path / "a.fstrm", tmp_path / "b.fstrm", "--last", "5") as command:
        assert command.shows(4, 5, 6, 7, 8)
        append(tmp_path / "b.fstrm", frames(9))
        assert command.shows(4, 5, 6, 7, 8, 9)


@pytest.mark.parametrize("name", ["dns-%S.fstrm", "dns*.fstrm"])
def test_all_files_of_a_template_or_a_glob_now_and_later(tmp_path: Path, name: str) -> None:
    (tmp_path / "dns-30.fstrm").write_bytes(whole(3, 4))
    (tmp_path / "dns-10.fstrm.gz" if "%" in name else tmp_path / "dns-10.fstrm").write_bytes(
        gzip.compress(whole(1, 2)) if "%" in name else whole(1, 2)
    )
    part = tmp_path / "dns-50.fstrm.part"
    part.write_bytes(START + frames(5))
    with following(name, "--from-start", cwd=tmp_path) as command:
        assert command.shows(1, 2, 3, 4, 5)
        append(part, frames(6) + STOP)
        os.link(part, tmp_path / "dns-50.fstrm")
        part.unlink()
        assert command.shows(*range(1, 7))
        later = tmp_path / "dns-00.fstrm.part"
        later.write_bytes(START + frames(7))
        assert command.shows(*range(1, 8))
        assert command.errors == ""


def test_a_recording_is_followed_through_rotation_compression_and_removal(tmp_path: Path) -> None:
    template, path = tmp_path / "%Y" / "dns.fstrm", tmp_path / "a.sock"
    options = ["--rotate", "512B", "--compress", "gzip", "--keep", "8", "--flush", "0s"]
    with following(template, "--from-start") as command, Running("record", "-u", path, "-w", template, *options):
        for first in range(0, 60, 6):
            send(path, [frame(number) for number in range(first, first + 6)])
            assert command.shows(*range(first + 6))
        assert command.end() == 0
        assert command.errors == ""


def test_a_plain_name_stands_for_the_numbered_files_that_come_later(tmp_path: Path) -> None:
    name, path = tmp_path / "dns.fstrm", tmp_path / "a.sock"
    (tmp_path / "dns.7.fstrm").write_bytes(whole(100))  # somebody else's, for all we know
    with following(name) as command:
        for number in range(3):
            with Running("record", "-u", path, "-w", name):
                send(path, [frame(number)])
                assert command.shows(*range(number + 1))
        assert command.errors == ""


def test_standard_input_is_followed_to_its_end(tmp_path: Path) -> None:
    done = tap("follow", "-", *FORM, stdin=whole(1, 2))
    assert (done.returncode, done.stdout) == (0, b"1\n2\n")
    done = tap("follow", "-", *FORM, stdin=gzip.compress(whole(1, 2)[:-20]))
    assert (done.returncode, done.stdout) == (1, b"1\n")


def test_output_count_and_signals_as_everywhere(tmp_path: Path) -> None:
    path, out = tmp_path / "dns.fstrm", tmp_path / "out.fstrm"
    path.write_bytes(START + frames(1, 2))
    with Running("follow", path, "-w", out, "--count", "3", is_ready=False) as command:
        wait_until(lambda: out.exists() and out.read_bytes() == START + frames(1, 2))
        command.send(signal.SIGUSR1)
        command.wait_for_error("follow: 1 files, 2 frames, 0 damaged")
        append(path, frames(3, 4))
        assert command.wait() == 0
    assert out.read_bytes() == whole(1, 2, 3)
    done = tap("follow", path, "--last", "3", "--from-start")
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
