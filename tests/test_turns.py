"""A turn of the fast driver: what has come is read before timers are asked."""

import select

import pytest

from dnsproxy.flight import Flights, Waiter
from dnsproxy.turns import Turns


@pytest.mark.parametrize("polls", [[7], [0, 7]], ids=["in time", "after a stop"])
def test_what_has_come_by_then_is_read_before_a_timer_says_that_it_has_not(polls: list[int]) -> None:
    flights, order, found = Flights(), list[str](), iter(polls)

    class Told(Waiter):
        def expire(self) -> None:
            order.append("expired")

    class Socket:
        def on_readable(self) -> None:
            order.append("read")

    class Stalled:
        """Both are due when the process has its turn again; after a stop only a second look tells of the socket."""

        def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
            return [(fd, select.EPOLLIN) for fd in (next(found, 0),) if fd]

    flights.timers.at(0.3, Told())
    Turns(flights, {7: Socket()}, Stalled(), -1, (), iter([0.0, 1.0]).__next__).take(0.5)
    assert order == ["read", "expired"]
