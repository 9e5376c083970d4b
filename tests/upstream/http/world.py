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
from dnsproxy.upstream.http.connection import HttpsConnection
from dnsproxy.upstream.http.pool import HttpsPool
from dnsproxy.upstream.options import HttpOptions, TlsOptions, UpstreamOptions
from tests.support.authority import Authority
from tests.support.doh import DohConnection, accept, server_context
from tests.upstream.world import Driven

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


class World(Driven):
    """An upstream over HTTP/2, and its server."""

    def __init__(
        self, listening: trio.SocketListener, context: ssl.SSLContext, options: UpstreamOptions, settings: Settings
    ) -> None:
        super().__init__(options)
        self.listening = listening
        self.context = context
        self.settings = settings
        self.accepted: list[DohConnection] = []

    async def accept(self) -> DohConnection:
        self.accepted.append(await accept(self.listening, self.context, self.settings))
        return self.accepted[-1]

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
