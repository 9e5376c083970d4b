"""What is wrong with a stream, told on standard error: the first few lines of it, and at its end how much there was."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from typing import Final

TRUNCATED, OVERSIZE, UNDECODABLE, CONTROL = "truncated", "oversize", "undecodable", "control"
START, CONTENT_TYPE, HANDSHAKE = "start", "content_type", "handshake"
KINDS: Final = (TRUNCATED, OVERSIZE, UNDECODABLE, CONTROL, START, CONTENT_TYPE, HANDSHAKE)
LINES_MAX: Final = 10  # of one stream; a file of another kind has a thousand, and they say no more


def tell(line: str) -> None:
    """A line on standard error; nothing where there is none."""
    try:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):  # closed, or the reader of a pipe has gone
        pass


class Damages:
    """What was found in one stream: `frames` are the good ones, which its reader counts."""

    def __init__(self, stream: str, tell: Callable[[str], None] = tell) -> None:
        self.stream = stream
        self.frames = 0
        self.counts: Counter[str] = Counter()
        self._tell = tell

    @property
    def total(self) -> int:
        """How often there was damage."""
        return self.counts.total()

    def report(self, kind: str, offset: int, reason: str) -> None:
        """Count it; the first ten are told."""
        self.counts[kind] += 1
        if self.total <= LINES_MAX:
            self._tell(f"{self.stream}: offset {offset}: {kind}: {reason}")

    def summary(self) -> str:
        """`a.fstrm: 2 frames, 1 damaged (truncated 1)`."""
        kinds = ", ".join(f"{kind} {self.counts[kind]}" for kind in KINDS if self.counts[kind])
        frames = "1 frame" if self.frames == 1 else f"{self.frames} frames"
        return f"{self.stream}: {frames}, {self.total} damaged" + (f" ({kinds})" if kinds else "")

    def end(self) -> None:
        """The stream is over: the summary is told if there was any damage."""
        if self.counts:
            self._tell(self.summary())

    def __repr__(self) -> str:
        return f"<Damages {self.summary()}>"
