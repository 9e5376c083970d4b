"""Asking an upstream over QUIC: connections are shared, and every exchange ends."""

import socket
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.dnstap.events import FORWARDER_QUERY, FORWARDER_RESPONSE
from dnsproxy.dnstap.schema import SocketProtocol
from dnsproxy.upstream.quic import pool as quic_module
from dnsproxy.upstream.quic.doq import DoqError
from dnsproxy.upstream.quic.pool import CONNECTIONS
from tests.dnstap.waiting import until
from tests.support.offline import query, reply
from tests.support.quic_server import Asked, QuicServer
from tests.upstream.quic.world import CERTIFICATE, answer, in_use, upstream
from tests.upstream.world import TIMEOUT_S, Watching

pytestmark = pytest.mark.usefixtures("autojump_clock")


@trio_test
async def test_queries_at_once_share_one_connection_and_one_handshake(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with upstream(tmp_path) as world:
        exchanges = [world.send(f"w{number}.example.org") for number in range(100)]
        await until(lambda: all(exchange.done for exchange in exchanges))
        assert {exchange.outcome for exchange in exchanges} == {"answered"}
        assert len(world.server.connections) == 1
        assert world.upstream.responses == 100


@trio_test
async def test_answers_come_in_any_order(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE)) as world:
        exchanges = [world.send(f"w{number}.example.org") for number in range(3)]
        for asked in reversed(await world.asked(3)):
            asked.reply(reply(asked.octets))
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
            assert exchange.matches(exchange.value)


@trio_test
async def test_messages_have_the_id_zero_and_are_tapped_as_they_went(autojump_clock: MockClock, tmp_path: Path) -> None:
    tap = Watching()
    async with upstream(tmp_path) as world:
        assert await world.ask("www.example.org", taps=(tap,)) == "answered"
        (seen,) = world.server.asked
        assert seen.octets == b"\0\0" + query("www.example.org")[2:]
        asked, answered = tap.events
        assert (asked.type, answered.type) == (FORWARDER_QUERY, FORWARDER_RESPONSE)
        assert asked.query_wire == seen.octets
        assert asked.route.socket_protocol == SocketProtocol.DOQ
        assert asked.route.response_port == world.server.port
        assert asked.route.query_port == seen.connection.quic.get_peer_address()[1]  # type: ignore[index]


@trio_test
async def test_a_large_answer_comes_whole(autojump_clock: MockClock, tmp_path: Path) -> None:
    def reply_at_length(asked: Asked) -> None:
        asked.reply(reply(asked.octets) + bytes(60_000))

    async with upstream(tmp_path, QuicServer(CERTIFICATE, behaviour=reply_at_length)) as world:
        exchanges = [world.send(f"w{number}.example.org") for number in range(20)]  # more than the window for all
        await until(lambda: all(exchange.done for exchange in exchanges))
        assert {len(exchange.value) > 60_000 for exchange in exchanges} == {True}


@trio_test
async def test_more_queries_than_streams_wait_for_their_turn(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE, behaviour=answer, streams=2)) as world:
        exchanges = [world.send(f"w{number}.example.org") for number in range(50)]
        await until(lambda: all(exchange.done for exchange in exchanges))
        assert {exchange.outcome for exchange in exchanges} == {"answered"}
        assert 1 < len(world.server.connections) <= CONNECTIONS


@trio_test
async def test_streams_that_lead_nowhere_are_left_behind(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE, streams=1)) as world:
        exchanges = [world.send(f"w{number}.example.org") for number in range(CONNECTIONS + 1)]
        await until(lambda: all(exchange.done for exchange in exchanges))
        assert {exchange.outcome for exchange in exchanges} == {"timeout"}
        world.server.behaviour = answer
        assert await world.ask() == "answered"


@trio_test
async def test_what_waits_is_bounded(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quic_module, "WAITING", 10)
    server = QuicServer(CERTIFICATE)
    server.is_mute = True
    async with upstream(tmp_path, server) as world:
        exchanges = [world.send(f"w{number}.example.org") for number in range(12)]
        await until(lambda: all(exchange.done for exchange in exchanges))
        assert [exchange.outcome for exchange in exchanges] == ["timeout"] * 10 + ["closed"] * 2


@trio_test
async def test_a_server_that_never_answers_is_a_timeout(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE)) as world:
        began = trio.current_time()
        assert await world.ask() == "timeout"
        assert trio.current_time() - began == pytest.approx(TIMEOUT_S, abs=0.05)
        (asked,) = world.server.asked
        await until(lambda: asked.connection.stopped == {asked.stream: DoqError.REQUEST_CANCELLED})


@trio_test
async def test_a_server_that_stalls_in_the_handshake_is_a_timeout(autojump_clock: MockClock, tmp_path: Path) -> None:
    server = QuicServer(CERTIFICATE)
    server.is_mute = True
    async with upstream(tmp_path, server) as world:
        began = trio.current_time()
        assert await world.ask() == "timeout"
        assert trio.current_time() - began == pytest.approx(TIMEOUT_S, abs=0.05)
        await until(lambda: not world.connections)


@trio_test
async def test_a_closed_port_is_refused_at_once(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path) as world:
        world.server.sock.close()
        world.server.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        began = trio.current_time()
        exchanges = [world.send() for _ in range(3)]
        for exchange in exchanges:
            assert await world.outcome(exchange) == "refused"
        assert trio.current_time() - began < 0.1


@trio_test
async def test_a_cancelled_exchange_stops_its_stream(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE)) as world:
        exchange, other = world.send("cancelled.example.org"), world.send("other.example.org")
        cancelled, asked = await world.asked(2)
        world.cancel(exchange)
        await until(lambda: cancelled.connection.stopped)
        assert cancelled.connection.stopped == {cancelled.stream: DoqError.REQUEST_CANCELLED}
        asked.reply(reply(asked.octets))
        assert await world.outcome(other) == "answered"
        assert exchange.outcome == "cancelled"


@trio_test
async def test_a_reply_to_another_question_is_counted_and_not_taken(autojump_clock: MockClock, tmp_path: Path) -> None:
    server = QuicServer(CERTIFICATE, behaviour=lambda asked: asked.reply(reply(query("lie.example.org", id=0))))
    async with upstream(tmp_path, server) as world:
        assert await world.ask() == "closed"
        assert world.upstream.mismatches == 1


@trio_test
async def test_an_idle_connection_is_closed_in_time(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, idle_timeout=3.0) as world:
        await in_use(world)
        idle_s = await until(lambda: not world.connections)
        assert idle_s == pytest.approx(3.0, abs=0.2)
        await until(lambda: world.server.connections[0].closed_with == DoqError.NO_ERROR)
        assert await world.ask() == "answered"


@trio_test
async def test_a_connection_past_its_age_gets_no_new_query(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE), max_age=1.0) as world:
        await in_use(world)
        slow = world.send("slow.example.org")
        await world.asked(2)
        await trio.sleep(1.1)
        world.server.behaviour = answer
        assert await world.ask("new.example.org") == "answered"
        assert len(world.server.connections) == 2
        asked = world.server.asked[1]
        asked.reply(reply(asked.octets))
        assert await world.outcome(slow) == "answered"
        await until(lambda: len(world.connections) == 1)


@trio_test
async def test_a_session_is_resumed_on_the_next_connection(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path) as world:
        await in_use(world)
        await trio.sleep(1)
        world.server.connections[0].close()
        await until(lambda: not world.connections)
        assert await world.ask() == "answered"
        assert [served.resumed for served in world.server.connections] == [False, True]
        assert (world.pool.handshakes, world.pool.resumptions) == (2, 1)


@trio_test
async def test_the_end_ends_everything(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE, streams=1)) as world:
        exchanges = [world.send(f"w{number}.example.org") for number in range(CONNECTIONS + 2)]
        await world.asked(CONNECTIONS)
        world.flights.submit(world.pool.close)
        await until(lambda: all(exchange.done for exchange in exchanges))
        assert {exchange.outcome for exchange in exchanges} == {"cancelled"}
        assert world.pool.open_connections == 0


@trio_test
async def test_a_kernel_that_takes_nothing_is_waited_for(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path) as world:
        await in_use(world)
        link = world.connections[0].link
        link.blocked = True  # as after EAGAIN
        exchange = world.send()
        await trio.testing.wait_all_tasks_blocked()
        assert link.unsent
        world.flights.submit(link.on_writable)
        assert await world.outcome(exchange) == "answered"
        assert not link.unsent


@trio_test
async def test_a_server_that_takes_one_connection_is_not_pestered_for_more(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE, streams=1, accepts=1)) as world:
        exchanges = [world.send(f"w{number}.example.org") for number in range(5)]
        await world.asked(1)
        await trio.sleep(1)
        assert len(world.server.connections) <= 4
        world.server.behaviour = answer
        answer(world.server.asked[0])
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
