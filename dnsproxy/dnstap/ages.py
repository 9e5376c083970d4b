"""How long the oldest of many frames has waited, without a time for each of them."""

from __future__ import annotations

from collections import deque
from typing import Final

MARKS_MAX: Final = 1024  # a quarter of an hour, one each second; then every other one will do


class Ages:
    """Remembers now and then how many frames had come by when; frames leave in the order in which they came."""

    def __init__(self) -> None:
        self._marks: deque[tuple[int, float]] = deque()  # (frames ever put in, when)
        self._removed = 0

    def mark(self, frames: int, now: float) -> None:
        """So many frames are there now."""
        marks, position = self._marks, self._removed + frames
        if marks and marks[-1][0] == position:
            marks.pop()
        marks.append((position, now))
        if len(marks) > MARKS_MAX:
            marks = self._marks = deque(list(marks)[::2])
        self._forget()

    def remove(self, frames: int) -> None:
        """So many of the oldest are there no more."""
        self._removed += frames

    def add_oldest(self, frames: int, since: float) -> None:
        """There are so many more, older than all others."""
        later = [(position + frames, when) for position, when in self._marks]
        self._marks = deque([(self._removed, since), *later])

    def oldest_s(self, now: float) -> float:
        """For how long, at most, the oldest frame has been here, if there is one."""
        self._forget()
        return max(now - self._marks[0][1], 0.0) if self._marks else 0.0

    def _forget(self) -> None:
        marks = self._marks
        while len(marks) > 1 and marks[1][0] <= self._removed:
            marks.popleft()
