"""The bar on a terminal."""

import os
import sys
import time
from pathlib import Path

import pytest

from dnsproxy.tap.progress import ERASE, LONG, Progress, bar


class Terminal:
    """Standard error as a pipe that says it is a terminal, or not."""

    def __init__(self, is_terminal: bool = True) -> None:
        self.reading, self.writing = os.pipe()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def fileno(self) -> int:
        return self.writing

    def write(self, text: str) -> int:
        return os.write(self.writing, text.encode())

    def flush(self) -> None:
        pass

    def shown(self) -> str:
        os.set_blocking(self.reading, False)
        try:
            return os.read(self.reading, 10_000).decode()
        except BlockingIOError:
            return ""


@pytest.fixture
def long_file(tmp_path: Path) -> str:
    """So long that one would wait."""
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.truncate(LONG)
    return str(path)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What `time.monotonic` says, one after the other, then the last for ever."""
    moments = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: moments.pop(0) if len(moments) > 1 else moments[0])
    return moments


def terminal(monkeypatch: pytest.MonkeyPatch, error: bool = True, output: bool = False) -> Terminal:
    found = Terminal(error)
    monkeypatch.setattr(sys, "stderr", found)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: output)
    return found


def test_a_bar_says_how_far_how_fast_and_how_long() -> None:
    assert bar(25 << 20, 100 << 20, 5) == "[########                      ]  25% 5 MiB/s 0:15 left"
    assert bar(0, 100, 0) == "[                              ]   0% 0 MiB/s 0:00 left"
    assert bar(200, 100, 1).startswith("[##############################] 100%")


def test_a_long_file_has_a_bar_that_goes_away(
    long_file: str, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    shown = terminal(monkeypatch)
    clock[:] = [0.0, 0.1, 1.0]
    bars = Progress([long_file])
    bars.show(10)
    assert shown.shown() == "", "not more often than one can see"
    bars.show(LONG // 2)
    assert shown.shown() == f"{ERASE}{bar(LONG // 2, LONG, 1.0)}"
    bars.tell("a line")
    assert shown.shown() == f"{ERASE}a line\n"
    bars.end()
    assert shown.shown() == ERASE


@pytest.mark.parametrize(("error", "output"), [(False, False), (True, True), (False, True)])
def test_pipes_and_terminals_with_output_have_none(
    error: bool, output: bool, long_file: str, monkeypatch: pytest.MonkeyPatch, clock: list[float]
) -> None:
    shown = terminal(monkeypatch, error, output)
    bars = Progress([long_file])
    clock[0] = 9.0
    bars.show(LONG // 2)
    bars.end()
    assert shown.shown() == ""


def test_short_files_and_pipes_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: list[float]) -> None:
    shown = terminal(monkeypatch)
    (tmp_path / "short").write_bytes(b"x")
    bars = Progress([str(tmp_path / "short"), "-", str(tmp_path / "none"), str(tmp_path)])
    clock[0] = 9.0
    bars.show(1)
    assert shown.shown() == ""
