"""Whether an upstream is up: what fails and what is answered in a row, and what of it changes the state."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from dnsproxy.upstream.exchange import TIMEOUT

if TYPE_CHECKING:
    from dnsproxy.upstream.options import HealthOptions

UP, DOWN, PROBING = "up", "down", "probing"
SERVFAIL: Final = "SERVFAIL"  # a kind of failure that only probes can have
KINDS: Final = {  # one of them, and several
    "timeout": ("timeout", "timeouts"),
    "refused": ("refused", "refused"),
    "closed": ("closed", "closed"),
    "send_error": ("send error", "send errors"),
    "tls_error": ("tls error", "tls errors"),
}


class Health:
    """The state of one upstream: up, down, or probing, which is down with some of the `rise` answers to probes.

    It is told what becomes of queries and of probes; a call is True when it has changed between up and not up. Times
    are trio's clock.
    """

    def __init__(self, options: HealthOptions, now: float) -> None:
        self.options = options
        self.up = True
        self.failures: dict[str, int] = {}  # in a row, by kind
        self.successes = 0  # probes answered in a row while it is down
        self.transitions = 0
        self.changed_at = now
        self.risen_at = -inf  # when it came up again; never before it was down
        self._broken_at: dict[str, float] = {}  # the last failure of a kind

    @property
    def state(self) -> str:
        """As in `status`."""
        if self.up:
            return UP
        return PROBING if self.successes else DOWN

    @property
    def is_doubtful(self) -> bool:
        """Whether something has failed since the last answer: probes are to find out."""
        return not self.up or bool(self.failures)

    @property
    def failures_in_a_row(self) -> int:
        """Of every kind."""
        return sum(self.failures.values())

    @property
    def unanswered(self) -> int:
        """Those of them that an answered query would end."""
        return self.failures_in_a_row - self.failures.get(SERVFAIL, 0)

    @property
    def reason(self) -> str:
        """For the log: `3 timeouts`, `2 refused, 1 timeout`, or what brought it up."""
        if self.up:
            return "answered"
        return ", ".join(f"{count} {_named(kind, count)}" for kind, count in self.failures.items())

    def failed(self, kind: str, now: float, is_probe: bool = False) -> bool:
        """A query, or a probe, came to nothing."""
        if is_probe:
            self.successes = 0
        if self._is_same_break(kind, now):
            return False
        self.failures[kind] = self.failures.get(kind, 0) + 1
        if not self.up or self.failures_in_a_row < self.options.fall:
            return False
        self._change(now)
        return True

    def answered(self) -> None:
        """A query was: its failures are no row any more. What probes were told stands until they are told better."""
        bad_answers = self.failures.get(SERVFAIL)
        self.failures = {SERVFAIL: bad_answers} if bad_answers else {}

    def probe_answered(self, now: float) -> bool:
        """A probe was, and well."""
        if self.up:
            self.failures = {}
            return False
        self.successes += 1
        if self.successes < self.options.rise:
            return False
        self.failures = {}
        self.risen_at = now
        self._change(now)
        return True

    def _is_same_break(self, kind: str, now: float) -> bool:
        """A closed port or a broken connection is one hint, however many exchanges end with it."""
        if kind in (TIMEOUT, SERVFAIL):
            return False
        before = self._broken_at.get(kind)
        self._broken_at[kind] = now
        return before == now

    def _change(self, now: float) -> None:
        self.up = not self.up
        self.successes = 0
        self.transitions += 1
        self.changed_at = now


def _named(kind: str, count: int) -> str:
    one, several = KINDS.get(kind, (kind, kind))
    return one if count == 1 else several
