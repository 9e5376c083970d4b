"""A cache on a bench: its chain, its clock, its upstream; what tests of it have in common."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

import dns.message
import dns.rrset
from dnsproxy_cache import Cache, CacheConfig
from dnsproxy_cache.store import Store

from dnsproxy.errors import QueryError, UpstreamsFailed
from dnsproxy.flight import Flights
from dnsproxy.message import Query, Response, conform
from dnsproxy.testing import Canned, answer_of, make_query

T = TypeVar("T")
A = "300 IN A 192.0.2.1"
SOA = "example.org. 600 IN SOA ns.example.org. hostmaster.example.org. 1 2 3 4 60"
START_S = 1000.25  # not a whole second: nothing may depend on that


class Server:
    """The process around the chain, as far as a cache needs it."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.flights = Flights()
        self.flights.now = START_S
        self.leased: dict[Hashable, Any] = {}

    def lease(self, key: Hashable, factory: Callable[[], T]) -> T:
        if key not in self.leased:
            self.leased[key] = factory()
        thing: T = self.leased[key]
        return thing


class Bench:
    """A cache before `upstream`, which answers with these records; time passes when told."""

    def __init__(self, *records: str, server: Server | None = None, **options: Any) -> None:
        self.server = server or Server()
        self.flights = self.server.flights
        self.upstream = Canned(*records)
        self.cache = Cache([CacheConfig(**options)])
        self.cache.next = self.upstream
        self.cache.bind([self.cache], self.server)  # type: ignore[arg-type]
        self.cache.shelf.keeper = self.cache.refresher

    @property
    def store(self) -> Store:
        return self.cache.store

    @property
    def asked(self) -> int:
        """Queries that got past the cache."""
        return len(self.upstream.queries)

    def ask(self, query: Query) -> dns.message.Message:
        """What the client gets, at once."""
        return dns.message.from_wire(self.octets(query))

    def octets(self, query: Query) -> bytes:
        return conform(query, answer_of(self.cache.handle(query)).wire)

    def launch(self, query: Query) -> list[Response | QueryError]:
        """Ask as a listener does; what comes of it is in the list some day."""
        outcome: list[Response | QueryError] = []

        async def fly() -> None:
            try:
                outcome.append(await self.cache.handle(query))
            except QueryError as exc:
                outcome.append(exc)

        self.flights.spawn(fly(), "a test's query")
        self.flights.drain()
        return outcome

    def wait(self, seconds: float) -> None:
        """Let time pass: timers fire, flights go on."""
        end = self.flights.now + seconds
        while (soonest := self.flights.timers.soonest()) <= end:
            self.flights.now = soonest
            self.flights.timers.fire(soonest)
            self.flights.drain()
        self.flights.now = end
        self.flights.drain()


def answer(query: Query, *sections: list[str], rcode: int = 0, flags: int = 0) -> Response:
    """A response with these records in its answer, authority and additional sections."""
    message = dns.message.make_response(query.message)
    message.set_rcode(dns.rcode.Rcode(rcode))
    message.flags |= flags
    for section, lines in zip((message.answer, message.authority, message.additional), sections, strict=False):
        section.extend(dns.rrset.from_text(*record(line)) for line in lines)
    return Response.from_message(message)


def record(line: str) -> tuple[str, int, str, str, str]:
    """`owner TTL class type data` as dnspython wants it."""
    owner, ttl, qclass, qtype, data = line.split(None, 4)
    return owner, int(ttl), qclass, qtype, data


def ttls(message: dns.message.Message) -> list[int]:
    """Of all records, section by section."""
    return [rrset.ttl for section in message.sections[1:] for rrset in section]


def edns(**more: Any) -> Query:
    """A query with an OPT."""
    return make_query(use_edns=0, **more)


def state(query: Query) -> object:
    """What templates see as cache/state."""
    return query.metadata.get("cache/state")


def fail(_query: Query) -> Awaitable[Response]:
    """The rest of a chain whose upstreams do not answer."""
    raise UpstreamsFailed("gone")
