"""Connections to an upstream that are refused, lost or silent: what was under way goes again, once."""

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.stream import framed
from dnsproxy.upstream.tcp import CONNECTIONS, SILENT_TIMEOUTS
from tests.dnstap.waiting import until
from tests.support.offline import reply
from tests.upstream.tcp_world import Accepted, in_use, upstream
from tests.upstream.world import TIMEOUT_S, Watching


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
async def test_many_that_run_out_of_time_at_once_end_nothing_where_others_were_answered_meanwhile(
    autojump_clock: MockClock,
) -> None:
    async with upstream() as world:
        accepted = await in_use(world)
        unanswered = [world.send(f"{number}.example.org") for number in range(SILENT_TIMEOUTS)]
        answered = world.send("answered.example.org")
        *_, asked = [await accepted.query() for _ in range(SILENT_TIMEOUTS + 1)]
        await accepted.reply_to(asked)
        assert await world.outcome(answered) == "answered"
        await trio.sleep(TIMEOUT_S / 2)
        later = world.send("later.example.org")
        for exchange in unanswered:
            assert await world.outcome(exchange) == "timeout"
        await accepted.reply_to(await accepted.query())
        assert await world.outcome(later) == "answered"


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
