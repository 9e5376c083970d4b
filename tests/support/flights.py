"""Flights without a chain around them: what came of a coroutine, stepped by hand."""

from collections.abc import Coroutine
from typing import Any

from dnsproxy.flight import Flight, Flights, Waiter


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
