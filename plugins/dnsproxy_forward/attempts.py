"""The attempts for one query beyond its first: what they gave, what comes next, and who is asked beside whom."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from dnsproxy import wire
from dnsproxy.errors import (
    EDE_NETWORK_ERROR,
    EDE_NO_REACHABLE_AUTHORITY,
    NOERROR,
    NXDOMAIN,
    UpstreamsFailed,
)
from dnsproxy.flight import first_of
from dnsproxy.upstream.exchange import ANSWERED, TIMEOUT, TLS_ERROR, Exchange

if TYPE_CHECKING:
    from dnsproxy.upstream.upstream import Upstream
    from dnsproxy_forward.stanza import FirstAttempt, Stanza

MIN_ATTEMPT_S = 0.005  # less time than this is not worth an attempt
GOOD: Final = (NOERROR, NXDOMAIN)  # what wins while others are under way


class Attempts:
    """One after the other, and beside each other where one is late or several are wanted at once.

    An answer wins if it does without failover; while others are under way it must be good, too. One that is late is
    waited for until its own end. Whatever is still under way when the query is answered has to be left: `leave`.
    """

    def __init__(self, stanza: Stanza, first: FirstAttempt) -> None:
        upstream, stream = first.upstream, first.query.endpoint.stream
        self.stanza = stanza
        self.query = first.query if first.edit is None else first.edit.asked
        self.zone = first.zone
        self.stream = stream
        self.deadline = first.started + stanza.config.deadline
        self.attempt = first.attempt
        self.last_attempt = first.attempt + stanza.attempts - 1
        self.tried = [upstream]
        self.outcomes: list[str] = []
        self.under_way: dict[Exchange, bool] = {}  # whether over a stream
        self.under_way[first] = stream if upstream.stream is None else upstream.stream
        self.first = first
        self.latest: Exchange = first
        self.answer: Exchange | None = None  # the last one with an answer that is not good, or asks for failover
        self.truncated: Exchange | None = None
        self.hedge: Exchange | None = None
        self.look_at = inf  # when those under way are to be looked after
        self.late_at = -inf  # when the first is late, whatever a hedge is for

    async def octets(self) -> bytes:
        """The answer for the client; UpstreamsFailed when there is none."""
        done = next((exchange for exchange in self.under_way if exchange.done), None)
        while True:
            octets = self._look_beside() if done is None else self._judge(done)
            if octets is not None:
                return octets
            done = await self._next_done()

    async def _next_done(self) -> Exchange | None:
        """The next attempt that comes to an end, or None when it is time to look after those that do not."""
        told = await first_of(*self.under_way, until=self.look_at)
        return told if isinstance(told, Exchange) and told.done else None  # else it is late, and says so

    def widen(self, width: int) -> None:
        """Ask so many at once."""
        while len(self.under_way) < width and not self._is_exhausted():
            upstream = self._fresh()
            if upstream is None:
                return
            self._start(upstream)

    def leave(self) -> None:
        """The query is answered, or its client gone."""
        for exchange in self.under_way:
            exchange.leave()

    def _judge(self, exchange: Exchange) -> bytes | None:
        """The octets for the client, or None when there is another attempt to wait for."""
        over_stream = self.under_way.pop(exchange)
        octets: bytes | None = exchange.value
        if octets is None:
            return self._without_reply(exchange, over_stream)
        if octets[2] & wire.TC and not over_stream:
            self.truncated = exchange
            if self._is_late():
                return self._take(exchange)
            self._start(exchange.upstream, by_tcp=True)
            return None
        if self.truncated is not None and exchange.upstream is self.truncated.upstream:
            self.truncated = None  # here is the whole of it
        rcode = wire.rcode_of(octets)
        if rcode in self.stanza.failover:
            self.answer = exchange
            return self._go_on(again=False)
        if self.under_way and rcode not in GOOD:
            self.answer = exchange
            return None
        return self._take(exchange)

    def _take(self, exchange: Exchange) -> bytes:
        """This one has the answer."""
        if exchange.own is not None:
            exchange.tell(exchange.own)
        if exchange is self.hedge:
            self.stanza.counters.hedges_won += 1
        octets: bytes = exchange.value
        return octets

    def _without_reply(self, exchange: Exchange, over_stream: bool) -> bytes | None:
        if exchange.is_again and not self._is_late():
            self.last_attempt += 1  # it has replied: the first time is none of the attempts that may fail
            self._start(exchange.upstream, by_tcp=over_stream)
            return None
        self.outcomes.append(exchange.outcome)
        if self.truncated is not None:
            return None if self.under_way else self._take(self.truncated)
        if exchange.spoofed and not over_stream and not self._is_late():
            self._start(exchange.upstream, by_tcp=True)
            return None
        return self._go_on(again=exchange.outcome != ANSWERED)

    def _go_on(self, again: bool) -> bytes | None:
        """Start the next attempt, with one that was asked before if there is no answer at all and `again` allows it.

        When that cannot be, wait for those under way; in the end the last answer stands.
        """
        if not self._is_exhausted():
            upstream = self._fresh()
            if upstream is None and again and not self.under_way and self.answer is None:
                upstream = self._asked_longest_ago()
            if upstream is not None:
                self._start(upstream)
                return None
        if self.under_way:
            return None
        answer = self.truncated or self.answer
        if answer is not None:
            return self._take(answer)
        if self.latest.own is not None:
            self.latest.tell(self.latest.own)
        raise self._failure()

    def _look_beside(self) -> bytes | None:
        """Those under way are late: another one is asked beside them, if there is one."""
        self.look_at = inf
        if any(exchange.mismatches for exchange in self.under_way):
            return None  # somebody sends wrong replies: every further query would be one more to guess
        upstream = None if self._is_exhausted() else self._fresh()
        if upstream is None or not self.stanza.chooser.any_up:
            return None
        hedging = self.stanza.hedging
        is_hedge = hedging is not None and self.attempt == self.first.attempt and hedging.may()
        if not is_hedge and self.stanza.flights.now < self.late_at:
            self.look_at = self.late_at
            return None
        self._start(upstream)
        if is_hedge:
            self.stanza.counters.hedges += 1
            self.hedge = self.latest
        return None

    def _fresh(self) -> Upstream | None:
        """One that has not been asked."""
        self.stanza.look()
        return self.stanza.chooser.fresh(self.query.shape.folded, self.tried)

    def _asked_longest_ago(self) -> Upstream:
        active = self.stanza.chooser.active
        if not active:
            raise self.stanza.nobody()
        last_asked = {upstream: when for when, upstream in enumerate(self.tried)}
        return min(active, key=lambda upstream: last_asked.get(upstream, -1))

    def _is_exhausted(self) -> bool:
        return self.attempt >= self.last_attempt or self._is_late()

    def _is_late(self) -> bool:
        return self.deadline - self.stanza.flights.now < MIN_ATTEMPT_S

    def _failure(self) -> UpstreamsFailed:
        if TIMEOUT in self.outcomes:
            return UpstreamsFailed("no upstream answered in time", ede_code=EDE_NO_REACHABLE_AUTHORITY)
        if TLS_ERROR in self.outcomes:
            return UpstreamsFailed("no secure connection to an upstream", ede_code=EDE_NO_REACHABLE_AUTHORITY)
        return UpstreamsFailed("upstreams cannot be reached", ede_code=EDE_NETWORK_ERROR)

    def _start(self, upstream: Upstream, by_tcp: bool = False) -> None:
        """Make the next attempt; those under way and this one have their own labels from now on."""
        stanza = self.stanza
        for other in self.under_way:
            other.share()
        over_stream = by_tcp or (self.stream if upstream.stream is None else upstream.stream)
        self.attempt += 1
        self.tried.append(upstream)
        taps = None if stanza.taps is None else stanza.taps.for_query(self.query)
        exchange = self.latest = Exchange(self.query, upstream, self.attempt, self.zone, taps)
        if self.under_way:
            exchange.share()
        self.under_way[exchange] = over_stream
        now = stanza.flights.now
        self.look_at = now + stanza.lateness.of(upstream)
        upstream.ask(exchange, over_stream, min(stanza.config.timeout, self.deadline - now))
