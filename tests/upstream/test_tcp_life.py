"""How long a connection to an upstream lives: until it is idle, old or one too many, and not before it stands."""

import trio
from trio.testing import MockClock, trio_test

from dnsproxy.upstream.options import IDLE_S
from dnsproxy.upstream.tcp import SHARE
from tests.dnstap.waiting import until
from tests.upstream.tcp_world import full_backlog, in_use, upstream
from tests.upstream.world import TIMEOUT_S


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
async def test_an_upstream_that_accepts_no_more_is_found_to_be_down(autojump_clock: MockClock) -> None:
    async with upstream() as world:
        await (await in_use(world)).close()
        await until(lambda: not world.connections)
        async with full_backlog(world):
            exchanges = [world.send(f"{number}.example.org") for number in range(3)]
            for exchange in exchanges:
                assert await world.outcome(exchange) == "timeout"
            assert not world.upstream.up


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
