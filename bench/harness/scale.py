"""From values to places on a picture: linear from nothing or logarithmic, with round ticks."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

TICKS_ABOUT = 5
ROUND = (1, 2, 5, 10)  # times a power of ten
FEW_DECADES = 2  # below that a logarithmic axis has ticks at 1, 2 and 5


@dataclass(frozen=True)
class Scale:
    """Values from `least` to `greatest` on pixels from `start` to `end`."""

    least: float
    greatest: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        """Where a value stands; what is outside stands at the edge."""
        inside = min(max(value, self.least), self.greatest)
        if self.logarithmic:
            share = math.log(inside / self.least) / math.log(self.greatest / self.least)
        else:
            share = (inside - self.least) / (self.greatest - self.least)
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values, the ends included."""
        if self.logarithmic:
            return list(_decades(self.least, self.greatest))
        step = step_for(self.greatest)
        return [step * number for number in range(round(self.greatest / step) + 1)]


def linear(values: Iterable[float], start: float, end: float) -> Scale:
    """From 0 to the tick beyond the greatest value."""
    greatest = max(values, default=0) or 1
    step = step_for(greatest)
    return Scale(0, math.ceil(greatest / step - 1e-9) * step, start, end)


def logarithmic(values: Iterable[float], start: float, end: float) -> Scale:
    """From the tick below the least value to the one beyond the greatest; values must be above 0."""
    known = [value for value in values if value > 0] or [1]
    least, greatest = round_down(min(known)), round_up(max(known))
    return Scale(least, greatest if greatest > least else least * 10, start, end, logarithmic=True)


def step_for(greatest: float) -> float:
    """The round step that makes about TICKS_ABOUT ticks."""
    return round_up(greatest / TICKS_ABOUT)


def round_up(value: float) -> float:
    """The least of 1, 2, 5 times a power of ten that is not below."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in ROUND if factor * power >= value * (1 - 1e-9))


def round_down(value: float) -> float:
    """The greatest of 1, 2, 5 times a power of ten that is not above."""
    power = 10.0 ** math.floor(math.log10(value) + 1e-9)
    return next(factor * power for factor in reversed(ROUND) if factor * power <= value * (1 + 1e-9))


def in_words(value: float) -> str:
    """A tick's label: no digits that say nothing, thousands apart."""
    return f"{value:,.10g}".replace(",", " ")


def _decades(least: float, greatest: float) -> Iterator[float]:
    factors = (1, 2, 5) if math.log10(greatest / least) <= FEW_DECADES else (1,)
    for exponent in range(math.floor(math.log10(least) + 1e-9), math.ceil(math.log10(greatest) - 1e-9) + 1):
        for factor in factors:
            tick = factor * 10.0**exponent
            if least * (1 - 1e-9) <= tick <= greatest * (1 + 1e-9):
                yield tick
