"""A TCP listener under the plain driver, a plugin that answers when it is told to, and clients."""

import socket
import struct
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import dns.message
import trio

from dnsproxy import config
from dnsproxy.chain import Router
from dnsproxy.driver import Driver
from dnsproxy.flight import Flights, Waiter
from dnsproxy.intake import Intake
from dnsproxy.listeners.tcp import TcpListener, bind_tcp
from dnsproxy.message import Query, Response
from dnsproxy.plugin import Plugin
from dnsproxy.stream import MessageReader, framed
from tests.dnstap.waiting import until
from tests.support.offline import chain_of, query

IDLE_S = 30.0


class Scripted(Plugin):
    """Answers by the name's first label: `now`, `later` when told to, `big` with about 60 000 octets."""

    def __init__(self, stanzas: Any) -> None:
        super().__init__(stanzas)
        self.waiting: dict[str, Waiter] = {}
        self.at_most = 0

    def handle(self, query: Query) -> Awaitable[Response]:
        if query.name.startswith("later"):
            return self.wait(query)
        return big(query) if query.name.startswith("big") else query.respond()

    async def wait(self, query: Query) -> Response:
        waiter = self.waiting[query.name] = Waiter()
        self.at_most = max(self.at_most, len(self.waiting))
        await waiter
        return query.respond()

    def finish(self, *names: str) -> None:
        """Answer these, or all."""
        for name in names or list(self.waiting):
            self.waiting.pop(name.removesuffix(".") + ".").set(None)


def big(query: Query) -> Response:
    header = query.wire[:2] + b"\x81\x80\0\1\0\1\0\0\0\0"
    return Response(header + query.shape.question + b"\xc0\x0c\xff\x00\0\1\0\0\0\0\xea\x60" + b"\0" * 60_000)


class Client:
    """A client's end of a connection."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.reader = MessageReader()
        self.messages: list[bytes] = []

    async def send(self, *names: str) -> None:
        await self.stream.send_all(b"".join(framed(query(name)) for name in names))

    async def receive(self) -> str:
        """The name in the next answer; "" when the connection has been closed, "reset" when it has been reset."""
        try:
            while not self.messages:
                data = await self.stream.receive_some(65536)
                if not data:
                    return ""
                self.messages += self.reader.receive_data(data)
        except trio.BrokenResourceError:
            return "reset"
        return dns.message.from_wire(self.messages.pop(0)).question[0].name.to_text(omit_final_dot=True)

    async def ask(self, name: str) -> str:
        await self.send(name)
        return await self.receive()

    def reset(self) -> None:
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()


class World:
    """A listener under the plain driver."""

    def __init__(self, flights: Flights, **limits: Any) -> None:
        self.flights = flights
        self.intake = Intake(flights, config.Limits(**{"tcp_idle": IDLE_S, **limits}))
        chain = chain_of(Scripted)
        flights.timers.fifo(chain.deadline_s)
        (self.plugin,) = chain.plugins
        listening = bind_tcp("127.0.0.1", 0)
        listening.setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, 262_144
        )  # whole segments, and not as many as the kernel likes
        self.listener = TcpListener(listening, Router([chain]), self.intake)
        self.clients: list[Client] = []

    @property
    def script(self) -> Scripted:
        assert isinstance(self.plugin, Scripted)
        return self.plugin

    async def connect(self) -> Client:
        sock = trio.socket.socket()
        try:
            await sock.connect(("127.0.0.1", self.listener.address.port))
        except OSError:
            sock.close()
            raise
        self.clients.append(Client(trio.SocketStream(sock)))
        return self.clients[-1]

    async def finish(self, *names: str) -> None:
        await until(lambda: all(name + "." in self.script.waiting for name in names))
        self.flights.submit(self.script.finish, *names)
        await trio.lowlevel.checkpoint()


@asynccontextmanager
async def listening(**limits: Any) -> AsyncIterator[World]:
    flights = Flights()
    world = World(flights, **limits)
    async with trio.open_nursery() as nursery:
        flights.nursery = nursery
        await nursery.start(Driver(flights).run)
        await nursery.start(world.listener.run)
        yield world
        await world.finish()
        for client in world.clients:
            client.stream.socket.close()
        await until(lambda: not world.listener.connections)
        nursery.cancel_scope.cancel()
    world.listener.sock.close()
    assert (world.intake.in_flight, world.intake.connections) == (0, 0)
