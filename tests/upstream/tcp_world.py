"""An upstream that is asked by TCP or TLS under the plain driver, and its server in the hands of the test."""

import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import trio

from dnsproxy.address import Address, sockaddr_of
from dnsproxy.stream import MessageReader, framed
from dnsproxy.upstream.options import UpstreamOptions
from dnsproxy.upstream.tcp import TcpConnection, TcpPool
from dnsproxy.wire import make_opt
from tests.support.offline import query, reply
from tests.upstream.world import Driven


class Accepted:
    """A connection at the upstream's end, served by the test."""

    def __init__(self, accepted: trio.SocketStream, context: ssl.SSLContext | None) -> None:
        self.socket = accepted.socket
        self.stream: trio.abc.Stream = accepted
        if context is not None:
            self.stream = trio.SSLStream(accepted, context, server_side=True, https_compatible=True)
        self.reader = MessageReader()
        self.received: list[bytes] = []

    async def query(self) -> bytes:
        """The next query; EndOfChannel when there will be none."""
        while not self.received:
            data = await self.stream.receive_some(65536)
            if not data:
                raise trio.EndOfChannel
            self.received += self.reader.receive_data(bytes(data))
        return self.received.pop(0)

    async def reply_to(self, octets: bytes) -> None:
        await self.stream.send_all(framed(reply(octets)))

    async def serve(self) -> None:
        """Answer everything until the other end closes."""
        try:
            while True:
                await self.reply_to(await self.query())
        except trio.EndOfChannel:
            await self.stream.aclose()

    async def until_closed(self) -> list[bytes]:
        """Queries that come before the other end closes."""
        asked = []
        try:
            while True:
                asked.append(await self.query())
        except trio.EndOfChannel:
            return asked

    async def close(self) -> None:
        await self.stream.aclose()

    def reset(self) -> None:
        """End it with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class World(Driven):
    """An upstream over TCP or TLS, and its server."""

    def __init__(
        self, nursery: trio.Nursery, listening: trio.SocketListener, context: ssl.SSLContext | None, **options: Any
    ) -> None:
        address = Address(sockaddr_of(listening.socket.getsockname()))
        super().__init__(UpstreamOptions(address, "tcp" if context is None else "tls", **options))
        self.nursery = self.flights.nursery = nursery
        self.context = context
        self.listening = listening
        self.accepted: list[Accepted] = []

    async def accept(self) -> Accepted:
        """The next connection, over TLS where that is spoken, before its handshake."""
        self.accepted.append(Accepted(await self.listening.accept(), self.context))
        return self.accepted[-1]

    def stop_listening(self) -> None:
        self.listening.socket.close()

    @property
    def pool(self) -> TcpPool:
        return cast("TcpPool", self.upstream.tcp)

    @property
    def connections(self) -> list[TcpConnection]:
        return list(self.pool.connections)


@asynccontextmanager
async def upstream(context: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[World]:
    """One that is asked by TCP, or with a context by TLS."""
    (listening,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        world = World(nursery, listening, context, **options)
        await nursery.start(world.driver.run)
        await nursery.start(world.upstream.run)
        yield world
        nursery.cancel_scope.cancel()
    for accepted in world.accepted:
        accepted.socket.close()
    listening.socket.close()
    assert world.upstream.in_flight == 0
    assert world.connections == []


@asynccontextmanager
async def full_backlog(world: World) -> AsyncIterator[None]:
    """The kernel takes no further connection for the upstream, and does not say so."""
    world.listening.socket.listen(0)
    with socket.create_connection(world.upstream.address.socket_tuple()):
        yield


async def in_use(world: World) -> Accepted:
    """A connection that has carried an exchange."""
    first = world.send("first.example.org")
    accepted = await world.accept()
    await accepted.reply_to(await accepted.query())
    assert await world.outcome(first) == "answered"
    return accepted


def padded(number: int) -> bytes:
    """A query of about 60 000 octets."""
    octets = query(f"{number}.example.org")
    return octets[:11] + b"\1" + octets[12:] + make_opt(options=struct.pack("!HH", 12, 60_000) + b"\0" * 60_000)
