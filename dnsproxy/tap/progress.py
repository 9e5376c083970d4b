"""How far reading has come, on a terminal that shows nothing else."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from dnsproxy.tap.damage import tell

LONG: Final = 16 << 20  # octets of files that take longer than one likes to wait without a word
INTERVAL_S: Final = 0.2
BAR: Final = 30  # characters
ERASE: Final = "\r\x1b[K"


class Progress:
    """A bar on standard error; nothing for short files, pipes, and where the output comes to a terminal too."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._total = sum(map(_size, paths))
        self._is_shown = self._total >= LONG and sys.stderr.isatty() and not sys.stdout.isatty()
        self._began = self._last = time.monotonic()

    def show(self, position: int) -> None:
        """So many octets have been read."""
        now = time.monotonic()
        if self._is_shown and now - self._last >= INTERVAL_S:
            self._last = now
            _put(ERASE + bar(position, self._total, now - self._began))

    def tell(self, line: str) -> None:
        """A line that stays."""
        self.end()
        tell(line)

    def end(self) -> None:
        """Leave nothing behind."""
        if self._is_shown:
            _put(ERASE)


def bar(position: int, total: int, elapsed_s: float) -> str:
    """`[#######               ]  24% 41 MiB/s 0:12 left`."""
    part = min(position / total, 1.0)
    left_s = round(elapsed_s * (1 - part) / part) if part else 0
    speed = position / max(elapsed_s, 0.001) / 2**20
    done = "#" * round(part * BAR)
    return f"[{done:{BAR}}] {part:4.0%} {speed:.0f} MiB/s {left_s // 60}:{left_s % 60:02d} left"


def _size(path: str) -> int:
    """Of a plain file; pipes have none."""
    file = Path(path)
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:
        return 0


def _put(text: str) -> None:
    os.write(sys.stderr.fileno(), text.encode())
