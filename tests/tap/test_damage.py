"""What is told of a stream's damage."""

import io
import sys

import pytest

from dnsproxy.tap.damage import LINES_MAX, Damages, tell


def test_the_first_ten_are_told_and_all_are_counted() -> None:
    told: list[str] = []
    damages = Damages("a.fstrm", told.append)
    damages.frames = 2
    for number in range(12):
        damages.report("control" if number else "truncated", number * 10, "why")
    assert told[0] == "a.fstrm: offset 0: truncated: why"
    assert len(told) == LINES_MAX
    damages.end()
    assert told[-1] == "a.fstrm: 2 frames, 12 damaged (truncated 1, control 11)"


def test_a_good_stream_is_not_worth_a_word() -> None:
    told: list[str] = []
    damages = Damages("unix:/run/a.sock#3", told.append)
    damages.frames = 1
    damages.end()
    assert told == []
    assert damages.summary() == "unix:/run/a.sock#3: 1 frame, 0 damaged"


def test_lines_go_to_standard_error_as_long_as_there_is_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell("a line")
    assert capsys.readouterr() == ("", "a line\n")
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    tell("nobody hears")
