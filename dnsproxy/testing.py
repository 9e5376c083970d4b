"""For tests of a plugin alone: queries as they would arrive, and a rest of the chain that answers as told."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any

import dns.message
import dns.rrset

from dnsproxy.address import Address
from dnsproxy.errors import REFUSED
from dnsproxy.message import Endpoint, Query, Response
from dnsproxy.shape import shape_of

CLIENT = "192.0.2.7"
LISTENER = Address.of("192.0.2.53", 53)


def make_query(
    name: str = "www.example.org.", qtype: str = "A", *, client: str = CLIENT, protocol: str = "UDP", **more: Any
) -> Query:
    """A query that has just come in; `more` goes to `dns.message.make_query`: `want_dnssec`, `use_edns`, `id`, …

    `query.run` runs its function right there, so a test of it is a trio test that awaits `plugin.handle(query)`.
    """
    octets = dns.message.make_query(name, qtype, **more).to_wire()
    sockaddr = Address.of(client, 40_212).sockaddr
    query = Query(octets, shape_of(octets), sockaddr, Endpoint(protocol, LISTENER), time.time_ns())
    query.flight = _Ground()
    return query


class Canned:
    """The rest of a chain: answers every query with the same records, or by a function of the query; remembers them.

    `plugin.next = Canned("300 IN A 192.0.2.1")`; without records it says REFUSED, as the end of a chain does.
    """

    def __init__(self, *records: str, by: Callable[[Query], Response] | None = None) -> None:
        self.records = records
        self.by = by
        self.queries: list[Query] = []

    def __call__(self, query: Query) -> Response:
        self.queries.append(query)
        if self.by is not None:
            return self.by(query)
        if not self.records:
            return query.respond(REFUSED)
        message = dns.message.make_response(query.message)
        for record in self.records:
            ttl, qclass, qtype, data = record.split(None, 3)
            message.answer.append(dns.rrset.from_text(query.name, int(ttl), qclass, qtype, data))
        return Response.from_message(message)


def answer_of(answer: Awaitable[Response]) -> Response:
    """What `plugin.handle(query)` comes to without waiting for anything; AssertionError when it waits."""
    steps: Generator[Any, None, Response] = answer.__await__()
    try:
        waiting = next(steps)
    except StopIteration as stop:
        response: Response = stop.value
        return response
    steps.close()
    raise AssertionError(f"the plugin waits for {waiting!r}")


class _Ground:
    """Stands in for a flight: what should run in a task of its own runs right there."""

    async def run(self, async_fn: Callable[..., Awaitable[Any]], args: tuple[object, ...]) -> Any:
        return await async_fn(*args)
