"""Makes the events of a client's queries and gives every event to the sinks that want its type."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dnsproxy.dnstap.events import CLIENT_QUERY, CLIENT_RESPONSE, Event, client_route
from dnsproxy.dnstap.schema import MessageType
from dnsproxy.dnstap.sink import FrameForm, Offer, Sink

if TYPE_CHECKING:
    from dnsproxy.message import Query, Response


class Recorder:
    """The taps of a chain: for each, its frames' form, where they go, and the types that it wants.

    What a query passes four times: compiled with the core, which a plugin's own class cannot be.
    """

    __slots__ = ("_by_type",)

    def __init__(self, taps: Iterable[tuple[frozenset[MessageType], FrameForm, Offer]]) -> None:
        taps = list(taps)
        self._by_type: list[list[Sink]] = [[] for _ in range(max(MessageType) + 1)]
        for type in MessageType:
            offers: dict[FrameForm, tuple[Offer, ...]] = {}
            for wanted, form, offer in taps:  # what has one form is put together once
                if type in wanted:
                    offers[form] = (*offers.get(form, ()), offer)
            self._by_type[type] = [Sink(form, offers[form]) for form in offers]

    def wants(self, type: int) -> bool:
        """Whether any tap wants messages of that type; if none does, nobody need make the event."""
        return bool(self._by_type[type])

    def client_query(self, query: Query) -> None:
        """CLIENT_QUERY, as it arrived."""
        sinks = self._by_type[CLIENT_QUERY]
        if not sinks:
            return
        endpoint = query.endpoint
        address = query.client_sockaddr
        route = endpoint.routes.get(address) or client_route(endpoint, address)
        event = Event(CLIENT_QUERY, query, route, query.received_ns, query.wire)
        for sink in sinks:
            sink.take(event)

    def client_response(self, query: Query, response: Response) -> None:
        """CLIENT_RESPONSE, as it leaves."""
        sinks = self._by_type[CLIENT_RESPONSE]
        if not sinks:
            return
        endpoint = query.endpoint
        address = query.client_sockaddr
        route = endpoint.routes.get(address) or client_route(endpoint, address)
        event = Event(
            CLIENT_RESPONSE, query, route, query.received_ns, None, time.time_ns(), response.wire, None, response.policy
        )
        for sink in sinks:
            sink.take(event)

    def emit(self, event: Event) -> None:
        """Any message, of any type."""
        for sink in self._by_type[event.type]:
            sink.take(event)
