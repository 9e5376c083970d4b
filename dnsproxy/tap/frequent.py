"""The most frequent values of any number, in bounded memory: exact until there are too many different ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from heapq import nsmallest
from typing import Final, Generic, TypeVar

DIFFERENT_KEPT: Final = 100_000  # about 15 MiB of names; a flood of random ones pushes out what came once

T = TypeVar("T")


class Frequent(Generic[T]):
    """Counts of values; what is rare is forgotten when there are too many, so that counts are what came at least."""

    __slots__ = ("_counts", "_kept", "is_exact")

    def __init__(self, kept: int = DIFFERENT_KEPT) -> None:
        self._kept = kept
        self._counts: Counter[T] = Counter()
        self.is_exact = True

    def add(self, value: T) -> None:
        """It came once more."""
        self._counts[value] += 1
        if len(self._counts) > self._kept * 2:
            self._forget()

    def merge(self, other: Frequent[T]) -> None:
        """All of another one's."""
        self._counts.update(other._counts)
        self.is_exact = self.is_exact and other.is_exact
        if len(self._counts) > self._kept * 2:
            self._forget()

    def counts(self) -> list[tuple[T, int]]:
        """All values that are known."""
        return list(self._counts.items())

    def top(self, number: int, text: Callable[[T], str]) -> list[tuple[str, int]]:
        """Those that came most often, as text; equals in its order."""
        named = ((text(value), count) for value, count in self._counts.items())
        return nsmallest(number, named, key=_by_count)

    def _forget(self) -> None:
        """The rarer ones; of those equally rare the older ones go."""
        newest_first = reversed(self._counts.items())
        self._counts = Counter(dict(sorted(newest_first, key=_count, reverse=True)[: self._kept]))
        self.is_exact = False

    def __repr__(self) -> str:
        return f"<Frequent {self.top(3, str)}>"


def _by_count(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def _count(item: tuple[T, int]) -> int:
    return item[1]
