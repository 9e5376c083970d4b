"""A DoH upstream under the plain driver, its server in the hands of a test."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, cast

import pytest
import trio
from h2.settings import SettingCodes
from trio.testing import MockClock

from dnsproxy.address import Address, sockaddr_of
from dnsproxy.driver import Driver
from dnsproxy.flight import Flights
from dnsproxy.message import Endpoint, Query
from dnsproxy.plugin import Tap
from dnsproxy.shape import shape_of
from dnsproxy.upstream.exchange import Exchange
from dnsproxy.upstream.http.connection import HttpsConnection
from dnsproxy.upstream.http.pool import HttpsPool
from dnsproxy.upstream.options import HttpOptions, TlsOptions, UpstreamOptions
from dnsproxy.upstream.taps import Taps
from dnsproxy.upstream.upstream import Upstream
from tests.support.authority import Authority
from tests.support.doh import DohConnection, accept, server_context
from tests.support.offline import CLIENT, LISTENER, query
from tests.upstream.test_udp import ROOT, TIMEOUT_S

Settings = dict[SettingCodes | int, int]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def context(authority: Authority) -> ssl.SSLContext:
    return server_context(authority.issue("doh"))


@pytest.fixture
def clock() -> MockClock:
    """One that jumps when the kernel has had time for the segments of a handshake, which it may pace."""
    return MockClock(autojump_threshold=0.005)


class World:
    """An upstream under the plain driver, and its server in the hands of the test."""

    version = "0"

    def __init__(
        self, listening: trio.SocketListener, context: ssl.SSLContext, options: UpstreamOptions, settings: Settings
    ) -> None:
        self.listening = listening
        self.context = context
        self.settings = settings
        self.accepted: list[DohConnection] = []
        self.flights = Flights()
        self.flights.timers.fifo(TIMEOUT_S)
        self.driver = Driver(self.flights)
        self.receiver = self.sender = None
        self.upstream = Upstream(cast("Any", self), options, TIMEOUT_S)

    async def accept(self) -> DohConnection:
        self.accepted.append(await accept(self.listening, self.context, self.settings))
        return self.accepted[-1]

    def send(self, name: str = "www.example.org", *, octets: bytes = b"", taps: tuple[Tap, ...] = ()) -> Exchange:
        octets = octets or query(name)
        asked = Query(octets, shape_of(octets), Address.of(CLIENT, 1).sockaddr, Endpoint("UDP", LISTENER), 1)
        exchange = Exchange(asked, self.upstream, 1, ROOT, Taps(None, taps) if taps else None)
        self.flights.submit(self.upstream.ask, exchange, True, TIMEOUT_S)
        return exchange

    async def outcome(self, exchange: Exchange) -> str:
        with trio.fail_after(30):
            while not exchange.done:  # noqa: ASYNC110  a waiter of flights
                await trio.sleep(0.05)
        return exchange.outcome

    @property
    def pool(self) -> HttpsPool:
        return cast("HttpsPool", self.upstream.tcp)

    @property
    def connections(self) -> list[HttpsConnection]:
        return list(self.pool.connections)


@pytest.fixture
def open_upstream(authority: Authority, context: ssl.SSLContext) -> Any:
    @asynccontextmanager
    async def opened(
        served: ssl.SSLContext = context, settings: Settings | None = None, tls: TlsOptions | None = None, **more: Any
    ) -> AsyncIterator[World]:
        (listening,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        address = Address(sockaddr_of(listening.socket.getsockname()))
        http = HttpOptions("dns.example.org", method=more.pop("method", "POST"))
        options = UpstreamOptions(address, "https", tls or TlsOptions(authority.ca), http)
        async with trio.open_nursery() as nursery:
            world = World(listening, served, replace(options, **more), settings or {})
            await nursery.start(world.driver.run)
            await nursery.start(world.upstream.run)
            yield world
            nursery.cancel_scope.cancel()
        for accepted in world.accepted:
            await accepted.close()
        listening.socket.close()
        assert world.upstream.in_flight == 0
        assert world.connections == []
        assert world.driver.pumps == {}

    return opened


@asynccontextmanager
async def serving(connection: DohConnection) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.serve)
        yield
        nursery.cancel_scope.cancel()


async def in_use(world: World) -> DohConnection:
    """A connection that has carried an exchange."""
    first = world.send("first.example.org")
    accepted = await world.accept()
    await accepted.respond(await accepted.request())
    assert await world.outcome(first) == "answered"
    return accepted
