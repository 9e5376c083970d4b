"""Queries over TCP: what clients get for what they send, to the end of a connection or of the listener."""

import logging
import socket
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy import config
from dnsproxy.chain import Router
from dnsproxy.flight import Flights
from dnsproxy.listeners.tcp import TcpListener, bind_tcp
from dnsproxy.stream import framed
from tests.dnstap.waiting import until
from tests.listeners.tcp_world import Scripted, listening
from tests.support.offline import chain_of, query

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
