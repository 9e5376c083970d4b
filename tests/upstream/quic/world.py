"""An upstream over QUIC under the plain driver, and its server in the hands of the test."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import trio
import trustme

from dnsproxy.address import Address
from dnsproxy.upstream.exchange import Exchange
from dnsproxy.upstream.options import HttpOptions, TlsOptions, UpstreamOptions
from dnsproxy.upstream.quic.connection import UpstreamConnection
from dnsproxy.upstream.quic.pool import QuicPool
from tests.dnstap.waiting import until
from tests.support.offline import reply
from tests.support.quic_server import Asked, QuicServer
from tests.upstream.world import Driven

AUTHORITY = "dns.example.org"
CA = trustme.CA()
CERTIFICATE = CA.issue_cert("127.0.0.1", AUTHORITY)


def answer(asked: Asked) -> None:
    """At once, as a resolver does."""
    asked.reply(reply(asked.octets))


class World(Driven):
    """An upstream over QUIC, and its server."""

    def __init__(self, nursery: trio.Nursery, server: QuicServer, options: UpstreamOptions) -> None:
        super().__init__(options)
        self.flights.nursery = nursery
        self.server = server
        self.pool = cast("QuicPool", self.upstream.tcp)

    async def ask(self, name: str = "www.example.org", **more: Any) -> str:
        """The outcome of one exchange."""
        return await self.outcome(self.send(name, **more))

    async def asked(self, count: int) -> list[Asked]:
        """So many queries, as the server has seen them."""
        await until(lambda: len(self.server.asked) >= count)
        return self.server.asked

    def cancel(self, exchange: Exchange) -> None:
        self.flights.submit(exchange.cancel)

    @property
    def connections(self) -> list[UpstreamConnection]:
        return self.pool.connections


@asynccontextmanager
async def upstream(folder: Path, server: QuicServer | None = None, **more: Any) -> AsyncIterator[World]:
    """`more` are UpstreamOptions; the server answers everything unless another one is given."""
    server = server or QuicServer(CERTIFICATE, behaviour=answer)
    ca = folder / "ca.pem"
    CA.cert_pem.write_to_path(str(ca))
    more.setdefault("tls", TlsOptions(ca=str(ca)))
    scheme = "h3" if server.alpn == "h3" else "quic"
    if scheme == "h3":
        more.setdefault("http", HttpOptions(AUTHORITY))
    options = UpstreamOptions(Address.of("127.0.0.1", server.port), scheme, **more)
    try:
        async with trio.open_nursery() as nursery:
            world = World(nursery, server, options)
            nursery.start_soon(server.run)
            await nursery.start(world.driver.run)
            await nursery.start(world.upstream.run)
            yield world
            nursery.cancel_scope.cancel()
    finally:
        server.close()
    assert world.upstream.in_flight == 0
    assert world.connections == []


async def in_use(world: World) -> None:
    """Let a connection carry an exchange."""
    behaviour, world.server.behaviour = world.server.behaviour, answer
    assert await world.ask("first.example.org") == "answered"
    world.server.behaviour = behaviour
