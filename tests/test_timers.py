"""Timers: in time, once, and without piling up."""

from math import inf

from dnsproxy.flight import Waiter
from dnsproxy.timers import STALE_TIMERS, Timers


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
