"""`top`: a picture at each interval, of what comes and of what is in files."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tap.commands.in_process import Captured, run
from tests.tap.dialogue import Dialogue
from tests.tap.frames import CORPUS, MAIN, environment_with, stream, write_stream
from tests.tap.running import Running, send

WITHIN_S = 20.0


def test_of_files_it_shows_all_and_ends(tmp_path: Path, capfd: Captured) -> None:
    path = write_stream(tmp_path / "dns.fstrm", (frame.payload for frame in Dialogue().whole(0, 20)))
    done = run(capfd, "top", path)
    assert (done.status, done.err) == (0, "")
    assert done.lines[0].startswith("dns.fstrm ")
    assert done.lines[1].startswith("4 messages")
    assert "\x1b" not in done.out
    assert "www.example.org." in done.out


def test_damage_gives_1_and_is_shown(capfd: Captured) -> None:
    done = run(capfd, "top", CORPUS / "trunc.fstrm")
    assert done.status == 1
    assert "truncated" in done.err


def test_filters_apply(capfd: Captured) -> None:
    assert run(capfd, "top", MAIN, "--types", "FR").lines[1].startswith("1 messages")


@pytest.mark.parametrize("arguments", [[], ["-u", "/tmp/x.sock", "x.fstrm"], ["--interval", "0s", "x.fstrm"]])
def test_wrong_usage_is_one_line(arguments: list[str], capfd: Captured) -> None:
    done = run(capfd, "top", *arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)


def test_what_is_not_installed_is_named_with_what_installs_it(capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rich.console", None)
    done = run(capfd, "top", MAIN)
    assert (done.status, done.err) == (2, "dnsproxy tap top: top takes what is not installed: pip install rich\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_of_sources_it_shows_what_comes_until_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "tap.sock"
    with Running("top", "-u", path, "--interval", "50ms") as command:
        send(path, [frame.payload for frame in Dialogue().whole(0, 20)])
        command.wait_until(
            lambda: b"4 messages" in command.output and b"www.example.org." in command.output, "a picture"
        )
        assert command.end(number) == 0
        assert command.output.count(b"unix:") > 1


def test_counters_are_told_on_sigusr1(tmp_path: Path) -> None:
    with Running("top", "-u", tmp_path / "tap.sock") as command:
        command.send(signal.SIGUSR1)
        command.wait_for_error("0 connections")


def has_counted(command: Running, text: str) -> bool:
    """Whether its counters said so when it was asked before."""
    command.send(signal.SIGUSR1)
    return text in command.errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_of_files_counters_are_told_and_a_signal_ends_it(number: signal.Signals, tmp_path: Path) -> None:
    pipe = tmp_path / "dns.fstrm"
    os.mkfifo(pipe)
    with Running("top", pipe, "--interval", "50ms", is_ready=False) as command, pipe.open("wb") as file:
        file.write(stream(*(frame.payload for frame in Dialogue().whole(0, 20)), stop=False))
        file.flush()
        command.wait_until(lambda: has_counted(command, "4 frames, 0 damaged"), "counters")
        assert command.end(number) == 0
    assert b"4 messages" in command.output


def test_on_a_terminal_it_has_a_screen_of_its_own_and_leaves_the_last_picture(tmp_path: Path) -> None:
    path = write_stream(tmp_path / "dns.fstrm", (frame.payload for frame in Dialogue().whole(0, 20)))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "dnsproxy", "tap", "top", str(path)]
    environment = environment_with({"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "50"})
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        octets = b""
        try:
            while piece := os.read(ours, 65536):
                octets += piece
        except OSError:  # the terminal's other side is closed
            pass
        assert process.wait(WITHIN_S) == 0
    os.close(ours)
    entered, left = octets.index(b"\x1b[?1049h"), octets.index(b"\x1b[?1049l")
    assert entered < left
    assert b"www.example.org." in octets[left:]
