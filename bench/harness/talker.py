"""A helper program of the harness's own that answers each line on its standard input with a line."""

import sys
from collections.abc import Sequence
from pathlib import Path

from harness.children import Children
from harness.errors import BenchError


class Talker:
    """Starts the program and waits for its first line, `greeting`."""

    def __init__(self, children: Children, name: str, script: Path, arguments: Sequence[str]) -> None:
        self._children = children
        self._name = name
        self._child = children.start(name, [sys.executable, "-BP", str(script), *arguments], talks=True)
        self.greeting = self._read_line()

    def ask(self) -> str:
        """What it answers now."""
        assert self._child.stdin is not None
        self._child.stdin.write(b"?\n")
        self._child.stdin.flush()
        return self._read_line()

    def _read_line(self) -> str:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise BenchError(f"the {self._name} ended: {self._children.last_words(self._name)}")
        return line.decode()
