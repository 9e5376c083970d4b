"""What `top` shows: messages of the last while, or all of them so far, and how many came when."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final, Protocol

from dnsproxy.tap.frame import NS_PER_S, TapFrame
from dnsproxy.tap.tally import TYPE, Tally

KEPT: Final = 10_000  # different names and so on; what is shown is added up at each interval
COLUMNS: Final = 40  # amounts shown beside each other
HALF_S: Final = 30.0  # a while is between one half and two


class Window(Protocol):
    """What there is to show; rates are messages per second."""

    damaged: int  # of all time

    @property
    def frames(self) -> int:
        """Of all time."""

    def add(self, frames: list[TapFrame]) -> None:
        """Count some."""

    def tally(self) -> Tally:
        """What is counted now."""

    def rate(self, type: int | None = None) -> float:
        """Of one type, or of all."""

    def amounts(self) -> list[float]:
        """How many came when: COLUMNS numbers, the latest last."""


class Recent:
    """Messages of the last while, as they come; rates are those of the last interval, which `turn` ends."""

    def __init__(self, now_s: float) -> None:
        self.frames = self.damaged = 0
        self._rates: Counter[int] = Counter()
        self._amounts: deque[float] = deque([0.0] * COLUMNS, COLUMNS)
        self._took_s = 1.0
        self._older, self._newer = Tally(KEPT), Tally(KEPT)
        self._interval: Counter[int] = Counter()
        self._half_began_s = self._interval_began_s = now_s

    def add(self, frames: list[TapFrame]) -> None:
        """As Window's."""
        self.frames += len(frames)
        self._newer.add(frames)
        self._interval.update([frame.type for frame in frames])

    def turn(self, now_s: float) -> None:
        """An interval is over; `now_s` is of any clock, always the same."""
        self._took_s = max(now_s - self._interval_began_s, 0.001)
        self._rates, self._interval = self._interval, Counter()
        self._interval_began_s = now_s
        self._amounts.append(self.rate())
        if now_s - self._half_began_s >= HALF_S:
            self._older, self._newer, self._half_began_s = self._newer, Tally(KEPT), now_s

    def tally(self) -> Tally:
        """As Window's."""
        total = Tally(KEPT)
        total.merge(self._older)
        total.merge(self._newer)
        return total

    def rate(self, type: int | None = None) -> float:
        """As Window's."""
        count = self._rates.total() if type is None else self._rates[type]
        return count / self._took_s

    def amounts(self) -> list[float]:
        """As Window's."""
        return list(self._amounts)


class Whole:
    """All messages of files; rates are by the messages' own times."""

    def __init__(self) -> None:
        self.damaged = 0
        self._tally = Tally()

    @property
    def frames(self) -> int:
        """As Window's."""
        return self._tally.frames

    def add(self, frames: list[TapFrame]) -> None:
        """As Window's."""
        self._tally.add(frames)

    def tally(self) -> Tally:
        """As Window's."""
        return self._tally

    def rate(self, type: int | None = None) -> float:
        """As Window's."""
        tally = self._tally
        span_ns = (tally.last_ns or 0) - (tally.first_ns or 0)
        count = tally.frames if type is None else tally.by(TYPE)[type]
        return count * NS_PER_S / span_ns if span_ns else 0.0

    def amounts(self) -> list[float]:
        """As Window's."""
        spans = self._tally.timeline.spans()
        amounts = [0.0] * COLUMNS
        for number, (_, counts) in enumerate(spans):
            amounts[number * COLUMNS // len(spans)] += counts.total()
        return amounts
