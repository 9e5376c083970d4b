"""Which kind of connections an upstream is asked over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from dnsproxy.plugin import Server
    from dnsproxy.upstream.exchange import Exchange
    from dnsproxy.upstream.upstream import Upstream


class StreamPool(Protocol):
    """The connections towards one upstream. Everything here is called outside every task."""

    @property
    def open_connections(self) -> int:
        """How many there are, those included that are being made."""

    @property
    def handshakes(self) -> int:
        """TLS handshakes that were completed, so far."""

    @property
    def resumptions(self) -> int:
        """Those among `handshakes` that resumed a session."""

    def send(self, exchange: Exchange) -> None:
        """Send an exchange as soon as a connection stands; it may have failed when this returns."""

    def close(self) -> None:
        """End every exchange and close every connection, for good."""


def stream_pool(upstream: Upstream, server: Server) -> StreamPool:
    """The pool for the scheme of an upstream; ImportError when that needs a module which is not installed."""
    scheme = upstream.options.scheme
    if scheme == "https":
        from dnsproxy.upstream.http.pool import HttpsPool

        return HttpsPool(upstream, server)
    if scheme in ("quic", "h3"):
        from dnsproxy.upstream.quic.pool import QuicPool

        return QuicPool(upstream, server)
    from dnsproxy.upstream.tcp import TcpPool

    return TcpPool(upstream, server)
