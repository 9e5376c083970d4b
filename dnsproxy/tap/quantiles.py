"""Quantiles of any number of values in bounded memory: exact for a while, then to a thousandth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

DIFFERENT_KEPT: Final = 1 << 16  # values; about 8 MiB
PRECISION_BITS: Final = 10  # of a rounded value: it is off by less than a thousandth


class Quantiles:
    """Whole numbers from 0 on, such as nanoseconds; `count` of them, the largest of which is `maximum`."""

    __slots__ = ("_counts", "_is_rounded", "count", "maximum")

    def __init__(self, values: Iterable[int] = ()) -> None:
        self.count = 0
        self.maximum = 0
        self._counts: Counter[int] = Counter()
        self._is_rounded = False
        for value in values:
            self.add(value)

    def add(self, value: int) -> None:
        """One more; a negative one, which takes clocks that were set, counts as 0."""
        if value > self.maximum:
            self.maximum = value
        self.count += 1
        self._counts[_rounded(value) if self._is_rounded else max(value, 0)] += 1
        if len(self._counts) > DIFFERENT_KEPT and not self._is_rounded:
            self._round()

    def merge(self, other: Quantiles) -> None:
        """All of another one's."""
        self.count += other.count
        self.maximum = max(self.maximum, other.maximum)
        self._counts.update(other._counts)
        if self._is_rounded or other._is_rounded or len(self._counts) > DIFFERENT_KEPT:
            self._round()

    def at(self, *shares: float) -> list[int]:
        """For each share, in ascending order, the smallest value that so large a part does not exceed; 0 for none.

        It is one of the values (the nearest rank), or off by less than a thousandth once they are too many.
        """
        found: list[int] = []
        below = 0
        for value, count in sorted(self._counts.items()):
            below += count
            while len(found) < len(shares) and below >= shares[len(found)] * self.count:
                found.append(min(value, self.maximum))
        return found or [0] * len(shares)

    def counts(self) -> list[tuple[int, int]]:
        """Values in ascending order, each with how often it came."""
        return sorted(self._counts.items())

    def _round(self) -> None:
        counts: Counter[int] = Counter()
        for value, count in self._counts.items():
            counts[_rounded(value)] += count
        self._counts = counts
        self._is_rounded = True

    def __repr__(self) -> str:
        return f"<Quantiles of {self.count}, at most {self.maximum}>"


def _rounded(value: int) -> int:
    """The middle of those values whose first bits are the same."""
    if value < 1:
        return 0
    shift = value.bit_length() - PRECISION_BITS
    return value if shift <= 0 else (value >> shift << shift) + (1 << shift >> 1)
