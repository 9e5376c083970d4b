"""Times as text: the text of a second is made once, and what is below a second added to it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

NS_PER_S: Final = 1_000_000_000
SECONDS_KEPT: Final = 64  # messages of one moment fall into few different seconds
FOUR_CENTURIES: Final = 146_097 * 86_400  # seconds after which the calendar, with its weekdays, is the same again
LAST_PLAIN: Final = 253_402_300_799  # the last second of the year 9999, behind which nothing has four digits
ZONE_FOLDERS: Final = ("/usr/share/zoneinfo", "/usr/share/lib/zoneinfo", "/usr/lib/locale/TZ")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Seconds = Callable[[int], str]


class SecondTexts:
    """`text(second)`, remembered for the seconds that were asked for last."""

    def __init__(self, render: Callable[[time.struct_time], str], utc: bool) -> None:
        self._render = render
        self._split = time.gmtime if utc else time.localtime
        self._known: dict[int, str] = {}

    def text(self, second: int) -> str:
        """Of a second since 1970, however far away."""
        known = self._known.get(second)
        if known is None:
            if len(self._known) >= SECONDS_KEPT:
                self._known.clear()
            known = self._known[second] = self._render(self._moment(second))
        return known

    def _moment(self, second: int) -> time.struct_time:
        """Beyond the year 9999, where C's library may fail, the same place in the last calendar before it."""
        cycles = max(-(-(second - LAST_PLAIN) // FOUR_CENTURIES), 0)
        year, *rest = self._split(second - cycles * FOUR_CENTURIES)
        return time.struct_time((year + 400 * cycles, *rest))


def clock_text(moment: time.struct_time) -> str:
    """`22:13:20`."""
    return f"{moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d}"


def named_text(moment: time.struct_time) -> str:
    """`14-Nov-2023 22:13:20`, as BIND writes it."""
    return f"{moment.tm_mday:02d}-{MONTHS[moment.tm_mon - 1]}-{moment.tm_year:04d} {clock_text(moment)}"


def iso_text(moment: time.struct_time) -> str:
    """`2023-11-14T22:13:20`."""
    return f"{moment.tm_year:04d}-{moment.tm_mon:02d}-{moment.tm_mday:02d}T{clock_text(moment)}"


def go_knows_zone() -> bool:
    """Whether Go's library finds local time where C's does; where it does not, it takes UTC.

    It reads no rules out of the environment (`TZ=CET-1CEST`), only names of files.
    """
    zone = os.environ.get("TZ", "/").removeprefix(":")
    return any(Path(folder, zone).exists() for folder in ZONE_FOLDERS)
