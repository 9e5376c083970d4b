"""Asks an upstream over QUIC: DNS over QUIC (RFC 9250), or DNS over HTTP/3."""

from __future__ import annotations

import logging
import random
import ssl
from collections import deque
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aioquic.quic.configuration import QuicConfiguration
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates

from dnsproxy.dnstap.events import Route
from dnsproxy.dnstap.schema import HttpProtocol
from dnsproxy.upstream.complaints import Complaints
from dnsproxy.upstream.exchange import CANCELLED, CLOSED, REFUSED, TLS_ERROR, Exchange
from dnsproxy.upstream.http.messages import Requests
from dnsproxy.upstream.options import TlsOptions
from dnsproxy.upstream.quic import doq, h3
from dnsproxy.upstream.quic.connection import UpstreamConnection
from dnsproxy.upstream.quic.link import connected_socket
from dnsproxy.upstream.quic.trust import QuicTrust
from dnsproxy.upstream.tls import Refusals

if TYPE_CHECKING:
    from aioquic.quic.connection import QuicConnection
    from aioquic.tls import SessionTicket

    from dnsproxy.address import Address
    from dnsproxy.plugin import Server
    from dnsproxy.upstream.options import UpstreamOptions
    from dnsproxy.upstream.quic.streams import Streams
    from dnsproxy.upstream.upstream import Upstream

log = logging.getLogger("dnsproxy")
for name in ("quic", "http3"):
    logging.getLogger(name).setLevel(logging.CRITICAL)  # what peers do wrong is told here, as outcomes of exchanges

CONNECTIONS: Final = 4  # per upstream; a second one only where the peer allows no more streams on the first
AGE_SPREAD: Final = 0.1  # of `max_age`, so that connections that were opened together are not replaced together
WAITING: Final = 16_384  # exchanges without a stream
TICKETS: Final = 4  # session tickets, each good for one connection
MAX_DATA: Final = 1024 * 1024  # octets of replies that may be on their way on one connection
MAX_STREAM_DATA: Final = 128 * 1024  # a DNS message with whatever is round it
QUIC_IDLE_S: Final = 5.0  # longer than we keep a connection, so that it is ended by a word and not by silence


class QuicPool:
    """The connections towards one upstream; OSError when a PEM file will not do."""

    def __init__(self, upstream: Upstream, server: Server) -> None:
        options = upstream.options
        self.upstream = upstream
        self.flights = server.flights
        self.driver = server.driver
        self.trust = QuicTrust(options.tls or TlsOptions(), options.address)
        self.refusals = Refusals(options, server.flights)
        self.complaints = Complaints(options.url, server.flights)
        self.handshakes = self.resumptions = 0  # completed and verified, and those among them that resumed a session
        self.requests = None if options.http is None else Requests(options.http)
        self.alpn = doq.ALPN if self.requests is None else h3.ALPN
        self.route = self.make_route(None)
        self.configuration = _configuration(options, self.alpn, self.trust.server_name, upstream.timeout_s)
        self.tickets: deque[SessionTicket] = deque(maxlen=TICKETS)
        self.token = b""
        self.connections: list[UpstreamConnection] = []
        self.waiting: dict[Exchange, None] = {}
        self.closed = False
        self.held_until = -1.0  # no handshake before that time, after one that failed
        self.grows_at = -1.0  # no connection beside others before that time, after one could not be made

    @property
    def open_connections(self) -> int:
        """How many there are, those included that are being made."""
        return len(self.connections)

    def send(self, exchange: Exchange) -> None:
        """Send an exchange on the first connection with room, or as soon as there is one."""
        if self.closed or len(self.waiting) >= WAITING:
            exchange.failed(CLOSED)
            return
        for connection in self.connections:
            if connection.has_room:
                connection.take(exchange)
                return
        exchange.carrier = self
        self.waiting[exchange] = None
        self._grow()

    def forget(self, exchange: Exchange) -> None:
        """The exchange is over before there was a stream for it."""
        self.waiting.pop(exchange, None)
        for connection in self.connections:
            if connection.is_spent:
                connection.give_up()

    def fill(self, connection: UpstreamConnection) -> None:
        """Send on it what has waited, as far as there is room."""
        for waiting in (connection.waiting, self.waiting):
            while waiting and connection.has_room:
                exchange = next(iter(waiting))
                del waiting[exchange]
                connection.take(exchange)
        if self.waiting:
            self._grow()

    def resend(self, exchanges: list[Exchange]) -> None:
        """Send what was on a lost connection on a new one."""
        outcome = "" if self._coming else self._open()
        fresh = self._coming
        for exchange in exchanges:
            exchange.carrier = fresh
            if fresh is None:
                exchange.failed(outcome)
            else:
                fresh.waiting[exchange] = None

    @property
    def _coming(self) -> UpstreamConnection | None:
        """The one that is being made."""
        return next((connection for connection in self.connections if connection.is_connecting), None)

    def _grow(self) -> None:
        """Open a connection for what waits, unless one is being made or there are enough."""
        usable = [connection for connection in self.connections if not connection.is_retiring]
        if len(usable) >= CONNECTIONS or self._coming is not None:
            return
        if usable and self.flights.now < self.grows_at:
            return
        outcome = self._open()
        if outcome and not usable:
            self._fail_waiting(outcome)

    def _open(self) -> str:
        """Begin a connection; or say why there is none."""
        if self.closed:
            return CLOSED
        if self.refusals.holds() or self.flights.now < self.held_until:
            return TLS_ERROR
        try:
            sock = connected_socket(self.upstream.options)
        except OSError as exc:
            log.debug("%s: %s", self.upstream.url, exc)
            return REFUSED
        self.refusals.begin()
        fresh = UpstreamConnection(self, sock)
        self.connections.append(fresh)
        fresh.link.connect()
        return ""

    def lost(self, connection: UpstreamConnection, exchanges: list[Exchange], outcome: str) -> None:
        """A connection is over, `exchanges` were on it."""
        self.connections.remove(connection)
        again = [one for one in exchanges if connection.was_used and not one.resent]
        failed = [one for one in exchanges if not connection.was_used or one.resent]
        for exchange in again:
            exchange.resent = True
        if again:
            self.resend(again)
        for exchange in [*failed, *connection.waiting]:
            exchange.failed(outcome)
        if connection.streams is None:
            interval_s = self.upstream.options.health.interval
            self.grows_at = self.flights.now + interval_s
            self.held_until = connection.opened_at + interval_s if outcome == TLS_ERROR else self.held_until
            if all(one.is_retiring for one in self.connections):
                self._fail_waiting(outcome)
        if self.waiting:
            self._grow()

    def _fail_waiting(self, outcome: str) -> None:
        for exchange in list(self.waiting):
            exchange.failed(outcome)

    def draw_age(self) -> float:
        """How long a new connection may get queries, in seconds."""
        max_age = self.upstream.options.max_age
        return inf if max_age is None else max_age * random.uniform(1 - AGE_SPREAD, 1)  # noqa: S311  no secret

    def configure(self) -> QuicConfiguration:
        """For one connection: tickets and tokens are used once, lest somebody on the way recognises us by them."""
        ticket = self.tickets.pop() if self.tickets else None
        token, self.token = self.token, b""
        return replace(self.configuration, session_ticket=ticket, token=token)

    def keep_ticket(self, ticket: SessionTicket) -> None:
        """For the next connection, which sends nothing before it stands: what is sent earlier can be replayed."""
        self.tickets.append(replace(ticket, max_early_data_size=None))

    def keep_token(self, token: bytes) -> None:
        """It proves our address to the upstream."""
        self.token = token

    def make_route(self, ours: Address | None) -> Route:
        """How messages travel from that address of ours."""
        http = None if self.requests is None else HttpProtocol.HTTP3
        return Route.of("DOQ" if self.requests is None else "DOH", ours, self.upstream.address, http)

    def make_streams(self, quic: QuicConnection) -> Streams:
        """What is spoken on a connection that stands."""
        return doq.DoqStreams(quic) if self.requests is None else h3.H3Streams(quic, self.requests)

    def close(self) -> None:
        """End every exchange and close every connection, for good."""
        self.closed = True
        self._fail_waiting(CANCELLED)
        for connection in list(self.connections):
            connection.was_used = False
            connection.close(CANCELLED)


def _configuration(options: UpstreamOptions, alpn: str, server_name: str, timeout_s: float) -> QuicConfiguration:
    """What all connections have in common; OSError when the client's certificate will not do."""
    configuration = QuicConfiguration(
        alpn_protocols=[alpn],
        idle_timeout=max(options.idle_timeout, timeout_s) + QUIC_IDLE_S,
        max_data=MAX_DATA,
        max_stream_data=MAX_STREAM_DATA,
        server_name=server_name,
        verify_mode=ssl.CERT_NONE,  # QuicTrust does it before anything is asked
    )
    if options.tls is not None and options.tls.cert is not None:
        _show_certificate(configuration, options.tls.cert, options.tls.key or options.tls.cert)
    return configuration


def _show_certificate(configuration: QuicConfiguration, cert: str, key: str) -> None:
    """Ours, to upstreams that ask for it; one file may hold both, in any order."""
    try:
        own, *others = load_pem_x509_certificates(Path(cert).read_bytes())
        configuration.private_key = load_pem_private_key(Path(key).read_bytes(), None)
    except (ValueError, TypeError) as exc:
        raise OSError(f"{key}: {exc}") from exc
    configuration.certificate, configuration.certificate_chain = own, others
