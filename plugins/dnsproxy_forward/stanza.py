"""One `[[forward]]` at work: asks an upstream, shares the answers of identical questions."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

from dnsproxy import wire
from dnsproxy.errors import EDE_OTHER, REFUSED, DeadlineExceeded, QueryError, UpstreamsFailed
from dnsproxy.flight import Pending, Waiter, first_of
from dnsproxy.message import Policy, Query, Response
from dnsproxy.upstream.editing.ecs import Subnets
from dnsproxy.upstream.exchange import TIMEOUT, Exchange
from dnsproxy.upstream.upstream import Changes, Upstream
from dnsproxy_forward.attempts import MIN_ATTEMPT_S, Attempts
from dnsproxy_forward.choosing import Candidate, chooser_of
from dnsproxy_forward.hedging import Hedging
from dnsproxy_forward.timing import DEVIATIONS, Lateness
from dnsproxy_forward.words import Prefixes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnsproxy.flight import Flights
    from dnsproxy.upstream.taps import Taps
    from dnsproxy_forward.config import ForwardConfig

Leaders = dict[object, list[Waiter] | None]  # followers by the question that is in flight
_OVER_LIMIT = Policy(type="forward", rule=b"max_concurrent")


COUNTED = ("refused_max_concurrent", "coalesced", "hedges", "hedges_won", "failfast")


class Counters:
    """What a stanza counts; outlives a reload that leaves the stanza as it was."""

    def __init__(self) -> None:
        self.refused_max_concurrent = 0
        self.coalesced = 0
        self.hedges = 0
        self.hedges_won = 0
        self.failfast = 0


class Stanza:
    """What one `[[forward]]` knows while it works. `zone` is the matched `from`, in wire form and as text."""

    def __init__(self, config: ForwardConfig, flights: Flights) -> None:
        self.config = config
        self.flights = flights
        self.taps: Taps | None = None
        self.upstreams: tuple[Upstream, ...] = ()
        self.chooser = chooser_of(config, flights)
        self.choices: tuple[Upstream, ...] = ()  # what it chooses from
        self.has_others = False  # whether there are several that are up
        self.changes_seen = -1
        self.width = config.parallel_width if config.policy == "parallel" else 1
        self.lateness = Lateness(config.timeout)
        self.hedging = None if config.hedge is None else Hedging(config.hedge)
        self.is_even = False  # whether all choices are equal, and drawn
        self.quick_s = self.lateness.first_s
        self.quick_ns = 0.0 if self.hedging is not None else self.quick_s * 1e9
        self.is_choosy = bool(config.failover) or self.hedging is not None
        self.first_timeout_s = min(config.timeout, config.deadline)
        flights.timers.fifo(self.first_timeout_s)
        self.attempts = config.attempts(len(config.to))
        self.failover = frozenset(config.failover)
        self.passes_on = bool(config.next) or config.next_on_nodata
        self.max_concurrent = config.max_concurrent or 1 << 30
        self.subnets = Subnets(*config.ecs.bits) if isinstance(config.ecs, Prefixes) else None
        self.in_flight = 0
        self.counters = Counters()
        self.leaders: tuple[Leaders, Leaders] = ({}, {})  # by UDP, by stream

    def use(self, candidates: Sequence[Candidate]) -> None:
        """Ask these from now on."""
        self.chooser.use(candidates)
        self.upstreams = tuple(candidate.upstream for candidate in candidates)
        if len(candidates) > 1:
            self.flights.timers.fifo(self.lateness.first_s)
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
        if query.partition or shape.ecs or self.subnets is not None:
            key = self._narrow_key(query)
        timeout_s = self.first_timeout_s if started is None else self._time_left(started)
        if started is None:
            started = self.flights.now
        if key in leaders:
            return self._follow(query, zone, leaders, key, attempt, started)
        if self.changes_seen != Changes.number:
            self.look()
        choices = self.choices
        if len(choices) != 1 and not self.is_even:
            upstream = self._first(shape.folded)
        else:  # as the chooser would, without a call: 0.1 µs
            upstream = choices[0 if len(choices) == 1 else int(random.random() * len(choices))]  # noqa: S311  no secret
        leaders[key] = None
        self.in_flight += 1
        taps = None if self.taps is None else self.taps.for_query(query)
        if self.has_others:
            first = self._patient(query, upstream, attempt, zone, taps)
            timeout_s = self._patience(upstream, timeout_s)
        else:
            first = FirstAttempt(query, upstream, attempt, zone, taps)
        first.stanza, first.started = self, started
        first.leaders, first.key = leaders, key
        upstream.ask(first, stream if upstream.stream is None else upstream.stream, timeout_s)
        return first if self.width == 1 else self.go_on(first)

    def _narrow_key(self, query: Query) -> object:
        """What a question is known by that not every client may share."""
        shape = query.shape
        if shape.ecs:
            return object()
        key: object = shape.key
        if self.subnets is not None:
            key = (self.subnets.of_client(query.client_sockaddr), key)
        return (query.partition, key) if query.partition else key

    def _patient(
        self, query: Query, upstream: Upstream, attempt: int, zone: tuple[bytes, str], taps: Taps | None
    ) -> FirstAttempt:
        """A first attempt that goes on though others are asked beside it."""
        patient = PatientAttempt(query, upstream, attempt, zone, taps)
        patient.asked_at = self.flights.now
        patient.is_late = False
        return patient

    def _patience(self, upstream: Upstream, timeout_s: float) -> float:
        """How long a first attempt of at most `timeout_s` may take until others are asked beside it."""
        if timeout_s > self.quick_s and 0 < upstream.rtt_ns + DEVIATIONS * upstream.rttvar_ns <= self.quick_ns:
            return self.quick_s  # as most of them are
        late_s = self.lateness.of(upstream)
        if self.hedging is not None:
            hedge_s = self.hedging.after_s()
            if hedge_s is not None and hedge_s < timeout_s:
                late_s = hedge_s
        return min(late_s, timeout_s)

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
        """After a first attempt that may not do, or beside one: others, as long as time and attempts last."""
        leaders, first.leaders = first.leaders, None  # from here on they are told below, whatever becomes of it
        response = error = None
        attempts = Attempts(self, first)
        try:
            if isinstance(first, PatientAttempt):
                attempts.late_at = first.asked_at + self.lateness.of(first.upstream)
            if self.width > 1:
                attempts.widen(self.width)
            response = Response(await attempts.octets())
            return response
        except UpstreamsFailed as exc:
            if TIMEOUT not in attempts.outcomes:
                error = exc
            raise
        finally:
            attempts.leave()
            if self.hedging is not None and isinstance(first, PatientAttempt):
                self.hedging.took(self.flights.now - first.asked_at)
            if leaders is not None:
                self.settle(first, leaders, response, error)

    def settle(
        self, first: FirstAttempt, leaders: Leaders, response: Response | None, error: QueryError | None
    ) -> None:
        """A question is no longer in flight: tell those who joined it."""
        self.in_flight -= 1
        followers = leaders.pop(first.key)
        if followers:
            _tell(followers, first.query, response, error)

    def look(self) -> None:
        """See whether upstreams have gone down or come up."""
        if self.changes_seen != Changes.number:
            self.changes_seen = Changes.number
            chooser = self.chooser
            chooser.look()
            self.choices = chooser.active
            self.has_others = chooser.any_up and len(self.choices) > 1
            self.is_even = len(self.choices) > 1 and chooser.is_even

    def nobody(self) -> UpstreamsFailed:
        """What to raise when there is no upstream to ask; it is counted when they are down."""
        if self.upstreams:
            self.counters.failfast += 1
        return self.chooser.nobody()

    def _first(self, folded: bytes) -> Upstream:
        """The upstream that the policy asks first."""
        if not self.choices:
            raise self.nobody()
        return self.chooser.first(folded, len(self.leaders[0]) + len(self.leaders[1]))


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
        if octets is None or octets[2] & wire.TC or (self.stanza.is_choosy and not self.will_do(octets)):
            return self.stanza.go_on(self)
        response = Response(octets)
        self.release(response, None)
        return response

    def will_do(self, octets: bytes) -> bool:
        """Whether a whole answer needs no failover."""
        return wire.rcode_of(octets) not in self.stanza.failover

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
            self.stanza.settle(self, leaders, response, error)


class PatientAttempt(FirstAttempt):
    """One that is waited for when it is late, beside others: its first timer only says that it is."""

    __slots__ = ("asked_at", "is_late")

    asked_at: float
    is_late: bool

    def will_do(self, octets: bytes) -> bool:
        """As FirstAttempt.will_do; hedges learn what it took."""
        if not FirstAttempt.will_do(self, octets):
            return False
        stanza = self.stanza
        if stanza.hedging is not None:
            stanza.hedging.took(stanza.flights.now - self.asked_at)
        return True

    def __await__(self) -> Generator[Any, Any, Any]:
        if not self.done and not self.is_late:
            yield self
        if self.error is not None:
            raise self.error
        return (yield from self.conclude().__await__())

    def expire(self) -> None:
        """It is late, and whoever waits for it goes on; or its own time is up."""
        stanza, flights = self.stanza, self.stanza.flights
        ends_at = min(self.asked_at + stanza.first_timeout_s, self.started + stanza.config.deadline)
        if self.is_late or flights.now >= ends_at:
            Exchange.expire(self)
            return
        self.is_late = True
        self.timer = None
        flights.timers.at(ends_at, self)
        flight, self.flight = self.flight, None
        if flight is not None:
            flight.ready.append(flight)
        elif self.watcher is not None:
            self.watcher.set(self)


def _tell(followers: list[Waiter], query: Query, response: Response | None, error: QueryError | None) -> None:
    """Give the leader's followers what came of it; without either, as when its time ran out, one of them leads on."""
    if response is not None:
        labels = {label: value for label, value in query.metadata.items() if label.startswith("forward/")}
        for follower in followers:
            follower.set((response, labels))
    elif error is not None:
        for follower in followers:
            follower.fail(error)
    else:
        for follower in followers:
            follower.set(None)
