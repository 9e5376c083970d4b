"""Connections over QUIC that are lost, forgotten or silent: what was under way goes again, once."""

import os
import socket
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.dnstap.events import FORWARDER_QUERY
from dnsproxy.upstream.quic.connection import SILENCE_S, SILENT_TIMEOUTS
from tests.dnstap.waiting import until
from tests.support.offline import reply
from tests.support.quic_server import QuicServer
from tests.upstream.quic.world import CERTIFICATE, answer, in_use, upstream
from tests.upstream.world import Watching

pytestmark = pytest.mark.usefixtures("autojump_clock")


@trio_test
async def test_queries_on_a_connection_that_worked_go_again_on_a_new_one(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE)) as world:
        await in_use(world)
        tap = Watching()
        exchanges = [world.send(f"w{number}.example.org", taps=(tap,)) for number in range(3)]
        await world.asked(4)
        world.server.behaviour = answer
        world.server.connections[0].close()
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
        assert len(world.server.connections) == 2
        assert [event.type for event in tap.events].count(FORWARDER_QUERY) == 6
        assert world.upstream.failures == 0


@trio_test
async def test_a_second_loss_is_a_failed_attempt(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE)) as world:
        await in_use(world)
        world.server.behaviour = lambda asked: asked.connection.close()
        assert await world.ask() == "closed"
        assert len(world.server.connections) == 2


@trio_test
async def test_a_first_connection_that_is_lost_is_a_failed_attempt(autojump_clock: MockClock, tmp_path: Path) -> None:
    server = QuicServer(CERTIFICATE, behaviour=lambda asked: asked.connection.close())
    async with upstream(tmp_path, server) as world:
        assert await world.ask() == "closed"
        assert len(world.server.connections) == 1


@trio_test
async def test_a_server_that_forgot_the_connection_is_asked_on_a_new_one(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with upstream(tmp_path) as world:
        await in_use(world)
        world.server.forget()
        began = trio.current_time()
        assert await world.ask() == "answered"
        assert trio.current_time() - began == pytest.approx(SILENCE_S, abs=0.2)


@trio_test
async def test_after_a_timeout_in_silence_others_are_sent_on_a_new_connection(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with upstream(tmp_path) as world:
        await in_use(world)
        world.server.forget()
        first = world.send("first.example.org")
        world.cancel(first)
        await trio.sleep(0.3)
        second = world.send("second.example.org")
        await trio.testing.wait_all_tasks_blocked()
        world.cancel(second)
        assert await world.ask("third.example.org") == "answered"
        assert trio.current_time() < SILENCE_S
        assert len(world.server.connections) == 2


@trio_test
async def test_a_stateless_reset_is_a_loss(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path) as world:
        await in_use(world)
        (served,) = world.server.connections
        token = served.quic._host_cids[0].stateless_reset_token
        peer = served.quic.get_peer_address()
        world.server.forget()
        exchange = world.send()
        await trio.testing.wait_all_tasks_blocked()
        world.server.sock.sendto(b"\x40" + os.urandom(40) + token, peer)  # type: ignore[arg-type]
        assert await world.outcome(exchange) == "answered"
        assert trio.current_time() < SILENCE_S / 2
        assert len(world.server.connections) == 2


@trio_test
async def test_a_port_that_closes_meanwhile_is_refused_after_another_try(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with upstream(tmp_path) as world:
        await in_use(world)
        world.server.sock.close()
        world.server.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        assert await world.ask() == "refused"


@trio_test
async def test_a_connection_that_answers_nothing_any_more_is_given_up(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE)) as world:
        await in_use(world)
        for _ in range(SILENT_TIMEOUTS):
            assert await world.ask() == "timeout"
        world.server.behaviour = answer
        assert await world.ask() == "answered"
        assert len(world.server.connections) == 2


@trio_test
async def test_what_is_under_way_on_a_connection_that_is_given_up_may_still_be_answered(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE)) as world:
        await in_use(world)
        exchanges = [world.send(f"w{number}.example.org") for number in range(SILENT_TIMEOUTS + 1)]
        asked = (await world.asked(SILENT_TIMEOUTS + 2))[-1]
        for exchange in exchanges[:-1]:
            world.cancel(exchange)
        await until(lambda: world.connections[0].is_retiring)
        asked.reply(reply(asked.octets))
        assert await world.outcome(exchanges[-1]) == "answered"
        await until(lambda: not world.connections)
