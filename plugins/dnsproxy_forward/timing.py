"""How long answers take: when an attempt is late, and percentiles of what a stanza has seen lately."""

from __future__ import annotations

from math import ceil, log
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dnsproxy.upstream.upstream import Upstream

LATE_MIN_S: Final = 0.25  # an attempt is not late before: a lost datagram is rare, a second query is not free
LATE_STEP: Final = 2**0.5  # between the times at which attempts are late: a few timers, not one for each
DEVIATIONS: Final = 4  # RFC 6298 section 2.3: late is what takes longer than the average and so many deviations
SHORTEST_S: Final = 50e-6  # nothing on a network answers sooner
BUCKET: Final = 1.04  # a percentile is right to 4 %
BUCKETS: Final = 320  # up to 14 s
SAMPLES: Final = 1024  # when there are so many, all count half: what counts is the last thousand or two
ENOUGH: Final = 64  # samples before a percentile says anything
LOOKS: Final = 32  # samples between two looks at all buckets


class Lateness:
    """When an attempt is late, from what its upstream's answers took: between 250 ms and `timeout_s`."""

    def __init__(self, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.first_s = min(LATE_MIN_S, timeout_s)
        steps = max(0, ceil(log(timeout_s / self.first_s, LATE_STEP)))
        self.steps_s = [self.first_s * LATE_STEP**step for step in range(steps)]

    def of(self, upstream: Upstream) -> float:
        """Seconds until an attempt there is late; `timeout_s` when nothing is known of it."""
        average_ns = upstream.rtt_ns
        if not average_ns:
            return self.timeout_s
        late_s = (average_ns + DEVIATIONS * upstream.rttvar_ns) * 1e-9
        return self.first_s if late_s <= self.first_s else self._step(late_s)

    def _step(self, late_s: float) -> float:
        return next((step_s for step_s in self.steps_s if step_s >= late_s), self.timeout_s)


class Percentile:
    """A percentile of recent times, from a histogram of fixed size."""

    def __init__(self, percent: int) -> None:
        self.share = percent / 100
        self.counts = [0.0] * BUCKETS
        self.samples = 0.0
        self.value_s: float | None = None  # None: there are not enough samples yet
        self._unseen = 0

    def add(self, seconds: float) -> None:
        """Another sample."""
        bucket = int(log(seconds / SHORTEST_S) / _LOG_BUCKET) if seconds > SHORTEST_S else 0
        self.counts[min(bucket, BUCKETS - 1)] += 1
        self.samples += 1
        self._unseen += 1
        if self._unseen >= LOOKS and self.samples >= ENOUGH:
            self._look()

    def _look(self) -> None:
        self._unseen = 0
        left = self.samples * self.share
        for bucket, count in enumerate(self.counts):
            left -= count
            if left <= 0:
                self.value_s = SHORTEST_S * BUCKET ** (bucket + 1 + left / count)
                break
        if self.samples >= SAMPLES:
            self.counts = [count / 2 for count in self.counts]
            self.samples /= 2


_LOG_BUCKET: Final = log(BUCKET)
