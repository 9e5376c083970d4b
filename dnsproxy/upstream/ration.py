"""How many queries a connection is good for where an upstream closes after a few answers; and who waits for one."""

from __future__ import annotations

import time
from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING

from dnsproxy.dnstap.events import Route
from dnsproxy.upstream.exchange import CANCELLED, CLOSED, TLS_ERROR

if TYPE_CHECKING:
    from dnsproxy.upstream.exchange import Exchange
    from dnsproxy.upstream.tcp import TcpConnection, TcpPool

ENDLESS = 1 << 60  # no number is known: connections last
MANY = 64  # answers of a connection from which on its end is no trouble: what goes again finds room on a new one
CONNECTIONS = 8  # per upstream that closes them
WAITING = 16_384  # exchanges for which there is no connection yet
LINGER_S = 0.25  # within which a server that closes has closed; a lost FIN is sent again after 0.2 s
FADE_S = 30.0  # then it is tried again: that costs a few queries that are sent twice


class Ration:
    """For one pool: what its `limit` is, and the queue of those who wait while all connections have had theirs.

    The limit is the number of queries that a connection gets in its life. It is learned from a connection that ends
    under queries although they were sent before its last answer. It grows when a connection outlives it: to make sure,
    one that has given its number of answers, the witness, is left open without a further query. It fades, too.
    """

    def __init__(self, pool: TcpPool) -> None:
        self.pool = pool
        self.flights = pool.flights
        self.route = Route.of(pool.protocol, None, pool.upstream.address)
        self.again: OrderedDict[Exchange, float] = OrderedDict()  # lost, with when: they go on newer connections
        self.waiting: OrderedDict[Exchange, int] = OrderedDict()  # with the wall clock when they came
        self.fades_at = -inf
        self.witness: TcpConnection | None = None
        self.witnessed_at = inf  # when it will have outlived its number
        self.done = True  # no timer is running

    def learn(self, answered: int, lost: int) -> None:
        """A connection has given that many answers and ended under that many queries, sent before the last answer."""
        if answered >= MANY and answered >= lost:
            return
        self.pool.limit = min(self.pool.limit, answered)
        self.fades_at = self.flights.now + FADE_S

    def send(self, exchange: Exchange) -> None:
        """Send an exchange on a connection that is still good for it, now or as soon as there is one."""
        if self.flights.now >= self.fades_at and not self.again:
            self._lift()
            self.pool.send(exchange)
        elif len(self.waiting) >= WAITING:
            exchange.failed(CLOSED)
        else:
            self.waiting[exchange] = time.time_ns()
            exchange.carrier = self
            self.serve()

    def resend(self, exchanges: list[Exchange]) -> None:
        """The same on connections that are newer than this, before all others."""
        for exchange in exchanges:
            self.again[exchange] = self.flights.now
            exchange.carrier = self

    def forget(self, exchange: Exchange) -> None:
        """The exchange is over before its turn came."""
        self.again.pop(exchange, None)
        came_ns = self.waiting.pop(exchange, 0)
        if came_ns:  # the upstream's health looks whether others were answered since: then it is only busy
            exchange.sent_ns = came_ns

    def serve(self) -> None:
        """Give connections what they are still good for, and new ones what is left: first what goes again."""
        while self.again and (ready := self._ready(next(iter(self.again.values())))) is not None:
            ready.take(self.again.popitem(last=False)[0])
        while self.waiting and (ready := self._ready(-inf)) is not None:
            ready.take(self.waiting.popitem(last=False)[0])
        while (self.again or self.waiting) and self._has_room():
            fresh = self.pool.open()
            if fresh is None:
                self._fail(TLS_ERROR)
                return
            while fresh.given < self.pool.limit and (queue := self.again or self.waiting):
                fresh.take(queue.popitem(last=False)[0])

    def _ready(self, since: float) -> TcpConnection | None:
        """The least busy of those, begun since then, that are good for another query."""
        now, limit = self.flights.now, self.pool.limit
        ready = [
            one for one in self.pool.connections if one.given < limit and one.began_at >= since and one.is_usable(now)
        ]
        return min(ready, key=lambda one: one.in_flight, default=None)

    def _has_room(self) -> bool:
        if self.flights.now < self.pool.surplus_from:
            return not self.pool.connections
        return len(self.pool.connections) < CONNECTIONS

    def spent(self, connection: TcpConnection) -> None:
        """It has given as many answers as any is good for, or more."""
        if connection.done:
            return
        if connection.answered > self.pool.limit:
            self._raise(connection.answered)
        if connection.exchanges or connection is self.witness or connection.answered < self.pool.limit:
            return
        if self.witness is None:
            self._watch(connection)
        else:
            connection.lose(CLOSED)

    def _watch(self, connection: TcpConnection) -> None:
        self.witness = connection
        self.witnessed_at = self.flights.now + LINGER_S
        if self.done:
            self.done = False
            self.flights.timers.at(self.witnessed_at, self)

    def expire(self) -> None:
        """Its timer: a witness that stands until now has outlived its number."""
        if self.witness is not None and self.flights.now < self.witnessed_at:
            self.flights.timers.at(self.witnessed_at, self)
            return
        self.done = True
        if self.witness is not None:
            self.witness = None
            self._raise(2 * self.pool.limit)

    def _raise(self, limit: int) -> None:
        if limit >= MANY:
            self._lift()
        else:
            self.pool.limit = limit
            self.serve()

    def _lift(self) -> None:
        """There is no limit any more: whoever waits goes the usual way."""
        self.pool.limit = ENDLESS
        self.witness = None
        again, self.again = self.again, OrderedDict()
        waiting, self.waiting = self.waiting, OrderedDict()
        self.pool.resend(list(again))
        for exchange in waiting:
            self.pool.send(exchange)

    def ended(self, connection: TcpConnection, outcome: str) -> None:
        """A connection is over. If it never stood, and no other one does, nobody needs to wait any longer."""
        if connection is self.witness:
            self.witness = None
        if not connection.is_established and not any(one.is_established for one in self.pool.connections):
            self._fail(outcome)
        self.serve()

    def close(self) -> None:
        """Nobody is served any more."""
        self._fail(CANCELLED)

    def _fail(self, outcome: str) -> None:
        for exchange in [*self.again, *self.waiting]:
            exchange.failed(outcome)
