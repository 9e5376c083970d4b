"""Asking an upstream by TCP: connections are shared, kept, lost and replaced, and every exchange ends."""

import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import dns.flags
import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.address import Address, sockaddr_of
from dnsproxy.driver import Driver
from dnsproxy.flight import Flights
from dnsproxy.message import Endpoint, Query
from dnsproxy.plugin import Tap
from dnsproxy.shape import shape_of
from dnsproxy.stream import MessageReader, framed
from dnsproxy.upstream import tcp as tcp_module
from dnsproxy.upstream.exchange import Exchange
from dnsproxy.upstream.options import IDLE_S, UpstreamOptions
from dnsproxy.upstream.taps import Taps
from dnsproxy.upstream.tcp import CONNECTIONS, SHARE, SILENT_TIMEOUTS, TcpConnection, TcpPool
from dnsproxy.upstream.upstream import Upstream
from dnsproxy.wire import make_opt
from tests.dnstap.waiting import until
from tests.support.offline import CLIENT, LISTENER, query, reply
from tests.upstream.test_udp import ROOT, TIMEOUT_S, Watching


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


class World:
    """An upstream under the plain driver, and its server in the hands of the test."""

    version = "0"

    def __init__(
        self, nursery: trio.Nursery, listening: trio.SocketListener, context: ssl.SSLContext | None, **options: Any
    ) -> None:
        self.nursery = nursery
        self.context = context
        self.listening = listening
        self.accepted: list[Accepted] = []
        self.flights = Flights()
        self.flights.nursery = nursery
        self.flights.timers.fifo(TIMEOUT_S)
        self.driver = Driver(self.flights)
        self.receiver = self.sender = None
        address = Address(sockaddr_of(listening.socket.getsockname()))
        scheme = "tcp" if context is None else "tls"
        self.upstream = Upstream(cast("Any", self), UpstreamOptions(address, scheme, **options), TIMEOUT_S)

    async def accept(self) -> Accepted:
        """The next connection, over TLS where that is spoken, before its handshake."""
        self.accepted.append(Accepted(await self.listening.accept(), self.context))
        return self.accepted[-1]

    def stop_listening(self) -> None:
        self.listening.socket.close()

    def send(self, name: str = "www.example.org", *, octets: bytes = b"", taps: tuple[Tap, ...] = ()) -> Exchange:
        octets = octets or query(name)
        asked = Query(octets, shape_of(octets), Address.of(CLIENT, 1).sockaddr, Endpoint("UDP", LISTENER), 1)
        exchange = Exchange(asked, self.upstream, 1, ROOT, Taps(None, taps) if taps else None)
        self.flights.submit(self.upstream.ask, exchange, True, TIMEOUT_S)
        return exchange

    async def outcome(self, exchange: Exchange) -> str:
        await until(lambda: exchange.done)
        return exchange.outcome

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


@trio_test
async def test_a_connection_is_kept_for_the_next_exchange(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        accepted = await in_use(world)
        await trio.sleep(IDLE_S / 2)
        second = world.send("second.example.org")
        asked = await accepted.query()
        assert asked[2:] == second.query.wire[2:]
        await accepted.reply_to(asked)
        assert await world.outcome(second) == "answered"
        assert second.value == reply(asked)
        assert len(world.connections) == 1


@trio_test
async def test_replies_in_any_order_find_their_exchanges(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        exchanges = [world.send(f"{number}.example.org") for number in range(10)]
        accepted = await world.accept()
        asked = [await accepted.query() for _ in exchanges]
        assert len({octets[:2] for octets in asked}) == 10
        await accepted.stream.send_all(b"".join(framed(reply(octets)) for octets in reversed(asked)))
        for exchange, octets in zip(exchanges, asked, strict=True):
            assert await world.outcome(exchange) == "answered"
            assert exchange.value == reply(octets)


@trio_test
async def test_a_reply_may_come_octet_by_octet_and_be_of_any_size(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        exchanges = [world.send("small.example.org"), world.send("big.example.org")]
        accepted = await world.accept()
        small, big = await accepted.query(), await accepted.query()
        for octet in framed(reply(small)):
            await accepted.stream.send_all(bytes((octet,)))
        await accepted.stream.send_all(framed(reply(big).ljust(65535, b"\0")))
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
        assert len(exchanges[1].value) == 65535


@trio_test
async def test_many_at_once_share_few_connections(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        exchanges = [world.send(f"{number}.example.org") for number in range(40)]
        for _ in range(3):
            world.nursery.start_soon((await world.accept()).serve)
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
        assert len(world.connections) == 3
        many = [world.send(f"{number}.example.org") for number in range(10 * SHARE)]
        world.nursery.start_soon((await world.accept()).serve)
        for exchange in many:
            assert await world.outcome(exchange) == "answered"
        assert len(world.connections) == CONNECTIONS


@trio_test
async def test_truncation_over_tcp_is_an_answer_like_any_other(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        exchange = world.send()
        accepted = await world.accept()
        await accepted.stream.send_all(framed(reply(await accepted.query(), flags=dns.flags.TC)))
        assert await world.outcome(exchange) == "answered"


# what is not a reply


@trio_test
async def test_wrong_replies_are_counted_and_the_wait_goes_on(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        exchange = world.send()
        accepted = await world.accept()
        asked = await accepted.query()
        other_id = bytes((asked[0] ^ 1, asked[1])) + reply(asked)[2:]
        for octets in (other_id, reply(asked).replace(b"\3www", b"\3wwx"), asked, b"", asked[:2]):
            await accepted.stream.send_all(framed(octets))
        await trio.sleep(0.1)
        assert not exchange.done
        await accepted.reply_to(asked)
        assert await world.outcome(exchange) == "answered"
        assert world.upstream.mismatches == 5


@trio_test
async def test_a_late_reply_is_no_mismatch(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        exchange = world.send()
        accepted = await world.accept()
        asked = await accepted.query()
        assert await world.outcome(exchange) == "timeout"
        await accepted.reply_to(asked)
        await trio.sleep(0.1)
        assert world.upstream.mismatches == 0
        await accepted.reply_to(asked)
        await trio.sleep(0.1)
        assert world.upstream.mismatches == 1


# losing connections


@trio_test
async def test_nobody_listening_is_refused_and_nothing_was_sent(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        world.stop_listening()
        tap = Watching()
        exchanges = [world.send(f"{number}.example.org", taps=(tap,)) for number in range(3)]
        for exchange in exchanges:
            assert await world.outcome(exchange) == "refused"
        assert (tap.events, world.upstream.queries) == ([], 0)


HOWS = pytest.mark.parametrize("how", ["close", "reset"])


async def end(accepted: Accepted, how: str) -> None:
    if how == "close":
        await accepted.close()
    else:
        accepted.reset()


@HOWS
@trio_test
async def test_a_new_connection_that_is_lost_is_a_failed_attempt(how: str, autojump_clock: MockClock) -> None:
    async with upstream() as world:
        exchange = world.send()
        accepted = await world.accept()
        await accepted.query()
        await end(accepted, how)
        assert await world.outcome(exchange) == "closed"
        assert world.connections == []
        await in_use(world)


@HOWS
@trio_test
async def test_what_was_under_way_on_a_used_connection_goes_again_on_a_new_one(
    how: str, autojump_clock: MockClock
) -> None:
    async with upstream() as world:
        accepted = await in_use(world)
        tap = Watching()
        exchanges = [world.send(f"{number}.example.org", taps=(tap,)) for number in range(5)]
        await accepted.query()
        await end(accepted, how)
        again = await world.accept()
        world.nursery.start_soon(again.serve)
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
            assert exchange.attempt == 1
        assert len(tap.events) == 3 * len(exchanges), "each was sent twice and answered once"
        assert world.upstream.queries == 1 + 2 * len(exchanges)
        assert world.upstream.failures == 0


@HOWS
@trio_test
async def test_a_connection_that_is_closed_between_exchanges_is_not_noticed(
    how: str, autojump_clock: MockClock
) -> None:
    async with upstream() as world:
        accepted = await in_use(world)
        await end(accepted, how)
        await trio.sleep(0.1)
        exchange = world.send()
        again = await world.accept()
        await again.reply_to(await again.query())
        assert await world.outcome(exchange) == "answered"


@HOWS
@trio_test
async def test_a_second_loss_is_a_failed_attempt(how: str, autojump_clock: MockClock) -> None:
    async with upstream() as world:
        accepted = await in_use(world)
        exchange, other = world.send("one.example.org"), world.send("other.example.org")
        await accepted.query()
        await accepted.close()
        again = await world.accept()
        await again.query()
        await again.reply_to(await again.query())
        await end(again, how)
        assert sorted([await world.outcome(exchange), await world.outcome(other)]) == ["answered", "closed"]


@trio_test
async def test_no_new_connection_for_what_goes_again_is_refused(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        accepted = await in_use(world)
        exchange = world.send()
        await accepted.query()
        world.stop_listening()
        await accepted.close()
        assert await world.outcome(exchange) == "refused"


@trio_test
async def test_half_a_reply_and_then_the_end_is_a_loss(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        exchange = world.send()
        accepted = await world.accept()
        await accepted.stream.send_all(framed(reply(await accepted.query()))[:20])
        await accepted.close()
        assert await world.outcome(exchange) == "closed"


@trio_test
async def test_a_connection_on_which_nothing_comes_is_given_up(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        accepted = await in_use(world)
        exchanges = []
        for number in range(SILENT_TIMEOUTS):
            exchanges.append(world.send(f"{number}.example.org"))
            await trio.sleep(0.1)
        for exchange in exchanges:
            assert await world.outcome(exchange) == "timeout"
        assert len(await accepted.until_closed()) == SILENT_TIMEOUTS
        await in_use(world)


@trio_test
async def test_after_a_query_without_a_sign_of_life_others_go_over_a_new_connection(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        silent = await in_use(world)
        unanswered = world.send("unanswered.example.org")
        await silent.stream.send_all(framed(answer := reply(await silent.query()))[:20])
        assert await world.outcome(unanswered) == "timeout"
        fresh = await in_use(world)
        await silent.stream.send_all(framed(answer)[20:])
        await until(lambda: not any(connection.is_suspect for connection in world.connections))
        exchanges = [world.send(f"{number}.example.org") for number in range(2)]
        for accepted in (silent, fresh):
            await accepted.reply_to(await accepted.query())
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"


@trio_test
async def test_however_many_connections_may_be_dead_there_are_no_more_than_ever(autojump_clock: MockClock) -> None:
    async with upstream(idle_timeout=60.0) as world:
        for _ in range(CONNECTIONS):
            await in_use(world)
            assert await world.outcome(world.send()) == "timeout"
        for accepted in world.accepted:
            await accepted.query()
            world.nursery.start_soon(accepted.serve)
        assert await world.outcome(world.send("last.example.org")) == "answered"
        assert len(world.connections) == len(world.accepted) == CONNECTIONS


@trio_test
async def test_a_query_without_a_reply_among_others_says_nothing_about_its_connection(
    autojump_clock: MockClock,
) -> None:
    async with upstream() as world:
        accepted = await in_use(world)
        unanswered = world.send("unanswered.example.org")
        await accepted.query()
        world.send("other.example.org")
        await accepted.reply_to(await accepted.query())
        assert await world.outcome(unanswered) == "timeout"
        last = world.send("last.example.org")
        await accepted.reply_to(await accepted.query())
        assert await world.outcome(last) == "answered"
        assert len(world.accepted) == 1


@trio_test
async def test_an_idle_connection_is_closed(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        accepted = await in_use(world)
        began = trio.current_time()
        assert await accepted.until_closed() == []
        assert IDLE_S - 0.1 <= trio.current_time() - began <= IDLE_S + 0.1
        assert world.connections == []


@trio_test
async def test_an_upstream_that_does_not_even_accept_is_given_up_in_time(autojump_clock: MockClock) -> None:
    async with upstream() as world, full_backlog(world):
        early = world.send("early.example.org")
        await trio.sleep(TIMEOUT_S / 2)
        later = world.send("later.example.org")
        assert await world.outcome(early) == "timeout"
        assert await world.outcome(later) == "timeout"
        await trio.sleep(TIMEOUT_S)
        assert world.connections == []


@trio_test
async def test_an_exchange_that_is_cancelled_before_the_connection_stands_is_never_sent(
    autojump_clock: MockClock,
) -> None:
    async with upstream() as world:
        cancelled, kept = world.send("cancelled.example.org"), world.send("kept.example.org")
        world.flights.submit(cancelled.cancel)
        accepted = await world.accept()
        assert (await accepted.query())[2:] == kept.query.wire[2:]
        assert cancelled.outcome == "cancelled"
        await accepted.close()
        assert await world.outcome(kept) == "closed"


@trio_test
async def test_the_time_without_a_query_can_be_chosen(autojump_clock: MockClock) -> None:
    async with upstream(idle_timeout=3.0) as world:
        accepted = await in_use(world)
        await trio.sleep(1.8)
        exchange = world.send()
        await trio.sleep(1.8)
        await accepted.reply_to(await accepted.query())
        assert await world.outcome(exchange) == "answered"
        began = trio.current_time()
        assert await accepted.until_closed() == []
        assert 2.9 <= trio.current_time() - began <= 3.1


@trio_test
async def test_an_old_connection_gets_no_new_query_and_what_is_under_way_finishes(autojump_clock: MockClock) -> None:
    async with upstream(max_age=1.0) as world:
        accepted = await in_use(world)
        await trio.sleep(0.85)
        old = world.send("old.example.org")
        asked = await accepted.query()
        await trio.sleep(0.2)
        new = world.send("new.example.org")
        again = await world.accept()
        assert (await again.query())[2:] == new.query.wire[2:]
        assert not old.done
        await accepted.reply_to(asked)
        assert await world.outcome(old) == "answered"
        assert await accepted.until_closed() == []


@trio_test
async def test_an_old_connection_that_nobody_uses_is_closed(autojump_clock: MockClock) -> None:
    async with upstream(max_age=1.0) as world:
        began = trio.current_time()
        accepted = await in_use(world)
        assert await accepted.until_closed() == []
        assert trio.current_time() - began <= 1.1


@trio_test
async def test_a_surplus_connection_that_is_turned_away_is_not_tried_again_at_once(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        accepted = await in_use(world)
        first = [world.send(f"{number}.example.org") for number in range(SHARE + 1)]
        await (await world.accept()).close()
        await until(lambda: len(world.connections) == 1)
        more = [world.send(f"{number}.example.org") for number in range(SHARE)]
        await trio.sleep(0.01)
        assert len(world.connections) == 1
        world.nursery.start_soon(accepted.serve)
        for exchange in (*first, *more):
            assert await world.outcome(exchange) == "answered"


# writing


def padded(number: int) -> bytes:
    """A query of about 60 000 octets."""
    octets = query(f"{number}.example.org")
    return octets[:11] + b"\1" + octets[12:] + make_opt(options=struct.pack("!HH", 12, 60_000) + b"\0" * 60_000)


@trio_test
async def test_an_upstream_that_reads_slowly_gets_everything_in_the_end(
    patient_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_module, "CONNECTIONS", 1)
    async with upstream() as world:
        world.listening.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        accepted = await in_use(world)
        exchanges = [world.send(octets=padded(number)) for number in range(60)]
        await until(lambda: any(connection.link.waiting for connection in world.connections))
        world.nursery.start_soon(accepted.serve)
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"


@trio_test
async def test_what_is_queued_for_an_upstream_that_does_not_read_is_bounded(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp_module, "OUT_BOUND", 500_000)
    monkeypatch.setattr(tcp_module, "CONNECTIONS", 1)
    async with upstream() as world:
        accepted = await in_use(world)
        exchanges = [world.send(octets=padded(number)) for number in range(300)]
        for exchange in exchanges:
            assert await world.outcome(exchange) == "closed"
        assert world.connections == []
        await accepted.close()


@trio_test
async def test_the_end_of_an_upstream_ends_its_exchanges(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        await in_use(world)
        exchange = world.send()
        await trio.sleep(0.01)
    world.flights.settle()
    assert exchange.done
    after = world.send()
    world.flights.settle()
    assert after.done
    assert after.outcome == "closed"
