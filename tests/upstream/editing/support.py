"""Queries edited for an upstream that is never asked, and replies put back."""

from typing import Any, cast

from dnsproxy.address import Address
from dnsproxy.message import Endpoint, Query
from dnsproxy.shape import shape_of
from dnsproxy.upstream.editing.edits import Edits
from dnsproxy.upstream.exchange import Exchange
from dnsproxy.upstream.options import EditOptions, UpstreamOptions
from dnsproxy.upstream.upstream import Upstream
from tests.support.offline import CLIENT, LISTENER, Offline

SERVER = Address.of("192.0.2.53", 53)
ROOT = (b"\0", ".")
UPSTREAM = Upstream(cast("Any", Offline()), UpstreamOptions(SERVER), 2.0)


def editor(*, scheme: str | None = None, **wanted: Any) -> Edits:
    return Edits(UpstreamOptions(SERVER, scheme, edits=EditOptions(**wanted)))


def exchange_for(octets: bytes, client: str = CLIENT) -> Exchange:
    sockaddr = Address.of(client, 40_000).sockaddr
    query = Query(octets, shape_of(octets), sockaddr, Endpoint("UDP", LISTENER), 1)
    return Exchange(query, UPSTREAM, 1, ROOT, None)


def prepared(edits: Edits, octets: bytes, *, stream: bool = False, client: str = CLIENT) -> Exchange:
    """The exchange as it goes out."""
    exchange = exchange_for(octets, client)
    edits.prepare(exchange, stream)
    return exchange


def put_back(exchange: Exchange, reply: bytes) -> bytes | None:
    """The reply as the client's."""
    return reply if exchange.edit is None else exchange.edit.received(exchange, reply)
