"""When each message is to be sent: at once, as they followed one another, or so many in a second."""

from __future__ import annotations

import time
from collections.abc import Callable

from dnsproxy.tap.frame import NS_PER_S, TapFrame

Due = Callable[[TapFrame], float]
"""Seconds after the first message at which this one is due; called for each in order."""


def in_real_time(speed: float = 1.0) -> Due:
    """As they followed one another, or faster; one without a time, or from before the last, is due at once."""
    first_ns: int | None = None
    last_s = 0.0

    def due(frame: TapFrame) -> float:
        nonlocal first_ns, last_s
        if frame.time_ns is not None:
            first_ns = frame.time_ns if first_ns is None else first_ns
            last_s = max(last_s, (frame.time_ns - first_ns) / NS_PER_S / speed)
        return last_s

    return due


def at_rate(per_second: float) -> Due:
    """So many in a second, the same time between any two."""
    count = -1

    def due(_frame: TapFrame) -> float:
        nonlocal count
        count += 1
        return count / per_second

    return due


class Pace:
    """Cuts messages into batches of which each is due as a whole."""

    def __init__(
        self, due: Due, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._due = due
        self._clock = clock
        self._sleep = sleep
        self._began: float | None = None

    def send(self, frames: list[TapFrame], send: Callable[[list[TapFrame]], None]) -> None:
        """Send them in order, none before it is due."""
        waiting: list[TapFrame] = []
        for frame in frames:
            pause_s = self._pause_s(self._due(frame))
            if pause_s > 0:
                if waiting:
                    send(waiting)
                waiting = []
                self._sleep(pause_s)
            waiting.append(frame)
        if waiting:
            send(waiting)

    def _pause_s(self, due_s: float) -> float:
        now = self._clock()
        if self._began is None:
            self._began = now - due_s
        return self._began + due_s - now
