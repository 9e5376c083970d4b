"""DoH upstreams (RFC 8484): queries multiplexed over few HTTP/2 connections."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from dnsproxy.upstream.complaints import Complaints
from dnsproxy.upstream.exchange import CANCELLED, CLOSED, TLS_ERROR
from dnsproxy.upstream.http.connection import HttpsConnection
from dnsproxy.upstream.http.http2 import ALPN, STREAMS_ASSUMED
from dnsproxy.upstream.http.messages import Requests
from dnsproxy.upstream.tls import Refusals, Trust

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnsproxy.plugin import Server
    from dnsproxy.upstream.exchange import Exchange
    from dnsproxy.upstream.upstream import Upstream

log = logging.getLogger("dnsproxy")

CONNECTIONS: Final = 4  # per upstream; another one only when the peer takes no more streams on the others
IN_FLIGHT: Final = 16_384  # exchanges that one connection takes on, most of them waiting
NO_PROTOCOL: Final = "NO_APPLICATION_PROTOCOL"  # in OpenSSL's name of the alert of RFC 7301 section 3.2


class Http2Refusals(Refusals):
    """Another handshake with a peer that does not speak HTTP/2 is not worth while at once either."""

    def failed(self, error: Exception) -> None:
        """As Refusals.failed; some peers end the handshake when they speak nothing of what we offer."""
        if NO_PROTOCOL in (getattr(error, "reason", None) or ""):
            self.miss_http2()
        else:
            super().failed(error)

    def miss_http2(self) -> None:
        """The peer has chosen another version of HTTP, or none."""
        self.hold()
        if self._is_news(NO_PROTOCOL):
            log.warning("upstream %s does not speak HTTP/2 (ALPN h2)", self.url)


class HttpsPool:
    """The HTTP/2 connections towards one upstream."""

    def __init__(self, upstream: Upstream, server: Server) -> None:
        options = upstream.options
        assert options.http is not None
        assert options.tls is not None
        self.upstream = upstream
        self.flights = server.flights
        self.server = server
        self.requests = Requests(options.http)
        self.trust = Trust(options.tls, options.address, (ALPN,))
        self.refusals = Http2Refusals(options, server.flights)
        self.connections: set[HttpsConnection] = set()
        self.streams_at_most = STREAMS_ASSUMED  # on each connection, as the peer said last
        self.complaints = Complaints(options.url, server.flights)
        self.closed = False

    @property
    def open_connections(self) -> int:
        """How many there are, those included that are being made."""
        return len(self.connections)

    @property
    def handshakes(self) -> int:
        """TLS handshakes that were completed, so far."""
        return self.trust.handshakes

    @property
    def resumptions(self) -> int:
        """Those among `handshakes` that resumed a session."""
        return self.trust.resumptions

    def send(self, exchange: Exchange, is_again: bool = False) -> None:
        """Send an exchange on the busiest connection that has room, else on another one; again: on a new one."""
        if self.closed:
            exchange.failed(CLOSED)
            return
        usable = [connection for connection in self.connections if connection.is_usable]
        roomy = [connection for connection in usable if connection.has_room and not (is_again and connection.stands)]
        if roomy:
            chosen = max(roomy, key=lambda connection: (connection.stands, connection.in_flight))
        elif len(usable) < CONNECTIONS and not self.refusals.holds():
            chosen = self.open()
        elif usable:
            chosen = min(usable, key=lambda connection: connection.in_flight)
        else:
            exchange.failed(TLS_ERROR)
            return
        if chosen.in_flight >= IN_FLIGHT:
            exchange.failed(CLOSED)
            return
        chosen.take(exchange)

    def resend(self, exchanges: Sequence[Exchange]) -> None:
        """Send the exchanges of a connection that is lost or going away again."""
        for exchange in exchanges:
            self.send(exchange, is_again=True)

    def open(self) -> HttpsConnection:
        """Begin another connection."""
        self.refusals.begin()
        connection = HttpsConnection(self)
        self.connections.add(connection)
        connection.open()
        return connection

    def share(self, ready: HttpsConnection) -> None:
        """A connection stands now: it takes over what waits for those that do not, as far as it has room."""
        for other in [one for one in self.connections if not one.stands]:
            while other.waiting and ready.has_room:
                exchange = next(iter(other.waiting))
                del other.waiting[exchange]
                ready.take(exchange)

    def close(self) -> None:
        """End every exchange and close every connection, for good."""
        self.closed = True
        for connection in list(self.connections):
            connection.was_used = False
            connection.lose(CANCELLED)
