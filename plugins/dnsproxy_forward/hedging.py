"""When a second upstream is asked because the first is late, and how often that may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnsproxy_forward.timing import Percentile

if TYPE_CHECKING:
    from dnsproxy_forward.words import Hedge

SHARE: Final = 0.1  # of a stanza's queries may have a hedge: the load that it puts upon upstreams stays bounded
SAVED: Final = 20.0  # hedges that may be made at once when few were needed before


class Hedging:
    """The hedges of one stanza."""

    def __init__(self, hedge: Hedge) -> None:
        self.fixed_s = hedge.seconds
        self.times = Percentile(hedge.percentile) if hedge.percentile is not None else None
        self.tokens = 0.0

    def after_s(self) -> float | None:
        """For each query: how long its first attempt may take until there is a hedge; None when that is not known."""
        self.tokens = min(self.tokens + SHARE, SAVED)
        return self.fixed_s if self.times is None else self.times.value_s

    def took(self, seconds: float) -> None:
        """A first attempt was answered, or given up, so long after it was made."""
        if self.times is not None:
            self.times.add(seconds)

    def may(self) -> bool:
        """Whether a hedge may be made now; it counts as made."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True
