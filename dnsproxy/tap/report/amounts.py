"""Numbers, durations, shares and long names as people read them."""

from __future__ import annotations

import math
from typing import Final

DURATIONS: Final = ((86_400e9, "d"), (3_600e9, "h"), (60e9, "min"), (1e9, "s"), (1e6, "ms"), (1e3, "µs"))


def grouped(number: int) -> str:
    """`12 345`."""
    return f"{number:,}".replace(",", " ")


def duration(nanoseconds: float) -> str:
    """Two or three digits and a unit: `350 µs`, `1.2 ms`, `12 ms`, `2.5 h`."""
    for unit_ns, unit in DURATIONS:
        if nanoseconds >= unit_ns:
            return f"{_short(nanoseconds / unit_ns)} {unit}"
    return f"{nanoseconds:.0f} ns"


def rate(per_second: float) -> str:
    """`0.25`, `8.1`, `350`, `12 345`."""
    return grouped(round(per_second)) if per_second >= 1000 else _short(per_second)


def share(part: int, whole: int) -> str:
    """`0.25 %`; that of nothing is 0."""
    return f"{_short(100 * part / whole if whole else 0.0)} %"


def step(most: float, steps: int) -> float:
    """The round distance (1, 2 or 5 times a power of ten) between at most so many marks from 0 to `most`."""
    if most <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(most / steps))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power * steps >= most)


def cut(text: str, width: int) -> str:
    """At most so many characters; what is left out in the middle is an ellipsis."""
    if len(text) <= width:
        return text
    return text[: width // 2] + "…" + text[len(text) - width + width // 2 + 1 :]


def _short(number: float) -> str:
    if number >= 99.5 or number == int(number):
        return f"{number:.0f}"
    return f"{number:.1f}" if number >= 9.95 else f"{number:.2g}"
