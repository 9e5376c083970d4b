"""Counts what was dropped, and why; drops that follow one another are told together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

EPISODE_QUIET_S: Final = 1.0  # without drops: the episode is over
EPISODE_MAX_S: Final = 60.0  # an episode that goes on is reported each minute


@dataclass
class Episode:
    """Drops with no more than EPISODE_QUIET_S between them."""

    began: float
    last: float
    counts: dict[str, int] = field(default_factory=dict)

    def add(self, now: float, reason: str, count: int) -> None:
        """More drops."""
        self.last = now
        self.counts[reason] = self.counts.get(reason, 0) + count

    def is_due(self, now: float) -> bool:
        """Whether it is over, or has gone on for long enough to be told."""
        return now - self.last >= EPISODE_QUIET_S or now - self.began >= EPISODE_MAX_S

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {reason}" for reason, count in self.counts.items())
        return f"{sum(self.counts.values())} messages in {self.last - self.began:.1f} s ({counts})"


class Drops:
    """The counts by reason, and the episode that is going on."""

    def __init__(self, reasons: Iterable[str]) -> None:
        self.counts = dict.fromkeys(reasons, 0)
        self.episode: Episode | None = None

    def add(self, now: float, reason: str, count: int) -> None:
        """So many more."""
        self.counts[reason] += count
        if self.episode is None:
            self.episode = Episode(now, now)
        self.episode.add(now, reason, count)

    def end_episode(self, now: float) -> Episode | None:
        """The episode that is over, or has gone on for long enough to be told."""
        episode = self.episode
        if episode is None or not episode.is_due(now):
            return None
        self.episode = None
        return episode
