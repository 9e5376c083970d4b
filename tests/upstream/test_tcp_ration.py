"""Upstreams that close after a few answers: the number is learned, kept to, and forgotten when it is no longer true."""

import os
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.stream import framed
from dnsproxy.upstream import ration
from dnsproxy.upstream.options import TlsOptions
from dnsproxy.upstream.ration import CONNECTIONS, ENDLESS, FADE_S, LINGER_S, MANY
from tests.dnstap.waiting import until
from tests.support.offline import reply
from tests.upstream.certificates import Certificates
from tests.upstream.tcp_world import Accepted, World, in_use, upstream
from tests.upstream.world import TIMEOUT_S, Watching


async def answer_and_close(accepted: Accepted, count: int) -> None:
    """As a server does that reads everything and answers the first of it."""
    for _ in range(count):
        await accepted.reply_to(await accepted.query())
    await accepted.close()


async def close_each(world: World, connections: int, count: int = 1) -> None:
    for _ in range(connections):
        world.nursery.start_soon(answer_and_close, await world.accept(), count)


async def serve_all(world: World) -> None:
    """As a server does that keeps its connections."""
    while True:
        world.nursery.start_soon((await world.accept()).serve)


async def be_refused(world: World) -> None:
    """As a server is whose certificate will not do."""
    while True:
        with pytest.raises(trio.BrokenResourceError):
            await (await world.accept()).query()


async def learned(world: World, count: int = 1) -> None:
    """The upstream has closed after so many answers, under one query more."""
    exchanges = [world.send(f"learned{number}.example.org") for number in range(count + 1)]
    await close_each(world, 1, count)
    await close_each(world, 1, 1)
    for exchange in exchanges:
        assert await world.outcome(exchange) == "answered"
    await until(lambda: not world.connections)
    assert world.pool.limit == count


# what is learned


@trio_test
async def test_what_goes_again_is_spread_over_connections_by_the_number_of_answers_before_the_end(
    autojump_clock: MockClock,
) -> None:
    async with upstream() as world:
        tap = Watching()
        exchanges = [world.send(f"{number}.example.org", taps=(tap,)) for number in range(9)]
        await close_each(world, 1, 3)
        first, second = await world.accept(), await world.accept()
        for accepted in (first, second):
            for _ in range(3):
                await accepted.reply_to(await accepted.query())
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
            assert exchange.attempt == 1
        assert len(tap.events) == 9 + 6 + 9, "six were sent twice, each was answered once"
        assert world.upstream.failures == 0


@trio_test
async def test_a_connection_gets_no_more_queries_than_it_is_good_for(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        await learned(world, 2)
        exchanges = [world.send(f"{number}.example.org") for number in range(3)]
        first, second = await world.accept(), await world.accept()
        await first.reply_to(await first.query())
        exchanges.append(world.send("later.example.org"))
        await second.reply_to(await second.query())
        await second.reply_to(await second.query())
        await first.reply_to(await first.query())
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
        assert world.upstream.queries == 4 + 4, "of which the first of the two lost ones was sent twice"


@trio_test
async def test_an_end_without_queries_teaches_nothing(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        await (await in_use(world)).close()
        await until(lambda: not world.connections)
        assert world.pool.limit == ENDLESS


@trio_test
async def test_neither_does_one_under_queries_that_were_sent_after_the_last_answer(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        accepted = await in_use(world)
        exchanges = [world.send(f"{number}.example.org") for number in range(5)]
        await accepted.query()
        await accepted.close()
        world.nursery.start_soon((await world.accept()).serve)
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
        assert world.pool.limit == ENDLESS
        assert len(world.accepted) == 2


@trio_test
async def test_neither_does_one_after_many_answers(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        accepted = await in_use(world)
        exchanges = [world.send(f"{number}.example.org") for number in range(MANY + 1)]
        for _ in range(MANY):
            await accepted.reply_to(await accepted.query())
        await accepted.close()
        world.nursery.start_soon(serve_all, world)
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
        assert world.pool.limit == ENDLESS


# who waits


@trio_test
async def test_whoever_finds_no_connection_waits_unsent_for_one_to_end(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        await learned(world)
        tap = Watching()
        exchanges = [world.send(f"{number}.example.org", taps=(tap,)) for number in range(CONNECTIONS + 3)]
        held = [await world.accept() for _ in range(CONNECTIONS)]
        asked = [await accepted.query() for accepted in held]
        assert len(tap.events) == world.pool.open_connections == CONNECTIONS
        for accepted, octets in zip(held, asked, strict=True):
            await accepted.reply_to(octets)
            await accepted.close()
        await close_each(world, 3)
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
        assert len(tap.events) == 2 * len(exchanges)


@trio_test
async def test_who_waits_in_vain_was_never_sent_and_the_upstream_is_busy_not_down(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        await learned(world)
        sent = [world.send(f"{number}.example.org") for number in range(CONNECTIONS)]
        tap = Watching()
        waiting = [world.send(f"w{number}.example.org", taps=(tap,)) for number in range(10)]
        held = [await world.accept() for _ in range(CONNECTIONS)]
        await trio.sleep(TIMEOUT_S - 0.1)
        await held[0].reply_to(await held[0].query())
        for exchange in (*sent[1:], *waiting):
            assert await world.outcome(exchange) == "timeout"
        assert await world.outcome(sent[0]) == "answered"
        assert tap.events == []
        assert world.upstream.up


@trio_test
async def test_who_is_cancelled_while_waiting_is_never_sent(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        await learned(world)
        for number in range(CONNECTIONS):
            world.send(f"{number}.example.org")
        cancelled, kept = world.send("cancelled.example.org"), world.send("kept.example.org")
        world.flights.submit(cancelled.cancel)
        await close_each(world, CONNECTIONS)
        last = await world.accept()
        assert (await last.query())[2:] == kept.query.wire[2:]
        assert cancelled.outcome == "cancelled"


@trio_test
async def test_those_who_wait_are_bounded(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ration, "WAITING", 2)
    async with upstream() as world:
        await learned(world)
        exchanges = [world.send(f"{number}.example.org") for number in range(CONNECTIONS + 3)]
        await until(lambda: exchanges[-1].done)
        assert [exchange.outcome for exchange in exchanges if exchange.done] == ["closed"]


@trio_test
async def test_a_query_without_a_reply_ends_a_connection_that_is_good_for_no_other(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        await learned(world)
        silent = [world.send(f"{number}.example.org") for number in range(CONNECTIONS)]
        held = [await world.accept() for _ in silent]
        await trio.sleep(TIMEOUT_S / 2)
        waiting = [world.send(f"w{number}.example.org") for number in range(CONNECTIONS)]
        for exchange in silent:
            assert await world.outcome(exchange) == "timeout"
        for accepted in held:
            assert len(await accepted.until_closed()) == 1
        fresh = [await world.accept() for _ in waiting]
        for accepted in fresh:
            await accepted.reply_to(await accepted.query())
        for exchange in waiting:
            assert await world.outcome(exchange) == "answered"


@trio_test
async def test_what_goes_again_does_so_on_a_new_connection_though_older_ones_are_good_for_it(
    autojump_clock: MockClock,
) -> None:
    async with upstream() as world:
        await learned(world)
        before = [world.send(f"{number}.example.org") for number in range(2)]
        held = [await world.accept() for _ in before]
        await held[0].reply_to(await held[0].query())
        await until(lambda: world.pool.limit == 2)
        await held[1].reply_to(await held[1].query())
        for exchange in before:
            assert await world.outcome(exchange) == "answered"
        lost = world.send("lost.example.org")
        await until(lambda: lost.carrier is not None)
        assert lost.carrier is not None
        for accepted in held:
            if accepted.socket.getpeername()[1] == lost.carrier.route.query_port:
                await accepted.close()
        again = await world.accept()
        await again.reply_to(await again.query())
        assert await world.outcome(lost) == "answered"
        assert len(world.connections) == 2


@trio_test
async def test_a_second_loss_is_a_failed_attempt_here_too(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        exchanges = [world.send(f"{number}.example.org") for number in range(2)]
        await close_each(world, 1)
        again = await world.accept()
        await again.query()
        again.reset()
        assert [await world.outcome(exchange) for exchange in exchanges] == ["answered", "closed"]


@trio_test
async def test_when_nobody_listens_any_more_all_who_wait_are_refused_at_once(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        await learned(world)
        world.stop_listening()
        began = trio.current_time()
        exchanges = [world.send(f"{number}.example.org") for number in range(10 * CONNECTIONS)]
        for exchange in exchanges:
            assert await world.outcome(exchange) == "refused"
        assert trio.current_time() - began < LINGER_S


@trio_test
async def test_while_a_certificate_is_refused_nobody_waits(autojump_clock: MockClock, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    async with upstream(certificates.good(), tls=TlsOptions(ca=certificates.ca)) as world:
        await learned(world)
        world.context = certificates.unknown_issuer()
        world.nursery.start_soon(be_refused, world)
        exchanges = [world.send(f"{number}.example.org") for number in range(2 * CONNECTIONS)]
        for exchange in exchanges:
            assert await world.outcome(exchange) == "tls_error"
        assert await world.outcome(world.send("last.example.org")) == "tls_error"


@trio_test
async def test_the_end_of_an_upstream_ends_who_waits(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        await learned(world)
        exchanges = [world.send(f"{number}.example.org") for number in range(2 * CONNECTIONS)]
        await trio.sleep(0.01)
    world.flights.settle()
    assert {exchange.outcome for exchange in exchanges} == {"cancelled"}
    after = world.send()
    world.flights.settle()
    assert after.outcome == "closed"


# what is forgotten


@trio_test
async def test_a_connection_that_stays_open_after_its_number_is_good_for_more(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        await learned(world)
        exchange = world.send()
        witness = await world.accept()
        await witness.reply_to(await witness.query())
        assert await world.outcome(exchange) == "answered"
        await trio.sleep(LINGER_S / 2)
        assert world.pool.limit == 1
        await trio.sleep(LINGER_S)
        assert world.pool.limit == 2
        world.nursery.start_soon(witness.serve)
        rounds = 0
        while world.pool.limit < ENDLESS:
            assert await world.outcome(world.send()) == "answered"
            await trio.sleep(LINGER_S)
            rounds += 1
        assert rounds < MANY
        assert len(world.connections) == 1


@trio_test
async def test_other_connections_do_not_wait_for_the_witness(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        await learned(world)
        exchanges = [world.send(f"{number}.example.org") for number in range(2 * CONNECTIONS)]
        began = trio.current_time()
        for _ in exchanges:
            accepted = await world.accept()
            await accepted.reply_to(await accepted.query())
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
        assert trio.current_time() - began < LINGER_S
        await until(lambda: world.pool.open_connections == 1)


@trio_test
async def test_a_connection_that_gives_more_answers_raises_the_number(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        exchanges = [world.send(f"{number}.example.org") for number in range(24)]
        first, second = await world.accept(), await world.accept()
        for _ in range(3):
            await second.reply_to(await second.query())
        await answer_and_close(first, 1)
        await until(lambda: world.pool.limit == 1)
        await second.reply_to(await second.query())
        await until(lambda: world.pool.limit == 4)
        world.nursery.start_soon(serve_all, world)
        world.nursery.start_soon(second.serve)
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"


@trio_test
async def test_after_a_while_the_number_is_forgotten(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        await learned(world)
        await trio.sleep(FADE_S)
        exchanges = [world.send(f"{number}.example.org") for number in range(3)]
        world.nursery.start_soon((await world.accept()).serve)
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
        assert world.pool.limit == ENDLESS


# what came before the end


@trio_test
async def test_an_answer_that_came_before_the_reset_counts_though_a_write_sees_the_reset_first(
    autojump_clock: MockClock,
) -> None:
    async with upstream() as world:
        answered = world.send("answered.example.org")
        accepted = await world.accept()
        octets = framed(reply(await accepted.query()))
        await until(partial(bool, world.connections))
        os.write(accepted.socket.fileno(), octets)
        accepted.reset()
        late = world.send("late.example.org")
        assert await world.outcome(answered) == "answered"
        await (again := await world.accept()).reply_to(await again.query())
        assert await world.outcome(late) == "answered"
