"""Starts the programs of a bench, each with its own log, and ends them by process ID."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import BenchError

STOP_S = 7  # the proxy answers what is in flight for up to 5 s before it exits
LOG_LINES = 5  # of a program that ended early: its last words


class Children:
    """A context manager: whatever it started has ended when the block is left."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for _name, child in reversed(list(self._running.values())):
            self.end(child)

    def start(self, name: str, command: Sequence[str], *, talks: bool = False) -> "subprocess.Popen[bytes]":
        """Starts a program; with `talks` its standard input and output are pipes of ours."""
        with self._log(name).open("ab") as log:
            child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if talks else subprocess.DEVNULL,
                stdout=subprocess.PIPE if talks else log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the harness, which then ends the rest in order
            )
        self._running[child.pid] = (name, child)
        return child

    def end(self, child: "subprocess.Popen[bytes]") -> None:
        """Asks a program to stop, and makes it stop when it takes too long."""
        child.terminate()
        try:
            child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        self._running.pop(child.pid, None)

    def require_alive(self, child: "subprocess.Popen[bytes]") -> None:
        """Raises BenchError with the last words of a program that has ended."""
        if child.poll() is None:
            return
        name = self._running[child.pid][0]
        raise BenchError(f"{name} ended with status {child.returncode}: {self.last_words(name)}")

    def last_words(self, name: str) -> str:
        """The end of a program's log, on one line."""
        lines = self._log(name).read_text(errors="replace").strip().splitlines()
        return " | ".join(lines[-LOG_LINES:]) or "it said nothing"

    def _log(self, name: str) -> Path:
        return self.folder / f"{name.replace(' ', '-').replace('/', '-')}.log"
