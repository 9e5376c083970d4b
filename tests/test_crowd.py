"""Many clients of a small service, most of whom mean no good."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock, memory_stream_pair, trio_test, wait_all_tasks_blocked

from dnsproxy.crowd import Crowd

MOST = 3
SECONDS = 5.0

Converse = Callable[[trio.abc.Stream], Awaitable[None]]
Enter = Callable[[Converse], Awaitable[trio.abc.Stream]]


@asynccontextmanager
async def crowd() -> AsyncIterator[Enter]:
    """Clients come one after the other; each gets the other end of its conversation."""
    place = Crowd(MOST, SECONDS)
    async with trio.open_nursery() as nursery:

        async def enter(converse: Converse) -> trio.abc.Stream:
            ours, theirs = memory_stream_pair()
            nursery.start_soon(place.serve, ours, converse)
            await wait_all_tasks_blocked()
            return theirs

        yield enter
        nursery.cancel_scope.cancel()


async def answer_a_word(stream: trio.abc.Stream) -> None:
    await stream.receive_some()
    await stream.send_all(b"answer")


async def is_closed(client: trio.abc.Stream) -> bool:
    with trio.move_on_after(0.01):
        return await client.receive_some() == b""
    return False


@trio_test
async def test_whoever_came_first_goes_when_there_are_too_many(autojump_clock: MockClock) -> None:
    async with crowd() as enter:
        clients = [await enter(answer_a_word) for _ in range(MOST + 2)]
        assert [await is_closed(client) for client in clients] == [True, True, False, False, False]
        for client in clients[2:]:
            await client.send_all(b"a word")
            assert await client.receive_some() == b"answer"
            assert await is_closed(client)


@trio_test
async def test_those_who_have_left_make_room_for_others(autojump_clock: MockClock) -> None:
    async with crowd() as enter:
        stays = await enter(answer_a_word)
        for _ in range(2 * MOST):
            await (await enter(answer_a_word)).aclose()
        assert not await is_closed(stays)


@trio_test
async def test_nobody_stays_for_ever(autojump_clock: MockClock) -> None:
    async with crowd() as enter:
        client = await enter(answer_a_word)
        began = trio.current_time()
        assert await client.receive_some() == b""
        assert trio.current_time() - began <= SECONDS


@trio_test
async def test_one_that_goes_away_while_it_is_answered_harms_nobody(autojump_clock: MockClock) -> None:
    async def answer_for_ever(stream: trio.abc.Stream) -> None:
        while True:
            await stream.send_all(b"answer")
            await trio.sleep(0.1)

    async with crowd() as enter:
        await (await enter(answer_for_ever)).aclose()
        await trio.sleep(1)
        assert not await is_closed(await enter(answer_a_word))
