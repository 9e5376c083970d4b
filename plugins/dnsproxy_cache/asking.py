"""Ways to have the rest of the chain asked: for a client, in place of one, and ahead of the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from dnsproxy.errors import QueryError
from dnsproxy.flight import Cancelled, Pending, Waiter
from dnsproxy.message import Query, Response
from dnsproxy.shape import shape_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnsproxy.flight import Flights
    from dnsproxy.message import Endpoint
    from dnsproxy.plugin import Handler


class Learner(Protocol):
    """The cache, as those see it who ask for it."""

    next: Handler

    def learn(self, query: Query, key: bytes, response: Response) -> None:
        """The rest of the chain has answered the query with that key."""


class Miss(Pending):
    """The answer to come of the rest of the chain, that the cache learns from as it passes: no coroutine runs."""

    __slots__ = ("inner", "key", "learner", "query")

    def __init__(self, learner: Learner, query: Query, key: bytes, inner: Pending) -> None:
        self.done = inner.done
        self.value = self.error = self.flight = self.watcher = None
        self.learner = learner
        self.query = query
        self.key = key
        self.inner = inner
        inner.watcher = self

    def conclude(self) -> Any:
        """What the rest of the chain concludes."""
        inner = self.inner
        inner.watcher = None  # it and this hold each other: freed at once, not by the collector
        if inner.error is not None:
            raise inner.error
        answer = inner.conclude()
        if type(answer) is not Response:
            return self._learn_later(answer)
        self.learner.learn(self.query, self.key, answer)
        return answer

    def unclaimed(self) -> None:
        """Whoever asked has not waited: nor does the rest of the chain get to conclude."""
        self.inner.watcher = None
        self.inner.unclaimed()

    async def _learn_later(self, answer: Any) -> Response:
        response: Response = await answer
        self.learner.learn(self.query, self.key, response)
        return response

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
        Pending.cancel(self)
        self.inner.watcher = None
        self.inner.cancel()


class Errand(Waiter):
    """A query asked in a flight of its own, so that who waits for it may go on without: a Response or a QueryError."""

    __slots__ = ("flight_of_its_own",)

    def __init__(self, flights: Flights, ask: Handler, query: Query) -> None:
        super().__init__()
        self.flight_of_its_own = flights.spawn(self._run(ask, query), f"asking for {query.name}")

    async def _run(self, ask: Handler, query: Query) -> None:
        if self.done:
            return
        try:
            self.set(await ask(query))
        except QueryError as exc:
            self.fail(exc)

    def cancel(self) -> None:
        """End what is under way."""
        if self.done:
            return
        Waiter.cancel(self)
        if self.flight_of_its_own.waiter is not None:
            self.flight_of_its_own.throw(Cancelled())


class Again:
    """What it takes to ask a client's query again when it has long been answered."""

    __slots__ = ("client_sockaddr", "endpoint", "key", "octets", "partition")

    def __init__(self, query: Query, key: bytes) -> None:
        self.key = key
        self.octets = query.wire
        self.client_sockaddr = query.client_sockaddr
        self.endpoint: Endpoint = query.endpoint
        self.partition = query.partition

    def query(self, received_ns: int) -> Query:
        """The same question with an id of its own: none of the client's messages."""
        query = Query(self.octets, shape_of(self.octets), self.client_sockaddr, self.endpoint, received_ns)
        query.partition = self.partition
        query.metadata["cache/state"] = "prefetch"
        return query


class Renewal(Waiter):
    """The timer of a popular entry's prefetch."""

    __slots__ = ("again", "renew")

    def __init__(self, again: Again, renew: Callable[[Again], None]) -> None:
        super().__init__()
        self.again = again
        self.renew = renew

    def expire(self) -> None:
        """It is time."""
        self.done = True
        self.renew(self.again)
