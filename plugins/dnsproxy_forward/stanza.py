"""One `[[forward]]` at work: picks upstreams, tries again, shares the answers of identical questions."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from dnsproxy import wire
from dnsproxy.errors import (
    EDE_NETWORK_ERROR,
    EDE_NO_REACHABLE_AUTHORITY,
    EDE_OTHER,
    REFUSED,
    DeadlineExceeded,
    QueryError,
    UpstreamsFailed,
)
from dnsproxy.flight import Pending, Waiter, first_of
from dnsproxy.message import Policy, Query, Response
from dnsproxy.upstream.exchange import TIMEOUT, Exchange
from dnsproxy.upstream.upstream import Changes, Upstream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnsproxy.flight import Flights
    from dnsproxy.upstream.taps import Taps
    from dnsproxy_forward.config import ForwardConfig

MIN_ATTEMPT_S = 0.005  # less time than this is not worth an attempt
Leaders = dict[object, list[Waiter] | None]  # followers by the question that is in flight
_OVER_LIMIT = Policy(type="forward", rule=b"max_concurrent")


class Counters:
    """What a stanza counts; outlives a reload that leaves the stanza as it was."""

    def __init__(self) -> None:
        self.refused_max_concurrent = 0
        self.coalesced = 0


class Stanza:
    """What one `[[forward]]` knows while it works. `zone` is the matched `from`, in wire form and as text."""

    def __init__(self, config: ForwardConfig, flights: Flights) -> None:
        self.config = config
        self.flights = flights
        self.taps: Taps | None = None
        self.upstreams: tuple[Upstream, ...] = ()
        self.choices: tuple[Upstream, ...] = ()  # those that are up, or all when none is
        self.changes_seen = -1
        self.next_choice = 0
        self.first_timeout_s = min(config.timeout, config.deadline)
        flights.timers.fifo(self.first_timeout_s)
        self.attempts = config.attempts(len(config.to))
        self.failover = frozenset(config.failover)
        self.max_concurrent = config.max_concurrent or 1 << 30
        self.in_flight = 0
        self.counters = Counters()
        self.leaders: tuple[Leaders, Leaders] = ({}, {})  # by UDP, by stream

    def use(self, upstreams: Sequence[Upstream]) -> None:
        """Ask these from now on."""
        self.upstreams = tuple(upstreams)
        self.attempts = self.config.attempts(len(self.upstreams))
        self.changes_seen = -1

    def resolve(
        self, query: Query, zone: tuple[bytes, str], attempt: int = 1, started: float | None = None
    ) -> Awaitable[Response]:
        """The answer of an upstream, joined with an identical question in flight (RFC 5452 section 5).

        `attempt` numbers the first attempt, `started` is when the query began; UpstreamsFailed when nobody answers.
        """
        if self.in_flight >= self.max_concurrent:
            return self._refuse(query)
        shape = query.shape
        stream = query.endpoint.stream
        leaders = self.leaders[stream]
        key: object = shape.key
        if query.partition or shape.ecs:
            key = object() if shape.ecs else (query.partition, key)
        timeout_s = self.first_timeout_s
        if started is None:
            started = self.flights.now
        else:
            timeout_s = self._time_left(started)
        if key in leaders:
            return self._follow(query, zone, leaders, key, attempt, started)
        choices = self.choices
        alone = len(choices) == 1 and self.changes_seen == Changes.number
        upstream = choices[0] if alone else self._first()
        leaders[key] = None
        self.in_flight += 1
        taps = None if self.taps is None else self.taps.for_query(query)
        first = FirstAttempt(query, upstream, attempt, zone, taps)
        first.stanza = self
        first.leaders = leaders
        first.key = key
        first.started = started
        upstream.ask(first, stream if upstream.stream is None else upstream.stream, timeout_s)
        return first

    def _time_left(self, started: float) -> float:
        """For the first attempt for a query that began earlier; DeadlineExceeded when it is not worth one."""
        left_s = started + self.config.deadline - self.flights.now
        if left_s < MIN_ATTEMPT_S:
            raise DeadlineExceeded("no upstream answered in time")
        return min(left_s, self.first_timeout_s)

    def _refuse(self, query: Query) -> Response:
        self.counters.refused_max_concurrent += 1
        response = query.respond(REFUSED, EDE_OTHER, "too many queries in flight")
        response.policy = _OVER_LIMIT
        return response

    async def _follow(
        self,
        query: Query,
        zone: tuple[bytes, str],
        leaders: Leaders,
        key: object,
        attempt: int,
        started: float,
    ) -> Response:
        """Wait for the leader's answer; when it has none, somebody else leads, perhaps this query."""
        deadline = started + self.config.deadline
        self.in_flight += 1
        self.counters.coalesced += 1
        try:
            while key in leaders:
                waiter = Waiter()
                followers = leaders[key]
                if followers is None:
                    followers = leaders[key] = []
                followers.append(waiter)
                if await first_of(waiter, until=deadline) is None:
                    raise DeadlineExceeded("no upstream answered in time")
                shared: tuple[Response, dict[str, object]] | None = await waiter
                if shared is not None:
                    query.metadata.update(shared[1])
                    return shared[0]
        finally:
            self.in_flight -= 1
        return await self.resolve(query, zone, attempt, started)

    async def go_on(self, first: FirstAttempt) -> Response:
        """After a first attempt that may not do: others, as long as time and attempts last."""
        response = error = None
        try:
            attempts = _Attempts(self, first)
            exchange: Exchange = first
            octets = attempts.judge(first, first.value)
            while octets is None:
                exchange = attempts.again()
                octets = attempts.judge(exchange, await exchange)
            response = Response(octets)
            return response
        except QueryError as exc:
            error = exc
            raise
        finally:
            first.release(response, error)

    def _first(self) -> Upstream:
        """The upstream that the policy asks first."""
        if self.changes_seen != Changes.number:
            self._look_at_health()
        choices = self.choices
        if len(choices) == 1:
            return choices[0]
        policy = self.config.policy
        if policy == "sequential" and choices:
            return choices[0]
        if policy == "round_robin" and choices:
            self.next_choice += 1
            return choices[self.next_choice % len(choices)]
        if not choices:
            raise UpstreamsFailed("no upstream is known")
        return choices[int(random.random() * len(choices))]  # noqa: S311  spreads load, keeps no secret

    def another(self, tried: Sequence[Upstream]) -> Upstream:
        """The upstream to ask after those in `tried`: a new one that is up, else the one tried longest ago."""
        if self.changes_seen != Changes.number:
            self._look_at_health()
        fresh = [upstream for upstream in self.choices if upstream not in tried]
        if fresh:
            return fresh[0] if self.config.policy == "sequential" else random.choice(fresh)  # noqa: S311  as above
        last_tried = {upstream: when for when, upstream in enumerate(tried)}
        return min(self.choices, key=lambda upstream: last_tried.get(upstream, -1))

    def _look_at_health(self) -> None:
        self.changes_seen = Changes.number
        self.choices = tuple(upstream for upstream in self.upstreams if upstream.up) or self.upstreams


class FirstAttempt(Exchange):
    """The first attempt for a query, and the usual answer: no coroutine runs unless it takes more."""

    __slots__ = ("key", "leaders", "stanza", "started")

    stanza: Stanza
    leaders: Leaders | None  # where the question is registered as in flight, until `release`
    key: object
    started: float

    def conclude(self) -> Response | Coroutine[object, object, Response]:
        """The reply, if it will do."""
        octets: bytes | None = self.value
        if octets is None or octets[2] & wire.TC or self.stanza.failover:
            return self.stanza.go_on(self)
        response = Response(octets)
        self.release(response, None)
        return response

    def __await__(self) -> Generator[Any, Any, Any]:
        return Pending.__await__(self)

    def cancel(self) -> None:
        """The client's time is over; somebody else may lead those with the same question."""
        Exchange.cancel(self)
        self.release(None, None)

    def unclaimed(self) -> None:
        """Whoever asked has not waited: the next one with that question is not to wait for it either."""
        self.release(None, None)

    def release(self, response: Response | None, error: QueryError | None) -> None:
        """The question is no longer in flight: tell those who joined it."""
        leaders, self.leaders = self.leaders, None
        if leaders is not None:
            self.stanza.in_flight -= 1
            followers = leaders.pop(self.key)
            if followers:
                _tell(followers, self.query, response, error)


class _Attempts:
    """The attempts for one query beyond its first: what they gave, and what comes next."""

    def __init__(self, stanza: Stanza, first: FirstAttempt) -> None:
        self.stanza = stanza
        self.query = first.query
        self.zone = first.zone
        self.first_attempt = first.attempt
        self.stream = stream = first.query.endpoint.stream
        self.deadline = first.started + stanza.config.deadline
        self.attempt = first.attempt
        self.tried = [first.upstream]
        self.outcomes: list[str] = []
        self.answer: bytes | None = None  # the last one that asked for failover
        self.truncated: bytes | None = None
        self.by_tcp = False  # the next attempt asks the same upstream by TCP
        self.over_stream = stream if first.upstream.stream is None else first.upstream.stream

    def judge(self, exchange: Exchange, octets: bytes | None) -> bytes | None:
        """The octets for the client, or None when another attempt is to be made; UpstreamsFailed when none can be."""
        self.by_tcp = False
        if octets is None:
            return self._without_reply(exchange)
        if octets[2] & wire.TC and not self.over_stream:
            self.truncated = octets
            self.by_tcp = True
            return octets if self._late() else None
        self.truncated = None
        if wire.rcode_of(octets) not in self.stanza.failover:
            return octets
        self.answer = octets
        return octets if self._all_tried() or self._exhausted() else None

    def _without_reply(self, exchange: Exchange) -> bytes | None:
        if self.truncated is not None:
            return self.truncated
        self.outcomes.append(exchange.outcome)
        if exchange.spoofed and not self.over_stream and not self._late():
            self.by_tcp = True
            return None
        if not self._exhausted():
            return None
        if self.answer is not None:
            return self.answer
        raise self._failure()

    def _all_tried(self) -> bool:
        return all(upstream in self.tried for upstream in self.stanza.choices)

    def _exhausted(self) -> bool:
        return self.attempt - self.first_attempt + 1 >= self.stanza.attempts or self._late()

    def _late(self) -> bool:
        return self.deadline - self.stanza.flights.now < MIN_ATTEMPT_S

    def _failure(self) -> UpstreamsFailed:
        if any(outcome == TIMEOUT for outcome in self.outcomes):
            return UpstreamsFailed("no upstream answered in time", ede_code=EDE_NO_REACHABLE_AUTHORITY)
        return UpstreamsFailed("upstreams cannot be reached", ede_code=EDE_NETWORK_ERROR)

    def again(self) -> Exchange:
        """Start the next attempt."""
        stanza = self.stanza
        upstream = self.tried[-1] if self.by_tcp else stanza.another(self.tried)
        self.over_stream = self.by_tcp or (self.stream if upstream.stream is None else upstream.stream)
        self.attempt += 1
        self.tried.append(upstream)
        taps = None if stanza.taps is None else stanza.taps.for_query(self.query)
        exchange = Exchange(self.query, upstream, self.attempt, self.zone, taps)
        left_s = self.deadline - stanza.flights.now
        upstream.ask(exchange, self.over_stream, min(stanza.config.timeout, left_s))
        return exchange


def _tell(followers: list[Waiter], query: Query, response: Response | None, error: QueryError | None) -> None:
    """Give the leader's followers what came of it; when its time ran out, one of them leads on."""
    if response is not None:
        labels = {label: value for label, value in query.metadata.items() if label.startswith("forward/")}
        for follower in followers:
            follower.set((response, labels))
    elif error is not None and error.ede_code == EDE_NETWORK_ERROR:
        for follower in followers:
            follower.fail(error)
    else:
        for follower in followers:
            follower.set(None)
