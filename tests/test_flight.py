"""Queries under way: what they wait for, how they end, and that their `finally` always runs."""

from typing import Any

import pytest
import trio

from dnsproxy.errors import EDE_NO_REACHABLE_AUTHORITY, SERVFAIL, DeadlineExceeded, ServerFailure
from dnsproxy.flight import Cancelled, Flights, Pending, Waiter, first_of
from dnsproxy.message import Response
from tests.support.flights import Watched, fire, start, wait_for

ANSWER = Response(b"\0" * 12)


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


# several waiters


def test_a_result_is_for_one_flight_only() -> None:
    async def race() -> object:
        return await first_of(Waiter(), shared)

    async def alone() -> object:
        return await shared

    for holder in (race, alone):
        flights, shared = Flights(), Waiter()
        first, second = start(flights, holder()), start(flights, race())
        flights.drain()
        assert isinstance(second.error, RuntimeError)
        shared.set("first")
        flights.drain()
        assert first.result in (shared, "first"), "which has lost nothing"


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


def test_whoever_waits_for_what_waits_for_another_is_under_way_once() -> None:
    flights, inner, outer = Flights(), Later(), Later()
    inner.watcher = outer
    for pending in (inner, outer):
        flights.timers.at(3.0, pending)
    parked = park(flights, outer)
    assert flights.under_way() == [parked]
    outer.set(ANSWER)
    assert flights.under_way() == [parked], "it can go on"
    flights.drain()
    assert flights.under_way() == []


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
