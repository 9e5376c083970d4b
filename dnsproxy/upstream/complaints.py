"""What an upstream sends instead of answers: counted, and told once in a while."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dnsproxy.flight import Flights

log = logging.getLogger("dnsproxy")

AGAIN_S: Final = 10.0  # the same complaint is news again after that time
REASONS: Final = 100  # different ones that are counted: peers choose some of the words


class Complaints:
    """Of one upstream; `counts` are by reason."""

    def __init__(self, url: str, flights: Flights) -> None:
        self.url = url
        self.flights = flights
        self.counts: Counter[str] = Counter()
        self.told_at: dict[str, float] = {}

    def complain(self, why: str) -> None:
        """Something came that is no answer."""
        if why not in self.counts and len(self.counts) >= REASONS:
            return
        self.counts[why] += 1
        now = self.flights.now
        if now >= self.told_at.get(why, now):
            self.told_at[why] = now + AGAIN_S
            log.warning("upstream %s: %s", self.url, why)
