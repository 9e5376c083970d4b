"""Flights and trio: what runs in tasks of its own, and what refuses to work outside every task."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, trio_test, wait_all_tasks_blocked

from dnsproxy.driver import Driver
from dnsproxy.errors import DeadlineExceeded, ServerFailure
from dnsproxy.flight import Flights, Race, Waiter, first_of
from tests.support.flights import Watched, start, wait_for


@asynccontextmanager
async def driving(run_tasks: int = 1000) -> AsyncIterator[Flights]:
    """Flights under the plain driver, which a test clock can drive."""
    flights = Flights(run_tasks)
    async with trio.open_nursery() as nursery:
        flights.nursery = nursery
        await nursery.start(Driver(flights).run)
        yield flights
        nursery.cancel_scope.cancel()


async def run(flights: Flights, async_fn: Callable[..., Any], *args: object) -> Watched:
    """A flight that runs the function in a task, begun outside every task as it should be."""

    async def handle() -> Any:
        return await flight.run(async_fn, args)

    flight = Watched(flights, None)
    flight.coroutine = handle()
    flights.submit(flights.step, flight)
    await trio.lowlevel.checkpoint()
    return flight


@trio_test
async def test_an_async_function_runs_in_a_real_task_and_its_result_comes_back(autojump_clock: MockClock) -> None:
    async def look_up(name: str) -> str:
        with trio.move_on_after(10):
            await trio.sleep(3)
        return name + "."

    async with driving() as flights:
        flight = await run(flights, look_up, "example.org")
        assert flights.tasks_running == 1
        await trio.sleep(2.9)
        assert flight.ends == []
        await trio.sleep(0.2)
        assert flight.result == "example.org."
        assert flights.tasks_running == 0


@trio_test
async def test_an_error_in_the_task_comes_back_too(autojump_clock: MockClock) -> None:
    async def fails() -> None:
        await trio.sleep(1)
        raise ValueError

    async with driving() as flights:
        flight = await run(flights, fails)
        await trio.sleep(2)
        assert isinstance(flight.error, ValueError)
        flight = await run(flights, lambda: 7)
        await wait_all_tasks_blocked()
        assert isinstance(flight.error, TypeError)
        assert flights.tasks_running == 0


@trio_test
@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("in_a_nursery", [False, True])
async def test_nothing_that_is_raised_there_ends_more_than_its_flight(
    error: type[BaseException], in_a_nursery: bool, autojump_clock: MockClock
) -> None:
    async def fails() -> None:
        await trio.sleep(1)
        raise error

    async def fails_beside_others() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(fails)

    async with driving() as flights:
        flight = await run(flights, fails_beside_others if in_a_nursery else fails)
        await trio.sleep(2)
        raised = flight.error.exceptions[0] if isinstance(flight.error, BaseExceptionGroup) else flight.error
        assert isinstance(raised, error)
        assert flights.tasks_running == 0


@trio_test
async def test_the_task_is_cancelled_when_its_flight_ends(autojump_clock: MockClock) -> None:
    async def careful() -> None:
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(trio.current_time())

    cancelled: list[float] = []
    async with driving() as flights:
        flight = await run(flights, careful)
        flight.timer = flights.timers.fifo(4.5)
        flight.timer[flight] = trio.current_time() + 4.5
        began = trio.current_time()
        await trio.sleep(5)
        assert isinstance(flight.error, DeadlineExceeded)
        assert cancelled == [pytest.approx(began + 4.5, abs=0.01)]
        assert flights.tasks_running == 0


@trio_test
async def test_tasks_are_bounded_in_number_and_those_beyond_are_counted(autojump_clock: MockClock) -> None:
    async with driving(run_tasks=2) as flights:
        running = [await run(flights, trio.sleep, 1) for _ in range(2)]
        refused = await run(flights, trio.sleep, 1)
        assert isinstance(refused.error, ServerFailure)
        assert flights.tasks_refused == 1
        await trio.sleep(1.1)
        assert [flight.result for flight in running] == [None, None]
        assert (await run(flights, trio.sleep, 0)).ends == []


@trio_test
async def test_a_first_of_with_a_time_limit_keeps_the_test_clock_right(autojump_clock: MockClock) -> None:
    async def race() -> float:
        await first_of(Waiter(), until=flights.now + 1.5)
        return flights.now

    async with driving() as flights:
        began = trio.current_time()
        flight = Watched(flights, race())
        flights.submit(flights.step, flight)
        await trio.sleep(2)
        assert flight.result == pytest.approx(began + 1.5, abs=0.01)


def test_a_race_says_when_it_ends() -> None:
    assert Race(3.0).until == 3.0


def test_nothing_of_this_is_logged_above_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    flights = Flights()
    start(flights, wait_for(Waiter())).expire()
    flights.close()
    assert caplog.records == []


# what only trio tasks can wait for


class Strange:
    """Something that another event loop would know what to do with."""

    def __await__(self) -> Any:
        yield self


class Stubborn:
    """Cannot be ended by any means."""

    def __await__(self) -> Any:
        return self

    def __next__(self) -> Any:
        return self

    def throw(self, *error: object) -> Any:
        return self

    def close(self) -> None:
        raise RuntimeError("no")


def test_waiting_for_something_of_another_event_loop_is_an_error_that_says_what_to_do() -> None:
    async def handle() -> None:
        await Strange()

    flight = start(Flights(), handle())
    assert isinstance(flight.error, RuntimeError)
    assert "query.run" in str(flight.error)


def test_a_coroutine_that_catches_that_error_may_still_answer() -> None:
    async def handle() -> str:
        try:
            await Strange()
        except RuntimeError:
            return "answered"
        return "never"

    assert start(Flights(), handle()).result == "answered"


def test_a_coroutine_that_will_not_be_ended_is_left_behind() -> None:
    async def handle() -> None:
        await Stubborn()

    assert "query.run" in str(start(Flights(), handle()).error)


async def naps() -> None:
    await trio.sleep(1)


async def enters_a_scope() -> None:
    with trio.CancelScope():
        await Waiter()


async def opens_a_nursery() -> None:
    async with trio.open_nursery():
        await Waiter()


async def takes_a_lock() -> None:
    async with trio.Lock():
        await Waiter()


@trio_test
async def test_trio_itself_refuses_to_work_in_a_flight(autojump_clock: MockClock) -> None:
    async with driving() as flights:
        for handle in (
            trio.to_thread.run_sync(lambda: None),
            trio.Event().wait(),
            naps(),
            enters_a_scope(),
            opens_a_nursery(),
            takes_a_lock(),
        ):
            flight = Watched(flights, handle)
            flights.submit(flights.step, flight)
            await trio.sleep(1)
            assert isinstance(flight.error, RuntimeError)
