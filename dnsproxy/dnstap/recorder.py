"""Makes the messages of a client's query, on both sides of the proxy, and gives them to the sinks that want them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dnsproxy.dnstap.encode import query_message, response_message
from dnsproxy.dnstap.events import (
    CLIENT_QUERY,
    CLIENT_RESPONSE,
    FORWARDER_QUERY,
    FORWARDER_RESPONSE,
    Event,
    Route,
    client_route,
)
from dnsproxy.dnstap.schema import ALL_TYPES, MessageType
from dnsproxy.dnstap.selecting import EVERYTHING, Chooser, SelectingTap
from dnsproxy.dnstap.selection import Selection
from dnsproxy.dnstap.sink import BARE_FORM, FrameForm, Offer, Sink

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnsproxy.message import Query, Response


def _lose_nothing(_count: int) -> None:
    """For what counts nothing."""


@dataclass(frozen=True)
class TapPlan:
    """What a tap wants, how, and where it goes; `lose` counts messages that were wanted and had to be given up."""

    offer: Offer
    form: FrameForm = BARE_FORM
    types: frozenset[MessageType] = ALL_TYPES
    selection: Selection = EVERYTHING
    lose: Callable[[int], None] = _lose_nothing


class Lane:
    """The sinks for messages of one type, by what they need: octets with the DNS message, without it, or an Event."""

    __slots__ = ("bare", "full", "is_empty", "rest")

    def __init__(self, sinks: list[Sink]) -> None:
        self.full = [sink for sink in sinks if sink.takes_messages and sink.full]
        self.bare = [sink for sink in sinks if sink.takes_messages and not sink.full]
        self.rest = [sink for sink in sinks if not sink.takes_messages]
        self.is_empty = not sinks


class Recorder:
    """The taps of a chain. `wants_times` unless all of them sample: what they skip is not to be stamped by the kernel.

    What a query passes four times: compiled with the core, which a plugin's own class cannot be. An Event is made only
    where some tap needs one, and the loops stand here: together 4 µs a query less, interpreted, for two full taps.
    """

    __slots__ = (
        "_chooser",
        "_client_query",
        "_client_response",
        "_forwarder_query",
        "_forwarder_response",
        "_sinks",
        "only_chooses",
        "wants_times",
        "with_queries",
    )

    def __init__(self, taps: Iterable[TapPlan]) -> None:
        taps = list(taps)
        everything = [tap for tap in taps if tap.selection == EVERYTHING]
        self._sinks: list[list[Sink]] = [[] for _ in range(max(MessageType) + 1)]
        for type in MessageType:
            offers: dict[FrameForm, tuple[Offer, ...]] = {}
            for tap in everything:  # what has one form is put together once
                if type in tap.types:
                    offers[tap.form] = (*offers.get(tap.form, ()), tap.offer)
            self._sinks[type] = [Sink(form, offers[form]) for form in offers]
        self._client_query = Lane(self._sinks[CLIENT_QUERY])
        self._client_response = Lane(self._sinks[CLIENT_RESPONSE])
        self._forwarder_query = Lane(self._sinks[FORWARDER_QUERY])
        self._forwarder_response = Lane(self._sinks[FORWARDER_RESPONSE])
        choosing = [
            SelectingTap(tap.types, tap.form, tap.selection, tap.offer, tap.lose)
            for tap in taps
            if tap not in everything
        ]
        self._chooser: Chooser | None = Chooser(choosing) if choosing else None
        self.with_queries = any(tap.form.with_queries for tap in taps)
        self.wants_times = any(tap.selection.sample is None for tap in taps)
        self.only_chooses = not everything  # what is NOTHING to the taps that choose need not be shown at all

    def wants(self, type: int) -> bool:
        """Whether any tap may want messages of that type; if none does, nobody need make the event."""
        return bool(self._sinks[type]) or (self._chooser is not None and self._chooser.wants(type))

    def client_query(self, query: Query) -> None:
        """CLIENT_QUERY, as it arrived."""
        lane = self._client_query
        is_chosen = self._chooser is not None and self._chooser.begin(query)
        if lane.is_empty and not is_chosen:
            return
        endpoint, address, asked_ns = query.endpoint, query.client_sockaddr, query.received_ns
        route: Route = endpoint.routes.get(address) or client_route(endpoint, address)
        if lane.full:
            message = query_message(CLIENT_QUERY, route, asked_ns, query.wire, None)
            for sink in lane.full:
                sink.put(message, query)
        if lane.bare:
            message = query_message(CLIENT_QUERY, route, asked_ns, None, None)
            for sink in lane.bare:
                sink.put(message, query)
        if lane.rest or is_chosen:
            self._give(Event(CLIENT_QUERY, query, route, asked_ns, query.wire), lane)

    def client_response(self, query: Query, response: Response) -> None:
        """CLIENT_RESPONSE, as it leaves."""
        lane = self._client_response
        is_chosen = self._chooser is not None and self._chooser.has_chosen(query)
        if lane.is_empty and not is_chosen:
            return
        now_ns = time.time_ns()
        endpoint, address, asked_ns = query.endpoint, query.client_sockaddr, query.received_ns
        route: Route = endpoint.routes.get(address) or client_route(endpoint, address)
        wire, policy = response.wire, response.policy
        if lane.full:
            message = response_message(CLIENT_RESPONSE, route, asked_ns, now_ns, wire, None, policy)
            for sink in lane.full:
                sink.put(message, query)
        if lane.bare:
            message = response_message(CLIENT_RESPONSE, route, asked_ns, now_ns, None, None, policy)
            for sink in lane.bare:
                sink.put(message, query)
        if lane.rest or is_chosen:
            self._give(Event(CLIENT_RESPONSE, query, route, asked_ns, query.wire, now_ns, wire, None, policy), lane)

    def forwarder_query(self, query: Query, route: Route, sent_ns: int, wire: bytes, zone: bytes) -> None:
        """FORWARDER_QUERY: an attempt for a client's query, its octets as sent; `zone` is the matched `from`."""
        lane = self._forwarder_query
        if lane.full:
            message = query_message(FORWARDER_QUERY, route, sent_ns, wire, zone)
            for sink in lane.full:
                sink.put(message, query)
        if lane.bare:
            message = query_message(FORWARDER_QUERY, route, sent_ns, None, zone)
            for sink in lane.bare:
                sink.put(message, query)
        if lane.rest or (self._chooser is not None and self._chooser.has_chosen(query)):
            self._give(Event(FORWARDER_QUERY, query, route, sent_ns, wire, 0, None, zone), lane)

    def forwarder_response(
        self,
        query: Query,
        route: Route,
        sent_ns: int,
        sent: bytes | None,
        received_ns: int,
        wire: bytes,
        zone: bytes,
    ) -> None:
        """FORWARDER_RESPONSE: the reply to an attempt; `sent`, what it answers, is needed only if `with_queries`."""
        lane = self._forwarder_response
        if lane.full:
            message = response_message(FORWARDER_RESPONSE, route, sent_ns, received_ns, wire, zone)
            for sink in lane.full:
                sink.put(message, query)
        if lane.bare:
            message = response_message(FORWARDER_RESPONSE, route, sent_ns, received_ns, None, zone)
            for sink in lane.bare:
                sink.put(message, query)
        if lane.rest or (self._chooser is not None and self._chooser.has_chosen(query)):
            self._give(Event(FORWARDER_RESPONSE, query, route, sent_ns, sent, received_ns, wire, zone), lane)

    def _give(self, event: Event, lane: Lane) -> None:
        """To the sinks that need an event, and to the taps that choose."""
        for sink in lane.rest:
            sink.take(event)
        if self._chooser is not None:
            self._chooser.take(event)

    def emit(self, event: Event) -> None:
        """Any message, of any type."""
        for sink in self._sinks[event.type]:
            sink.take(event)
        if self._chooser is not None:
            self._chooser.take(event)
