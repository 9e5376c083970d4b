"""How many messages came when, in bounded memory: spans of a second, which double when they become too many."""

from __future__ import annotations

from collections import Counter
from typing import Final

SPANS_KEPT: Final = 1000  # more than a plot has columns of pixels to show
NS_PER_S: Final = 1_000_000_000


class Timeline:
    """Counts by span and kind; `span_s` is how long a span is: 1, 2, 4 … seconds."""

    __slots__ = ("_spans", "span_s")

    def __init__(self) -> None:
        self.span_s = 1
        self._spans: dict[int, Counter[int]] = {}

    def add(self, time_ns: int, kind: int) -> None:
        """One more of a kind."""
        number = time_ns // NS_PER_S // self.span_s
        counts = self._spans.get(number)
        if counts is None:
            counts = self._spans[number] = Counter()
            counts[kind] = 1
            self._widen()
        else:
            counts[kind] += 1

    def merge(self, other: Timeline) -> None:
        """All of another one's."""
        while self.span_s < other.span_s:
            self._double()
        factor = self.span_s // other.span_s if self.span_s > other.span_s else 1
        for number, counts in other._spans.items():
            self._spans.setdefault(number // factor, Counter()).update(counts)
        self._widen()

    def spans(self) -> list[tuple[int, Counter[int]]]:
        """From the first to the last, those without a message too: when each begins, in seconds since 1970."""
        if not self._spans:
            return []
        numbers = range(min(self._spans), max(self._spans) + 1)
        return [(number * self.span_s, self._spans.get(number, Counter())) for number in numbers]

    def _widen(self) -> None:
        while max(self._spans, default=0) - min(self._spans, default=0) >= SPANS_KEPT:
            self._double()

    def _double(self) -> None:
        self.span_s *= 2
        spans: dict[int, Counter[int]] = {}
        for number, counts in self._spans.items():
            spans.setdefault(number // 2, Counter()).update(counts)
        self._spans = spans

    def __repr__(self) -> str:
        return f"<Timeline of {len(self._spans)} spans of {self.span_s} s>"
