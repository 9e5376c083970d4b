"""Asking an upstream by TCP: connections are shared, replies find their exchanges, and every exchange ends."""

import socket

import dns.flags
import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.stream import framed
from dnsproxy.upstream import tcp as tcp_module
from dnsproxy.upstream.options import IDLE_S
from dnsproxy.upstream.tcp import CONNECTIONS, SHARE
from tests.dnstap.waiting import until
from tests.support.offline import reply
from tests.upstream.tcp_world import in_use, padded, upstream


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


# writing


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
