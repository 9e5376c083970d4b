"""Queries over TCP: what clients may do to a connection, and what they get for it."""

import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import dns.message
import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy import config
from dnsproxy.chain import Router
from dnsproxy.driver import Driver
from dnsproxy.flight import Flights, Waiter
from dnsproxy.intake import Intake
from dnsproxy.listeners.tcp import OUT_BOUND, TcpListener, bind_tcp
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


# asking


@trio_test
async def test_a_connection_serves_one_query_after_the_other(autojump_clock: MockClock) -> None:
    async with listening() as world:
        client = await world.connect()
        for number in range(3):
            assert await client.ask(f"now{number}.example.org") == f"now{number}.example.org"
        status = world.listener.status()
        assert status == {"address": world.listener.url, "queries": 3, "responses": 3, "dropped": {}}


@trio_test
async def test_answers_come_in_the_order_in_which_they_are_ready(autojump_clock: MockClock) -> None:
    async with listening() as world:
        client = await world.connect()
        await client.send("later1.example.org", "later2.example.org", "now.example.org")
        assert await client.receive() == "now.example.org"
        await world.finish("later2.example.org")
        assert await client.receive() == "later2.example.org"
        await world.finish("later1.example.org")
        assert await client.receive() == "later1.example.org"


@trio_test
async def test_a_message_may_come_octet_by_octet_and_its_end_with_the_next_one(autojump_clock: MockClock) -> None:
    async with listening() as world:
        client = await world.connect()
        octets = framed(query("now1.example.org")) + framed(query("now2.example.org"))
        for octet in octets[:-10]:
            await client.stream.send_all(bytes((octet,)))
        assert await client.receive() == "now1.example.org"
        await client.stream.send_all(octets[-10:] + framed(query("now3.example.org")))
        assert [await client.receive(), await client.receive()] == ["now2.example.org", "now3.example.org"]


@trio_test
async def test_what_is_no_query_is_dropped_and_counted_and_the_connection_stays(autojump_clock: MockClock) -> None:
    async with listening() as world:
        client = await world.connect()
        response = query("x.example.org")[:2] + b"\x81\x80" + query("x.example.org")[4:]
        await client.stream.send_all(framed(b"") + framed(b"short") + framed(response))
        assert await client.ask("now.example.org") == "now.example.org"
        status = world.listener.status()
        assert (status["queries"], status["dropped"]) == (1, {"malformed": 3})


@trio_test
async def test_a_client_that_half_closes_gets_every_answer_and_then_the_end(autojump_clock: MockClock) -> None:
    async with listening(tcp_queries=2) as world:
        client = await world.connect()
        names = [f"later{number}.example.org" for number in range(4)]
        await client.send(*names, "now.example.org")
        await client.stream.send_eof()
        await world.finish(*names[:2])
        await trio.sleep(1)
        await world.finish(*names[2:])
        received = [await client.receive() for _ in range(6)]
        assert sorted(received) == ["", *names, "now.example.org"]
        assert received[-1] == ""


# time


@trio_test
async def test_an_idle_connection_is_closed_in_time_and_not_before(autojump_clock: MockClock) -> None:
    async with listening() as world:
        never, once = await world.connect(), await world.connect()
        began = trio.current_time()
        assert await never.receive() == ""
        assert trio.current_time() - began == pytest.approx(IDLE_S, abs=0.1)
        once = await world.connect()
        await trio.sleep(IDLE_S * 0.9)
        assert await once.ask("now.example.org") == "now.example.org"
        began = trio.current_time()
        assert await once.receive() == ""
        assert trio.current_time() - began == pytest.approx(IDLE_S, abs=0.1)


@trio_test
async def test_idleness_begins_with_the_last_answer_not_with_the_last_query(autojump_clock: MockClock) -> None:
    async with listening(tcp_idle=4.0) as world:
        client = await world.connect()
        await client.send("later.example.org")
        await trio.sleep(3.5)
        await world.finish("later.example.org")
        assert await client.receive() == "later.example.org"
        began = trio.current_time()
        assert await client.receive() == ""
        assert trio.current_time() - began == pytest.approx(4.0, abs=0.1)


@trio_test
async def test_a_query_in_flight_keeps_its_connection_open(autojump_clock: MockClock) -> None:
    async with listening(tcp_idle=1.0) as world:
        client = await world.connect()
        await client.send("later.example.org")
        await trio.sleep(4)
        await world.finish("later.example.org")
        assert await client.receive() == "later.example.org"


@trio_test
async def test_a_message_that_takes_too_long_ends_the_connection_after_what_is_owed(autojump_clock: MockClock) -> None:
    async with listening(tcp_idle=2.0) as world:
        client = await world.connect()
        await client.send("later.example.org")
        await trio.sleep(1)
        began = trio.current_time()
        octets = framed(query("now.example.org"))
        for part in (octets[:5], octets[5:10], octets[10:15]):
            await client.stream.send_all(part)
            await trio.sleep(0.8)
        await world.finish("later.example.org")
        assert await client.receive() == "later.example.org"
        assert await client.receive() == ""
        assert trio.current_time() - began == pytest.approx(2.4, abs=0.1)


@trio_test
async def test_a_message_has_that_time_from_its_own_first_octet_on(autojump_clock: MockClock) -> None:
    async with listening(tcp_idle=3.0) as world:
        client = await world.connect()
        octets = framed(query("now.example.org"))
        await trio.sleep(2)
        await client.stream.send_all(octets[:5])
        await trio.sleep(2)
        await client.stream.send_all(octets[5:])
        assert await client.receive() == "now.example.org"


# bounds


@trio_test
async def test_no_more_queries_are_in_flight_than_allowed_and_none_is_refused(autojump_clock: MockClock) -> None:
    async with listening(tcp_queries=5) as world:
        client = await world.connect()
        names = [f"later{number}.example.org" for number in range(50)]
        await client.send(*names)
        received: list[str] = []
        while len(received) < 50:
            await until(lambda: len(world.script.waiting) == 5)
            await world.finish()
            received += [await client.receive() for _ in range(5)]
        assert sorted(received) == sorted(names)
        assert world.script.at_most == 5


@trio_test
async def test_a_client_that_does_not_read_is_given_up_and_holds_nobody_up(autojump_clock: MockClock) -> None:
    async with listening() as world:
        lazy, busy = await world.connect(), await world.connect()
        await lazy.send(*(f"big{number}.example.org" for number in range(150)))
        await until(lambda: any(len(one.out) > OUT_BOUND for one in world.listener.connections))
        assert await busy.ask("now.example.org") == "now.example.org"
        assert max(len(one.out) for one in world.listener.connections) < OUT_BOUND + 70_000
        await trio.sleep(IDLE_S / 2)
        assert await busy.ask("now.example.org") == "now.example.org"
        await trio.sleep(IDLE_S / 2 + 1)
        assert len(world.listener.connections) == 1


@trio_test
async def test_a_client_that_reads_slowly_gets_everything_in_the_end(patient_clock: MockClock) -> None:
    async with listening() as world:
        client = await world.connect()
        names = [f"big{number}.example.org" for number in range(150)]
        await client.send(*names)
        await until(lambda: any(len(one.out) > OUT_BOUND for one in world.listener.connections))
        received = [await client.receive() for _ in names]
        assert received == names


@trio_test
async def test_a_client_that_never_reads_its_few_answers_is_given_up_too(autojump_clock: MockClock) -> None:
    async with listening(tcp_queries=3) as world:
        client = await world.connect()
        for number in range(100):
            await client.send(f"big{number}.example.org")
            await trio.sleep(0.01)
            if any(one.out for one in world.listener.connections):
                break
        assert any(0 < len(one.out) < OUT_BOUND for one in world.listener.connections)
        await trio.sleep(IDLE_S * 1.1)
        assert not world.listener.connections


@pytest.mark.parametrize("how", ["reset", "close"])
@trio_test
async def test_a_client_that_leaves_with_answers_and_queries_outstanding_leaves_nothing_behind(
    how: str, autojump_clock: MockClock
) -> None:
    async with listening(tcp_queries=4) as world:
        client = await world.connect()
        await client.send(*(f"big{number}.example.org" for number in range(150)))
        await until(lambda: any(len(one.out) > OUT_BOUND for one in world.listener.connections))
        if how == "reset":
            client.reset()
        else:
            client.stream.socket.close()
        await trio.sleep(1)
        assert not world.listener.connections
        assert world.intake.in_flight == 0


@trio_test
async def test_a_client_that_leaves_before_its_answer_does_no_harm(autojump_clock: MockClock) -> None:
    async with listening() as world:
        client = await world.connect()
        await client.send("later.example.org")
        await until(lambda: world.script.waiting)
        client.reset()
        await trio.sleep(1)
        assert not world.listener.connections
        await world.finish("later.example.org")
        assert world.listener.responses == 1


@trio_test
async def test_connections_are_bounded_in_all_and_for_each_client(autojump_clock: MockClock) -> None:
    async with listening(tcp_connections_per_client=2) as world:
        kept = [await world.connect() for _ in range(2)]
        refused = await world.connect()
        assert await refused.receive() in ("", "reset")
        assert await kept[1].ask("now.example.org") == "now.example.org"
        assert world.intake.refused["tcp_connections_per_client"] == 1
        kept[0].stream.socket.close()
        await until(lambda: len(world.listener.connections) == 1)
        assert await (await world.connect()).ask("now.example.org") == "now.example.org"
    async with listening(tcp_connections=1) as world:
        await (await world.connect()).ask("now.example.org")
        assert await (await world.connect()).receive() in ("", "reset")
        assert world.intake.refused["tcp_connections"] == 1


# the end


@trio_test
async def test_stopping_answers_what_was_asked_and_takes_nothing_more(autojump_clock: MockClock) -> None:
    async with listening() as world:
        idle, busy = await world.connect(), await world.connect()
        await busy.send("later.example.org")
        await until(lambda: world.script.waiting)
        world.listener.stop()
        assert await idle.receive() == ""
        with pytest.raises(OSError, match="refused"):
            await world.connect()
        await busy.stream.send_all(framed(query("now.example.org")))
        await world.finish("later.example.org")
        assert await busy.receive() == "later.example.org"
        assert await busy.receive() in ("", "reset")


@trio_test
async def test_a_connection_accepted_in_the_moment_of_stopping_is_closed(autojump_clock: MockClock) -> None:
    async with listening() as world:
        serve = world.listener._serve

        async def serve_late(accepted: Any) -> None:
            await trio.sleep(1)
            await serve(accepted)

        world.listener._serve = serve_late  # type: ignore[method-assign]
        client = await world.connect()
        await trio.sleep(0.5)
        world.listener.stop()
        began = trio.current_time()
        assert await client.receive() in ("", "reset")
        assert trio.current_time() - began < 2


@trio_test
async def test_when_connections_cannot_be_accepted_that_is_told_once_and_tried_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    failing = [True]
    accept = trio._socket._SocketType.accept

    async def may_fail(self: Any) -> Any:
        if failing:
            await trio.lowlevel.checkpoint()
            raise OSError(24, "Too many open files")
        return await accept(self)

    monkeypatch.setattr(trio._socket._SocketType, "accept", may_fail)
    async with listening() as world:
        client = await world.connect()
        await trio.sleep(10)
        assert len(caplog.messages) == 1
        failing.clear()
        assert await client.ask("now.example.org") == "now.example.org"


@trio_test
async def test_a_client_that_is_gone_when_its_connection_is_accepted_does_no_harm(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = [True]
    setsockopt = trio._socket._SocketType.setsockopt

    def may_fail(self: Any, *args: Any) -> None:
        if gone and args[0] == socket.IPPROTO_TCP:
            raise OSError(22, "Invalid argument")
        setsockopt(self, *args)

    async with listening() as world:
        client = await world.connect()
        monkeypatch.setattr(trio._socket._SocketType, "setsockopt", may_fail)
        assert await client.receive() in ("", "reset")
        assert (world.intake.connections, world.listener.connections) == (0, set())
        gone.clear()
        assert await (await world.connect()).ask("now.example.org") == "now.example.org"


def test_limits_may_change_while_it_serves() -> None:
    intake: Any = SimpleNamespace(flights=Flights(), limits=config.Limits())
    listener = TcpListener(bind_tcp("127.0.0.1", 0), Router([chain_of(Scripted)]), intake)
    listener.limit(config.Limits(tcp_idle=1.0, tcp_queries=7))
    assert (listener.idle_s, listener.queries_limit) == (1.0, 7)
    assert repr(listener) == f"<TcpListener {listener.url}, 0 connections>"
    listener.sock.close()


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 0), ("::1", 0)])
def test_a_bound_socket_listens_without_blocking(host: str, port: int) -> None:
    with bind_tcp(host, port) as sock:
        assert not sock.getblocking()
        with pytest.raises(BlockingIOError):
            sock.accept()
        with pytest.raises(OSError, match="in use"):
            bind_tcp(host, sock.getsockname()[1])
