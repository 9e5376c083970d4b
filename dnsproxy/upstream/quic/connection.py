"""The exchanges on one QUIC connection towards an upstream, from the handshake to its loss."""

from __future__ import annotations

import logging
from math import inf
from typing import TYPE_CHECKING, Final

from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import HandshakeCompleted
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from aioquic.tls import AlertDescription

from dnsproxy.address import Address, sockaddr_of
from dnsproxy.upstream.exchange import CANCELLED, CLOSED, TIMEOUT, TLS_ERROR, Exchange
from dnsproxy.upstream.http.messages import Aged
from dnsproxy.upstream.quic import state
from dnsproxy.upstream.quic.link import TLS_ALERTS, QuicLink
from dnsproxy.upstream.quic.streams import Broken, Event, Reply, Streams, Violation
from dnsproxy.upstream.tls import Refused

if TYPE_CHECKING:
    import socket

    from aioquic.quic.events import QuicEvent
    from aioquic.tls import SessionTicket

    from dnsproxy.upstream.quic.pool import QuicPool

log = logging.getLogger("dnsproxy")

MESSAGE_ID: Final = b"\0\0"  # RFC 9250 section 4.2.1, RFC 8484 section 4.1
IN_FLIGHT: Final = 1024  # aioquic walks all streams for each flush
SILENCE_S: Final = 1.0  # without a sign of life, after it had worked: several times the longest round trip
SUSPECT_S: Final = 0.2  # of silence when an exchange ran out of time: others are better sent elsewhere
SILENT_TIMEOUTS: Final = 3  # with no reply between them: nothing new is sent on a connection, though it may live
NO_ALPN: Final = QuicErrorCode.CRYPTO_ERROR + AlertDescription.no_application_protocol
BAD_CERTIFICATE: Final = QuicErrorCode.CRYPTO_ERROR + AlertDescription.bad_certificate


class UpstreamConnection:
    """One connection of a pool. Everything here is called outside every task."""

    def __init__(self, pool: QuicPool, sock: socket.socket) -> None:
        self.pool = pool
        self.upstream = pool.upstream
        self.flights = pool.flights
        self.route = pool.make_route(Address(sockaddr_of(sock.getsockname())))
        self.quic = QuicConnection(
            configuration=pool.configure(), session_ticket_handler=self._keep_ticket, token_handler=pool.keep_token
        )
        self.link = QuicLink(self, pool.flights, pool.driver, sock, self.quic)
        self.streams: Streams | None = None  # as soon as the peer is known to be the upstream
        self.waiting: dict[Exchange, None] = {}  # of a lost connection, until this one stands
        self.exchanges: dict[int, Exchange] = {}  # by stream
        self.stream_of: dict[Exchange, int] = {}
        self.events: list[Event] = []  # of one datagram
        self.is_given_up = False
        self.was_used = False  # a reply has come: losing it now is no failure of the upstream
        self.silent_timeouts = 0
        self.suspected_at = -inf
        self.opened_at = self.idle_since = self.flights.now
        self.retires_at = self.opened_at + pool.draw_age()

    @property
    def is_connecting(self) -> bool:
        """Whether it may still come to stand."""
        return self.streams is None and not self.link.closed

    @property
    def is_retiring(self) -> bool:
        """Whether it gets no new queries, ever."""
        is_going = self.streams is not None and self.streams.is_going
        return self.link.closed or self.is_given_up or is_going or self.flights.now >= self.retires_at

    @property
    def has_room(self) -> bool:
        """Whether it takes a query now: it stands, and the peer allows another stream."""
        if self.streams is None or self.is_retiring or self._is_suspect or len(self.exchanges) >= IN_FLIGHT:
            return False
        return state.streams_left(self.quic) > 0

    @property
    def is_spent(self) -> bool:
        """Whether the peer has let all streams go to waste."""
        return self.streams is not None and not self.exchanges and not self.has_room

    @property
    def _is_suspect(self) -> bool:
        return self.link.unheard_since < self.suspected_at

    def take(self, exchange: Exchange) -> None:
        """Send an exchange with the next flush. Only where there is room."""
        assert self.streams is not None
        octets = MESSAGE_ID + exchange.query.wire[2:]
        stream = self.streams.ask(octets)
        exchange.id = MESSAGE_ID
        self.exchanges[stream] = exchange
        self.stream_of[exchange] = stream
        exchange.sent(self, octets)
        self.link.touch()

    def forget(self, exchange: Exchange) -> None:
        """The exchange is over without a reply."""
        self.waiting.pop(exchange, None)
        stream = self.stream_of.get(exchange)
        if stream is None or self.streams is None:
            return
        self._drop(stream)
        self.streams.cancel(stream)
        self.link.touch()
        if self.link.unheard_since <= self.flights.now - SUSPECT_S:
            self.suspected_at = self.flights.now
        self.silent_timeouts += 1
        if self.silent_timeouts >= SILENT_TIMEOUTS:
            self.give_up()

    def give_up(self) -> None:
        """Send nothing more here, and close it when nothing is left to come."""
        self.is_given_up = True
        self.link.touch()

    def _drop(self, stream: int) -> None:
        del self.stream_of[self.exchanges.pop(stream)]
        self.idle_since = self.flights.now

    def take_event(self, event: QuicEvent) -> None:
        """As Owner.take_event."""
        if isinstance(event, HandshakeCompleted):
            self._establish(event)
        elif self.streams is not None:
            self.events += self.streams.received(event)

    def _establish(self, event: HandshakeCompleted) -> None:
        """Refused unless the peer is the upstream. A resumed session was verified when it began."""
        if event.alpn_protocol != self.pool.alpn:
            raise Violation(NO_ALPN, "no protocol in common")
        if not event.session_resumed:
            self.pool.trust.verify(state.certificates(self.quic))
        self.pool.handshakes += 1
        self.pool.resumptions += event.session_resumed
        self.streams = self.pool.make_streams(self.quic)
        self.idle_since = self.flights.now

    def _keep_ticket(self, ticket: SessionTicket) -> None:
        """Not before the peer is known to be the upstream: whoever gives a ticket can be what resumes it."""
        if self.streams is not None:
            self.pool.keep_ticket(ticket)

    def settle(self, received_ns: int) -> None:
        """As Owner.settle."""
        events, self.events = self.events, []
        rejected: list[Exchange] = []
        for event in events:
            exchange = self.exchanges.get(event.stream)
            if exchange is None:
                continue
            if isinstance(event, Reply):
                self._answer(exchange, event, received_ns)
            elif self._fail(exchange, event):
                rejected.append(exchange)
        if rejected:
            self.pool.resend(rejected)

    def turned(self) -> None:
        """As Owner.turned: there may be room now."""
        if self.streams is not None:
            self.pool.fill(self)

    def _answer(self, exchange: Exchange, reply: Reply, received_ns: int) -> None:
        self._drop(reply.stream)
        if reply.octets[:2] != MESSAGE_ID or not exchange.matches(reply.octets):
            self.upstream.mismatches += 1
            self.pool.complaints.complain("answer to another question")
            exchange.failed(CLOSED)
            return
        self.was_used = True
        self.silent_timeouts = 0
        if reply.age:
            exchange.edit = Aged(exchange, reply.age)
        exchange.answered(reply.octets, received_ns)

    def _fail(self, exchange: Exchange, event: Broken) -> bool:
        """Whether it may go again, on another connection."""
        self._drop(event.stream)
        if event.is_unprocessed and not exchange.resent:
            exchange.resent = True
            return True
        self.pool.complaints.complain(event.why)
        exchange.failed(CLOSED)
        return False

    def broken(self, problem: Exception) -> None:
        """As Owner.broken."""
        outcome = CLOSED
        if isinstance(problem, Refused):
            outcome = TLS_ERROR
            self.pool.refusals.refused(str(problem))
            self.link.close(BAD_CERTIFICATE, QuicFrameType.CRYPTO)
        elif isinstance(problem, Violation):
            self.pool.complaints.complain(str(problem))
            is_tls = self.streams is None and problem.code in TLS_ALERTS
            outcome = TLS_ERROR if is_tls else CLOSED
            self.link.close(problem.code, QuicFrameType.CRYPTO if is_tls else None)
        self.link.drop()
        self.lost(outcome)

    def ends_at(self) -> float:
        """As Owner.ends_at: the end of patience with the handshake, of silence, or of idleness."""
        if self.streams is None:
            return self.opened_at + self.upstream.timeout_s
        if self.exchanges:
            return self.link.unheard_since + SILENCE_S if self.was_used else inf
        if self.is_retiring:
            return self.idle_since
        return min(self.idle_since + self.upstream.options.idle_timeout, self.retires_at)

    def over(self) -> None:
        """As Owner.over."""
        self.close(TIMEOUT if self.streams is None or self.exchanges else CANCELLED)

    def close(self, outcome: str) -> None:
        """Say good-bye; exchanges that are under way end as those of a lost connection do."""
        if not self.link.closed:
            self.link.close(0 if self.streams is None else self.streams.no_error)
            self.lost(outcome)

    def lost(self, outcome: str) -> None:
        """It is over: what was under way goes again if this connection had worked before, else it has failed."""
        lost = list(self.exchanges.values())
        self.exchanges.clear()
        self.stream_of.clear()
        self.pool.lost(self, lost, outcome)

    def __repr__(self) -> str:
        state = "closed" if self.link.closed else "connecting" if self.streams is None else "open"
        return f"<UpstreamConnection to {self.upstream.name}, {state}, {len(self.exchanges)} in flight>"
