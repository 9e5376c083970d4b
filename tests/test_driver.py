"""Both forms of the driver: sockets are served, flights stepped and timers fired where trio would wait."""

from collections.abc import Callable, Iterator
from math import inf
from typing import Any

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.driver import Driver
from dnsproxy.flight import Flights, Waiter
from tests.support.driving import FORMS, SOON_S, Reader, driving


@pytest.fixture
def make_reader() -> Iterator[Callable[..., Reader]]:
    made: list[Reader] = []

    def make(*args: Any) -> Reader:
        made.append(Reader(*args))
        return made[-1]

    yield make
    for reader in made:
        reader.close()


class Expiry:
    """A timer's end that says when it came."""

    def __init__(self) -> None:
        self.at: float = inf
        self.came = trio.Event()

    def expire(self) -> None:
        self.at = trio.lowlevel.current_clock().current_time()
        self.came.set()


@FORMS
@trio_test
async def test_what_arrives_is_taken_outside_every_task(form: type[Driver], make_reader: Callable[..., Reader]) -> None:
    def then(_: bytes) -> None:
        with pytest.raises(RuntimeError, match="must be called from async context"):
            trio.lowlevel.current_task()

    reader = make_reader(then)
    async with driving(form, reader):
        for octets in (b"one", b"two"):
            reader.theirs.send(octets)
            await reader.wait()
    assert reader.seen == [b"one", b"two"]


@FORMS
@trio_test
async def test_a_socket_may_be_added_and_removed_at_any_time(
    form: type[Driver], make_reader: Callable[..., Reader]
) -> None:
    early, late, never = (make_reader() for _ in range(3))
    async with driving(form, early, never) as (driver, flights):
        flights.submit(driver.remove, never)
        flights.submit(driver.add, late)
        await trio.lowlevel.checkpoint()
        for reader in (never, early, late):
            reader.theirs.send(b"!")
        await early.wait()
        await late.wait()
    driver.remove(early)
    driver.remove(late)
    assert never.seen == []


@FORMS
@trio_test
async def test_a_socket_removed_before_the_driver_runs_is_not_served(
    form: type[Driver], make_reader: Callable[..., Reader]
) -> None:
    kept, dropped = make_reader(), make_reader()
    flights = Flights()
    driver = form(flights)
    driver.add(kept)
    driver.add(dropped)
    driver.remove(dropped)
    async with trio.open_nursery() as nursery:
        flights.nursery = nursery
        await nursery.start(driver.run)
        dropped.theirs.send(b"!")
        kept.theirs.send(b"!")
        await kept.wait()
        nursery.cancel_scope.cancel()
    assert dropped.seen == []


@FORMS
@pytest.mark.parametrize("error", [ValueError, SystemExit, trio.Cancelled])
@trio_test
async def test_an_error_in_the_hook_is_logged_and_the_next_datagram_is_served_at_once(
    form: type[Driver],
    error: type[BaseException],
    make_reader: Callable[..., Reader],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def then(octets: bytes) -> None:
        if octets == b"bad":
            raise error.__new__(error)

    reader, other = make_reader(then), make_reader()
    async with driving(form, reader, other):
        reader.theirs.send(b"bad")
        await reader.wait()
        reader.theirs.send(b"good")
        other.theirs.send(b"good too")
        await reader.wait()
        await other.wait()
    assert reader.seen == [b"bad", b"good"]
    assert "the driver failed in this turn" in caplog.text


@FORMS
@trio_test
async def test_a_failure_in_every_turn_is_logged_now_and_then(
    form: type[Driver], make_reader: Callable[..., Reader], caplog: pytest.LogCaptureFixture
) -> None:
    def then(_: bytes) -> None:
        raise ValueError

    reader = make_reader(then)
    async with driving(form, reader):
        for _ in range(100):
            reader.theirs.send(b"!")
            await reader.wait()
    assert len(reader.seen) == 100
    assert 1 <= len(caplog.messages) <= 3


@FORMS
@trio_test
async def test_what_is_left_of_a_turn_that_failed_is_done_in_the_next(form: type[Driver]) -> None:
    done = trio.Event()

    def fail() -> None:
        raise ValueError

    async with driving(form) as (_, flights):
        flights.submit(fail)
        flights.submit(done.set)
        with trio.fail_after(SOON_S):
            await done.wait()


@FORMS
@trio_test
async def test_a_timer_fires_neither_early_nor_more_than_two_milliseconds_late(form: type[Driver]) -> None:
    late_s = []
    async with driving(form) as (_, flights):
        for delay_s in (0.0, 0.0003, 0.004, 0.01, 0.0213):
            expiry = Expiry()
            due = trio.current_time() + delay_s
            flights.timers.fifo(delay_s)[expiry] = due
            with trio.fail_after(SOON_S):
                await expiry.came.wait()
            late_s.append(expiry.at - due)
    assert min(late_s) >= 0
    assert min(late_s) < 0.002, "but for what the machine was busy with"


@trio_test
async def test_the_plain_form_lets_a_test_clock_jump_to_the_next_timer(autojump_clock: MockClock) -> None:
    async with driving(Driver) as (_, flights):
        for delay_s in (3600.0, 0.5, 0.5):
            expiry = Expiry()
            due = trio.current_time() + delay_s
            flights.timers.fifo(delay_s)[expiry] = due
            await expiry.came.wait()
            assert expiry.at == pytest.approx(due, abs=0.002)


@FORMS
@trio_test
async def test_a_task_that_a_flight_makes_runnable_runs_at_once(
    form: type[Driver], make_reader: Callable[..., Reader]
) -> None:
    event = trio.Event()
    reader = make_reader(lambda _: event.set())
    async with driving(form, reader) as (_, flights):
        reader.theirs.send(b"!")
        with trio.fail_after(SOON_S):
            await event.wait()
        again = trio.Event()
        flights.timers.fifo(0.01)[Calls(again.set)] = trio.current_time() + 0.01
        with trio.fail_after(SOON_S):
            await again.wait()


class Calls:
    """A timer or something touched that calls a function."""

    def __init__(self, function: Callable[[], object]) -> None:
        self.function = function

    def expire(self) -> None:
        self.function()

    def flush(self) -> None:
        self.function()


@FORMS
@pytest.mark.parametrize("clock", ["task", "reader"])
@trio_test
async def test_a_flight_that_a_flush_makes_ready_goes_on_at_once(
    form: type[Driver], clock: str, make_reader: Callable[..., Reader]
) -> None:
    async with driving(form) as (driver, flights):
        waiter, done = Waiter(), trio.Event()

        async def flight() -> None:
            await waiter
            done.set()

        def touch(_: bytes = b"") -> None:
            flights.touched.append(Calls(lambda: waiter.set(None)))

        flights.spawn(flight(), "a test")
        reader = make_reader(touch)
        driver.add(reader)
        if clock == "task":
            flights.submit(touch)
        else:
            reader.theirs.send(b"!")
        with trio.fail_after(SOON_S):
            await done.wait()


@FORMS
@trio_test
async def test_a_pump_that_waits_for_room_is_told_once(form: type[Driver], make_reader: Callable[..., Reader]) -> None:
    reader = make_reader()
    async with driving(form, reader) as (driver, flights):
        reader.fill()
        flights.submit(driver.want_write, reader)
        await trio.sleep(0.01)
        assert reader.writable == 0
        reader.theirs.send(b"it can still be read")
        await reader.wait()
        reader.empty()
        await reader.wait()
        await trio.sleep(0.01)
        assert reader.writable == 1
    assert reader.seen == [b"it can still be read"]


@FORMS
@trio_test
async def test_a_pump_that_is_gone_or_not_served_any_more_is_told_nothing(
    form: type[Driver], make_reader: Callable[..., Reader]
) -> None:
    waits, gone = make_reader(), make_reader()
    async with driving(form, waits, gone) as (driver, flights):
        for reader in (waits, gone):
            reader.fill()
            flights.submit(driver.want_write, reader)
        await trio.sleep(0.01)
        for reader in (waits, gone):
            flights.submit(driver.remove, reader)
        flights.submit(driver.want_write, gone)
        flights.submit(waits.close)
        await trio.sleep(0.01)
        gone.empty()
        await trio.sleep(0.01)
    assert (waits.writable, gone.writable) == (0, 0)


@FORMS
@trio_test
async def test_sockets_that_never_rest_leave_tasks_their_turns(
    form: type[Driver], make_reader: Callable[..., Reader]
) -> None:
    def send_to_itself(octets: bytes) -> None:
        reader.theirs.send(octets)

    reader = make_reader(send_to_itself)
    async with driving(form, reader):
        reader.theirs.send(b"!")
        with trio.fail_after(SOON_S):
            for _ in range(10):
                await trio.sleep(0.001)
    assert len(reader.seen) > 10


class Turns(trio.abc.Instrument):
    """Counts how often trio is about to wait."""

    def __init__(self) -> None:
        self.number = 0

    def before_io_wait(self, timeout: float) -> None:
        self.number += 1


@FORMS
@pytest.mark.parametrize("with_nursery", [True, False])
@trio_test
async def test_an_idle_driver_sleeps(form: type[Driver], with_nursery: bool) -> None:
    async with driving(form) as (_, flights):
        flights.nursery = flights.nursery if with_nursery else None
        turns = Turns()
        trio.lowlevel.add_instrument(turns)
        await trio.sleep(0.1)
        assert turns.number < 20


@FORMS
@trio_test
async def test_the_end_of_the_driver_leaves_no_hook_behind(form: type[Driver]) -> None:
    async with driving(form) as (driver, _):
        pass
    with pytest.raises(KeyError):
        trio.lowlevel.remove_instrument(driver)
