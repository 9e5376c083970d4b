"""What came of some queries, whichever client asked them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """Counts, and where single answers were timed the percentiles in microseconds; `noerror` counts that rcode."""

    sent: int
    answered: int
    noerror: int
    seconds: float
    p50_us: float | None = None
    p90_us: float | None = None
    p99_us: float | None = None

    @property
    def per_second(self) -> float:
        return self.answered / self.seconds if self.seconds else 0.0

    @property
    def lost(self) -> float:
        """The share of the queries that got no answer."""
        return 1 - self.answered / self.sent if self.sent else 0.0
