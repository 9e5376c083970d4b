"""Gives every frame to all collectors that are there, and keeps the books of those that are gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from dnsproxy.dnstap.backlog import REASONS

Entry = dict[str, Any]


class Branch(Protocol):
    """Where frames go: one collector's queue."""

    def offer(self, frame: bytes) -> None:
        """As an output's."""

    def lose(self, count: int) -> None:
        """As an output's."""

    def tap_status(self) -> Entry:
        """As an output's."""


class FanOut:
    """Several queues that a frame is offered to as if they were one; with none a frame is not counted anywhere."""

    def __init__(self) -> None:
        self._branches: dict[Branch, None] = {}
        self._offers: tuple[Callable[[bytes], None], ...] = ()
        self._gone: Entry = {
            "offered": 0,
            "sent": 0,
            "queued": 0,
            "dropped": dict.fromkeys(REASONS, 0),
            "bytes": 0,
            "oldest_queued_s": 0.0,
            "spooled": 0,
            "stalled": False,
        }

    def __len__(self) -> int:
        return len(self._branches)

    def offer(self, frame: bytes) -> None:
        """Offer a frame to everybody who is there; never waits, never raises."""
        for offer in self._offers:
            offer(frame)

    def lose(self, count: int) -> None:
        """Messages that everybody would have got had to be given up."""
        for branch in self._branches:
            branch.lose(count)

    def add(self, branch: Branch) -> None:
        """From now on this one gets every frame."""
        self._branches[branch] = None
        self._set_offers()

    def remove(self, branch: Branch) -> None:
        """This one gets no more, and holds nothing any more: its numbers are kept. Removing it twice is fine."""
        if branch in self._branches:
            del self._branches[branch]
            self._set_offers()
            self._gone = added(self._gone, branch.tap_status() | {"stalled": False})

    def books(self) -> Entry:
        """The numbers of all who ever were here."""
        total = self._gone
        for branch in self._branches:
            total = added(total, branch.tap_status())
        return total

    def _set_offers(self) -> None:
        self._offers = tuple(branch.offer for branch in self._branches)


def added(books: Entry, more: Mapping[str, Any]) -> Entry:
    """Books with another's numbers added; what is no number, or missing in the first, is left out."""
    return {name: _added(name, number, more.get(name, 0)) for name, number in books.items()}


def _added(name: str, first: Any, second: Any) -> Any:
    if isinstance(first, dict):
        return {reason: first.get(reason, 0) + second.get(reason, 0) for reason in {**first, **second}}
    if isinstance(first, bool):
        return first or bool(second)
    return max(first, second) if name == "oldest_queued_s" else first + second
