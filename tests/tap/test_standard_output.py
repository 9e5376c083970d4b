"""Text on standard output."""

import os
import sys

import pytest

from dnsproxy.tap.standard_output import PIECE, StandardOutput, put


def test_it_is_written_by_flush_or_once_there_is_much(capfd: pytest.CaptureFixture[str]) -> None:
    output = StandardOutput()
    output.write("µ–█\n")
    assert capfd.readouterr().out == ""
    output.flush()
    assert capfd.readouterr().out == "µ–█\n"
    output.write("x" * PIECE)
    assert capfd.readouterr().out == "x" * PIECE


def test_put_leaves_nothing_behind(capfd: pytest.CaptureFixture[str]) -> None:
    put(["one\n", "two\n"])
    assert capfd.readouterr().out == "one\ntwo\n"


def test_an_output_that_nobody_reads_is_an_error_where_it_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as broken:
        monkeypatch.setattr(sys, "stdout", broken)
        with pytest.raises(BrokenPipeError):
            put(["text"])


def test_what_is_no_text_is_written_all_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    put(["a\udcffb"])
    assert capfd.readouterr().out == "a?b"
