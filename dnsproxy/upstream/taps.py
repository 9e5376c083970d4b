"""Who is told of attempts: the recorder of our own taps, and whatever plugins of others take events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dnsproxy.dnstap.events import FORWARDER_QUERY, FORWARDER_RESPONSE, Event
from dnsproxy.dnstap.selecting import NOTHING

if TYPE_CHECKING:
    from dnsproxy.dnstap.recorder import Recorder
    from dnsproxy.message import Query
    from dnsproxy.plugin import Tap


class Taps:
    """The taps that want FORWARDER_* messages. None of them raises: their chain sees to that."""

    __slots__ = ("only_chooses", "others", "recorder")

    def __init__(self, recorder: Recorder | None, others: Sequence[Tap] = ()) -> None:
        self.recorder = recorder
        self.others = tuple(others)
        self.only_chooses = recorder is not None and recorder.only_chooses and not others

    @property
    def wants_times(self) -> bool:
        """Whether it matters when exactly the kernel took a reply."""
        return bool(self.others) or (self.recorder is not None and self.recorder.wants_times)

    @classmethod
    def among(cls, taps: Sequence[Tap]) -> Taps | None:
        """Of those that are bound; None when none of them wants to know."""
        wanting = [tap for tap in taps if tap.wants(FORWARDER_QUERY) or tap.wants(FORWARDER_RESPONSE)]
        recorders = [tap.recorder for tap in wanting if tap.recorder is not None]
        first = recorders[0] if recorders else None
        others = [tap for tap in wanting if tap.recorder is None or tap.recorder is not first]
        return cls(first, others) if wanting else None

    def for_query(self, query: Query) -> Taps | None:
        """These, or None where no tap wants to see that query: then its attempts need not be told."""
        return None if self.only_chooses and (query.parent or query).selection is NOTHING else self

    def query(self, event: Event) -> None:
        """FORWARDER_QUERY, to those who take events."""
        for tap in self.others:
            tap.forwarder_query(event)

    def response(self, event: Event) -> None:
        """FORWARDER_RESPONSE, likewise."""
        for tap in self.others:
            tap.forwarder_response(event)
