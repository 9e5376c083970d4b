"""One HTTP/2 connection to a DoH upstream: exchanges as streams, from its handshake to its loss."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Final

from dnsproxy.dnstap.events import Route
from dnsproxy.dnstap.schema import HttpProtocol
from dnsproxy.upstream.exchange import CLOSED, TIMEOUT, TLS_ERROR, Exchange
from dnsproxy.upstream.http.http2 import ALPN, Broken, Http2, Http2Error, Reply, Sent
from dnsproxy.upstream.http.messages import MESSAGE_ID, Aged
from dnsproxy.upstream.link import Link

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnsproxy.upstream.http.http2 import Event
    from dnsproxy.upstream.http.pool import HttpsPool

OUT_BOUND: Final = 4 * 1024 * 1024  # octets queued on a connection that does not move: it is given up
PATIENCE: Final = 0.25  # of `timeout` for connecting and TLS; then what waits has a second connection to hope for
SILENT_S: Final = 0.25  # that a query was given up after, without any sign of life: then one is asked for
GIVE_UP_S: Final = 1.0  # and the connection is over when none comes


class Alarm:
    """Calls a function at a time; `done` is set where that is no longer wanted."""

    __slots__ = ("call", "done")

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call
        self.done = False

    def expire(self) -> None:
        """The time has come."""
        self.done = True
        self.call()


class HttpsConnection:
    """Exchanges wait in `waiting` until it stands and the peer takes another stream, then they are in `exchanges`."""

    def __init__(self, pool: HttpsPool) -> None:
        self.pool = pool
        self.upstream = pool.upstream
        self.options = pool.upstream.options
        self.flights = pool.flights
        self.link = Link(self, pool.server, self.options, pool.trust, pool.refusals)
        self.http = Http2(pool.streams_at_most)
        self.waiting: dict[Exchange, None] = {}
        self.exchanges: dict[int, Exchange] = {}
        self.streams: dict[Exchange, tuple[int, float]] = {}  # and when they began
        self.stands = self.touched = self.closed = False
        self.was_used = False  # a reply has come: losing it now is no failure of the upstream
        self.is_suspect = False  # nothing has come for so long that it may be dead
        self.heard_at = self.idle_since = 0.0
        self.retire_at = inf
        self.is_slow = False  # connecting takes so long that another one has been begun
        self.route = Route.of("DOH", None, pool.upstream.address, HttpProtocol.HTTP2)

    @property
    def in_flight(self) -> int:
        """Exchanges that this connection has taken on."""
        return len(self.exchanges) + len(self.waiting)

    @property
    def has_room(self) -> bool:
        """Whether another exchange need not wait for one of these."""
        return self.in_flight < self.http.streams_at_most

    @property
    def is_usable(self) -> bool:
        """Whether it takes new exchanges."""
        return not (self.closed or self.is_slow or self.is_suspect or self.http.is_going or self.is_old)

    @property
    def is_old(self) -> bool:
        """Past its `max_age`."""
        return self.flights.now >= self.retire_at

    def take(self, exchange: Exchange) -> None:
        """Send an exchange now, or as soon as the connection stands and has room for it."""
        exchange.carrier = self
        self.waiting[exchange] = None
        self._send_waiting()

    def forget(self, exchange: Exchange) -> None:
        """The exchange is over without a reply: its stream ends."""
        self.waiting.pop(exchange, None)
        begun = self.streams.pop(exchange, None)
        if begun is None:
            return
        stream, began_at = begun
        del self.exchanges[stream]
        self.http.cancel(stream)
        if self.heard_at <= began_at <= self.flights.now - SILENT_S:
            self._doubt()
        self._send_waiting()
        self._rest()

    def open(self) -> None:
        """Begin to connect; what comes of it is told later, never before this returns."""
        self.link.open()
        self._at(self.upstream.timeout_s, self._give_up_connecting)
        self._at(self.upstream.timeout_s * PATIENCE, self._hurry)

    def _at(self, seconds: float, call: Callable[[], None]) -> None:
        self.flights.timers.at(self.flights.now + seconds, Alarm(call))

    def _give_up_connecting(self) -> None:
        if not self.stands:
            self.lose(TIMEOUT)

    def _hurry(self) -> None:
        """It does not stand yet: what waits may go by another connection, whichever stands first."""
        if (
            self.waiting
            and not self.stands
            and not self.closed
            and not any(one.is_slow for one in self.pool.connections)
        ):
            self.is_slow = True
            self.pool.open()

    def established(self) -> None:
        """Connected and verified: send what has waited, if the peer speaks HTTP/2."""
        peer = self.link.peer
        if peer is None or peer.selected_alpn_protocol() != ALPN:
            self.pool.refusals.miss_http2()
            self.lose(TLS_ERROR)
            return
        self.stands = True
        self.is_slow = False
        self.route = Route.of("DOH", self.link.local, self.upstream.address, HttpProtocol.HTTP2)
        self.idle_since = self.flights.now
        self.retire_at = self.flights.now + (self.options.max_age or inf)
        self._look_at_idleness()
        self.pool.share(self)
        self._send_waiting()

    def _send_waiting(self) -> None:
        if self.closed or not self.stands:
            return
        while self.waiting and self.http.has_room:
            exchange = next(iter(self.waiting))
            del self.waiting[exchange]
            self._send(exchange)
        self._touch()

    def _send(self, exchange: Exchange) -> None:
        octets = MESSAGE_ID + exchange.query.wire[2:]
        exchange.id = MESSAGE_ID
        stream = self.http.open(*self.pool.requests.make(octets))
        self.exchanges[stream] = exchange
        self.streams[exchange] = stream, self.flights.now
        if self.http.is_sent(stream):
            exchange.sent(self, octets)

    def _touch(self) -> None:
        if not self.touched:
            self.touched = True
            self.flights.touched.append(self)

    def flush(self) -> None:
        """Hand on what HTTP/2 has to say."""
        self.touched = False
        if self.closed or not self.stands:
            return
        octets = self.http.outgoing()
        if octets:
            self.link.write(octets)
        if len(self.link.waiting) > OUT_BOUND:
            self.was_used = False  # it does not read: a failure
            self.lose(CLOSED)

    def receive_data(self, data: bytes, received_ns: int) -> None:
        """Octets have come."""
        self.heard_at = self.flights.now
        self.is_suspect = False
        try:
            events = self.http.receive_data(data)
        except Http2Error as exc:
            self.pool.complaints.complain(f"HTTP/2: {exc}")
            self.close()
            return
        self.pool.streams_at_most = self.http.streams_at_most
        again = [exchange for event in events if (exchange := self._settle(event, received_ns)) is not None]
        if self.http.is_going:
            again += self.waiting
            self.waiting.clear()
        self.pool.resend(again)
        self._send_waiting()
        self._rest()

    def _settle(self, event: Event, received_ns: int) -> Exchange | None:
        """Tell an exchange what has become of its stream; it is returned when it is to go again elsewhere."""
        exchange = self.exchanges.get(event.stream)
        if exchange is None:  # whoever had an answer before it has cancelled it
            return None
        if isinstance(event, Sent):
            exchange.sent(self, MESSAGE_ID + exchange.query.wire[2:])
            return None
        del self.exchanges[event.stream], self.streams[exchange]
        if isinstance(event, Broken):
            if event.is_unprocessed and (self._leaves_in_order or not exchange.resent):
                exchange.resent = not self._leaves_in_order
                return exchange
            self._fail(exchange, event.why)
        elif event.octets[:2] != MESSAGE_ID or not exchange.matches(event.octets):
            self.upstream.mismatches += 1
            self._fail(exchange, "answer to another question")
        else:
            self._answer(exchange, event, received_ns)
        return None

    @property
    def _leaves_in_order(self) -> bool:
        """Whether the peer ends it after work that was done, or that goes on: however often, others do not fail."""
        return self.http.is_going and (self.was_used or bool(self.http.responses))

    def _fail(self, exchange: Exchange, why: str) -> None:
        self.pool.complaints.complain(why)
        exchange.failed(CLOSED)

    def _answer(self, exchange: Exchange, reply: Reply, received_ns: int) -> None:
        self.was_used = True
        if reply.age:
            exchange.edit = Aged(exchange, reply.age)
        exchange.answered(reply.octets, received_ns)

    def _doubt(self) -> None:
        """Nothing has come since a query was sent that has now run out of time: no new ones until there is a sign."""
        if not self.is_suspect and not self.closed:
            self.is_suspect = True
            self.http.ping()
            self._at(GIVE_UP_S, self._give_up_if_silent)

    def _give_up_if_silent(self) -> None:
        if self.is_suspect:
            self.lose(CLOSED)

    def _rest(self) -> None:
        """Close it when its last exchange is over and there will be no more."""
        if not self.in_flight and not self.closed:
            self.idle_since = self.flights.now
            if self.http.is_going or self.is_old:
                self.close()

    def _look_at_idleness(self) -> None:
        """Now and then while it is in use, and when it has been idle, or old, for long enough."""
        if self.closed:
            return
        now = self.flights.now
        ends_at = min(self.idle_since + self.options.idle_timeout, self.retire_at)
        if self.in_flight and not self.is_old:
            self._at(min(self.options.idle_timeout, self.retire_at - now), self._look_at_idleness)
        elif self.in_flight:
            return  # `_rest` ends it
        elif now < ends_at:
            self._at(ends_at - now, self._look_at_idleness)
        else:
            self.close()

    def close(self) -> None:
        """End it and say so."""
        if not self.closed:
            self.http.close()
            self.flush()
            self.lose(CLOSED)

    def lost(self, outcome: str) -> None:
        """The peer has ended it, or it could not be made."""
        self.lose(outcome)

    def lose(self, outcome: str) -> None:
        """It is over: what was under way goes again if this connection had worked before, else it has failed."""
        if self.closed:
            return
        self.closed = True
        self.link.close()
        self.pool.connections.discard(self)
        again: list[Exchange] = []
        lost: list[Exchange] = []
        for exchange in self.exchanges.values():
            (again if self.was_used and not exchange.resent else lost).append(exchange)
            exchange.resent = True
        (again if self.was_used else lost).extend(self.waiting)  # they were never sent
        self.exchanges.clear()
        self.streams.clear()
        self.waiting.clear()
        self.pool.resend(again)
        for exchange in lost:
            exchange.failed(outcome)

    def __repr__(self) -> str:
        state = ", closed" if self.closed else ""
        return f"<HttpsConnection to {self.upstream.name}, {self.in_flight} in flight{state}>"
