"""Queries under way: what they wait for, how they end, and that their `finally` always runs."""

import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from math import inf
from typing import Any

import pytest
import trio
from trio.testing import MockClock, trio_test, wait_all_tasks_blocked

from dnsproxy.driver import Driver
from dnsproxy.errors import EDE_NO_REACHABLE_AUTHORITY, SERVFAIL, DeadlineExceeded, ServerFailure
from dnsproxy.flight import Cancelled, Flight, Flights, Pending, Race, Waiter, first_of
from dnsproxy.message import Response
from dnsproxy.timers import STALE_TIMERS, Timers

ANSWER = Response(b"\0" * 12)


class Watched(Flight):
    """A flight that keeps what came of it."""

    def __init__(self, flights: Flights, coroutine: Any) -> None:
        super().__init__(flights, coroutine)
        self.ends: list[tuple[object, BaseException | None]] = []

    def finish(self, result: Any, error: BaseException | None) -> None:
        self.ends.append((result, error))

    @property
    def result(self) -> object:
        ((result, error),) = self.ends
        assert error is None
        return result

    @property
    def error(self) -> BaseException:
        ((_, error),) = self.ends
        assert error is not None
        return error


def start(flights: Flights, coroutine: Coroutine[Any, Any, Any]) -> Watched:
    flight = Watched(flights, coroutine)
    flights.step(flight)
    return flight


def fire(flights: Flights, now: float) -> None:
    """The clock shows `now`."""
    flights.now = now
    flights.timers.fire(now)
    flights.drain()


async def wait_for(waiter: Waiter) -> Any:
    return await waiter


# waiters


def test_a_flight_that_waits_for_nothing_ends_at_once() -> None:
    async def answers() -> int:
        return 7

    assert start(Flights(), answers()).result == 7


def test_a_result_parks_nobody_twice_and_goes_on_at_the_next_drain() -> None:
    flights, waiter = Flights(), Waiter()
    flight = start(flights, wait_for(waiter))
    waiter.set("first")
    waiter.set("second")
    waiter.fail(ValueError())
    waiter.cancel()
    assert flight.ends == []
    flights.drain()
    assert flight.result == "first"
    assert start(flights, wait_for(waiter)).result == "first", "whoever comes late gets it too"


def test_an_error_is_raised_where_the_flight_waits() -> None:
    flights, waiter = Flights(), Waiter()
    flight = start(flights, wait_for(waiter))
    waiter.fail(ValueError("no"))
    flights.drain()
    assert isinstance(flight.error, ValueError)


def test_a_cancelled_waiter_raises_cancelled_and_an_expired_one_gives_none() -> None:
    flights, cancelled, expired = Flights(), Waiter(), Waiter()
    one, other = start(flights, wait_for(cancelled)), start(flights, wait_for(expired))
    cancelled.cancel()
    expired.expire()
    flights.drain()
    assert isinstance(one.error, Cancelled)
    assert other.result is None


def test_two_flights_cannot_wait_for_the_same_result_and_the_error_says_so() -> None:
    flights, waiter = Flights(), Waiter()
    first, second = start(flights, wait_for(waiter)), start(flights, wait_for(waiter))
    assert "another" in str(second.error)
    waiter.set(1)
    flights.drain()
    assert first.result == 1


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, trio.Cancelled])
def test_whatever_a_coroutine_raises_ends_that_flight_alone(error: type[BaseException]) -> None:
    async def raises() -> None:
        raise error.__new__(error)

    async def raises_later() -> None:
        await waiter
        await raises()

    flights, waiter = Flights(), Waiter()
    assert isinstance(start(flights, raises()).error, error)
    later = start(flights, raises_later())
    neighbour = start(flights, wait_for(other := Waiter()))
    waiter.set(None)
    other.set(2)
    flights.drain()
    assert isinstance(later.error, error)
    assert neighbour.result == 2


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


# several waiters


def test_the_first_of_several_is_told_and_the_others_can_still_be_awaited() -> None:
    async def race() -> object:
        assert await first_of(slow, quick) is quick
        return await quick, await slow

    flights, slow, quick = Flights(), Waiter(), Waiter()
    flight = start(flights, race())
    quick.set("quick")
    flights.drain()
    assert flight.ends == []
    slow.set("slow")
    flights.drain()
    assert flight.result == ("quick", "slow")


def test_one_that_is_done_already_wins_without_waiting() -> None:
    async def race() -> object:
        return await first_of(Waiter(), done, until=0)

    done = Waiter()
    done.fail(ValueError())
    assert start(Flights(), race()).result is done


def test_a_failed_one_wins_too_and_raises_when_it_is_awaited() -> None:
    async def race() -> object:
        winner = await first_of(failing, Waiter())
        assert winner is failing
        return await winner

    flights, failing = Flights(), Waiter()
    flight = start(flights, race())
    failing.fail(ValueError())
    flights.drain()
    assert isinstance(flight.error, ValueError)


def test_when_the_time_is_up_nobody_has_won() -> None:
    async def race() -> object:
        return await first_of(never, until=10.0), never.watcher

    flights, never = Flights(), Waiter()
    flight = start(flights, race())
    fire(flights, 9.999)
    assert flight.ends == []
    fire(flights, 10.0)
    assert flight.result == (None, None)


def test_two_that_are_done_in_the_same_turn_give_one_winner() -> None:
    async def race() -> object:
        return await first_of(one, other)

    flights, one, other = Flights(), Waiter(), Waiter()
    flight = start(flights, race())
    one.set(1)
    other.set(2)
    flights.drain()
    assert flight.result is one


# answers that need no coroutine


class Later(Pending):
    """Answers with what it was set to, or raises, or goes on in a coroutine."""

    def conclude(self) -> Any:
        if isinstance(self.value, Exception):
            raise self.value
        return wait_for(self.value) if isinstance(self.value, Waiter) else self.value


def park(flights: Flights, pending: Pending) -> Watched:
    """As the intake does with what a handler returned."""
    flight = Watched(flights, None)
    flight.waiter = pending
    pending.flight = flight
    return flight


def test_a_pending_answer_ends_its_flight_without_a_coroutine() -> None:
    flights, pending = Flights(), Later()
    flight = park(flights, pending)
    pending.set(ANSWER)
    flights.drain()
    assert flight.result is ANSWER


def test_a_pending_answer_may_go_on_in_a_coroutine() -> None:
    flights, pending, more = Flights(), Later(), Waiter()
    flight = park(flights, pending)
    pending.set(more)
    flights.drain()
    assert flight.ends == []
    more.set(ANSWER)
    flights.drain()
    assert flight.result is ANSWER


@pytest.mark.parametrize("how", ["error", "conclude"])
def test_a_pending_answer_may_fail(how: str) -> None:
    flights, pending = Flights(), Later()
    flight = park(flights, pending)
    if how == "error":
        pending.fail(ValueError())
    else:
        pending.set(ValueError())
    flights.drain()
    assert isinstance(flight.error, ValueError)


def test_a_pending_answer_can_be_awaited_like_any_other() -> None:
    flights, pending = Flights(), Later()
    flight = start(flights, wait_for(pending))
    pending.set(ANSWER)
    flights.drain()
    assert flight.result is ANSWER
    assert start(flights, wait_for(pending)).result is ANSWER


# timers


class Thing:
    def __init__(self, timers: Timers | None = None) -> None:
        self.timers = timers
        self.expired = 0

    def expire(self) -> None:
        self.expired += 1
        if self.timers is not None:
            self.timers.fifo(99.0)[Thing()] = 199.0


def test_timers_expire_in_time_and_once() -> None:
    timers = Timers()
    early, late, stopped, waiter = Thing(), Thing(), Thing(), Waiter()
    timers.fifo(1.0)[early] = 1.0
    timers.fifo(1.0)[stopped] = 1.0
    timers.fifo(3.0)[late] = 3.0
    timers.at(2.0, waiter)
    del timers.fifo(1.0)[stopped]
    seen = []
    for now in (0.5, 1.0, 1.5, 2.0, 3.0, 4.0):
        timers.fire(now)
        seen.append((early.expired, waiter.done, late.expired, timers.soonest()))
    assert seen == [
        (0, False, 0, 1.0),
        (1, False, 0, 2.0),
        (1, False, 0, 2.0),
        (1, True, 0, 3.0),
        (1, True, 1, inf),
        (1, True, 1, inf),
    ]
    assert stopped.expired == 0


def test_an_expiry_may_set_timers_of_a_new_duration() -> None:
    timers = Timers()
    thing = Thing(timers)
    timers.fifo(1.0)[thing] = 1.0
    timers.fire(1.0)
    assert (thing.expired, timers.soonest()) == (1, 199.0)


def test_an_expiry_may_stop_a_timer_that_is_due_too() -> None:
    class Stops:
        def expire(self) -> None:
            timers.fifo(1.0).pop(other, None)

    timers, other = Timers(), Thing()
    timers.fifo(1.0)[Stops()] = 1.0
    timers.fifo(1.0)[other] = 1.0
    timers.fire(1.0)
    assert other.expired == 0


def test_timers_of_what_is_done_do_not_pile_up() -> None:
    timers = Timers()
    for number in range(50 * STALE_TIMERS):
        waiter = Waiter()
        timers.at(1000.0 + number, waiter)
        waiter.set(None)
    assert len(timers.heap) <= 2 * STALE_TIMERS


# how flights end


def test_a_deadline_throws_into_the_coroutine_and_cancels_what_it_waits_for() -> None:
    flights, waiter = Flights(), Waiter()
    flight = start(flights, wait_for(waiter))
    flight.expire()
    assert isinstance(flight.error, DeadlineExceeded)
    assert (flight.error.rcode, flight.error.ede_code) == (SERVFAIL, EDE_NO_REACHABLE_AUTHORITY)
    assert isinstance(waiter.error, Cancelled)
    flights.drain()
    assert len(flight.ends) == 1


def test_a_deadline_between_the_result_and_the_next_drain_ends_the_flight_once() -> None:
    flights, waiter = Flights(), Waiter()
    flight = start(flights, wait_for(waiter))
    waiter.set(1)
    flight.expire()
    flights.drain()
    assert isinstance(flight.error, DeadlineExceeded)


def test_a_coroutine_may_answer_when_its_deadline_has_passed() -> None:
    async def stale() -> str:
        try:
            await Waiter()
        except DeadlineExceeded:
            return "stale"
        return "never"

    flight = start(Flights(), stale())
    flight.expire()
    assert flight.result == "stale"


@pytest.mark.parametrize("gives_in", [True, False])
def test_a_coroutine_that_waits_on_after_its_deadline_is_ended(gives_in: bool) -> None:
    async def tries_again() -> None:
        for waiter in waiters:
            try:
                await waiter
            except BaseException:
                if gives_in and waiter is second:
                    raise

    first, second, third = waiters = [Waiter(), Waiter(), Waiter()]
    flights = Flights()
    flight = start(flights, tries_again())
    flight.expire()
    assert isinstance(flight.error, DeadlineExceeded)
    assert isinstance(second.error, Cancelled)
    first.set(1)
    second.set(2)
    third.set(3)
    flights.drain()
    assert len(flight.ends) == 1


@pytest.mark.parametrize("how", ["throw", "close", "expire"])
def test_however_a_flight_ends_its_finally_runs_at_once(how: str) -> None:
    async def careful() -> None:
        try:
            await Waiter()
        finally:
            done.append(how)

    done: list[str] = []
    flights = Flights()
    flight = start(flights, careful())
    flight.timer = flights.timers.fifo(5.0)
    flight.timer[flight] = 5.0
    match how:
        case "throw":
            flight.throw(ServerFailure())
        case "close":
            flights.close()
        case "expire":
            flights.timers.fire(5.0)
    assert done == [how]
    assert len(flight.ends) == 1


def test_closing_ends_everything_that_is_under_way(caplog: pytest.LogCaptureFixture) -> None:
    async def race() -> None:
        await first_of(Waiter(), until=7.0)

    async def unbegun() -> None:
        raise AssertionError

    flights, pending = Flights(), Later()
    racing, parked = start(flights, race()), park(flights, pending)
    flights.timers.at(3.0, pending)
    flights.spawn(race(), "in the background")
    flights.drain()
    flights.spawn(unbegun(), "not begun")
    flights.close()
    assert isinstance(racing.error, ServerFailure)
    assert isinstance(parked.error, ServerFailure)
    assert isinstance(pending.error, Cancelled)
    assert caplog.records == []


def test_background_work_that_fails_is_logged_and_that_is_cancelled_is_not(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(error: Exception) -> None:
        raise error

    flights = Flights()
    flights.spawn(fails(ValueError("broken")), "probing")
    flights.spawn(fails(Cancelled()), "something else")
    flights.drain()
    assert caplog.messages == ["probing failed: ValueError('broken')"]


def test_work_that_makes_more_work_is_done_before_the_drain_ends() -> None:
    flights = Flights()
    done: list[int] = []
    flights.submit(lambda: flights.submit(done.append, 1))
    flights.drain()
    assert done == [1]


def test_settling_goes_on_until_nothing_is_touched_or_ready() -> None:
    class Socket:
        def __init__(self, waiter: Waiter) -> None:
            self.waiter = waiter

        def flush(self) -> None:
            self.waiter.set(None)

    async def sends_again() -> None:
        await first
        flights.touched.append(Socket(second))
        await second

    flights, first, second = Flights(), Waiter(), Waiter()
    flight = start(flights, sends_again())
    flights.touched.append(Socket(first))
    flights.settle()
    assert flight.result is None


# tasks of their own


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
