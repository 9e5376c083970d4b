"""The inner loop of the fast driver: poll, pump, step, flush, again, until trio should have its turn."""

from __future__ import annotations

import select
from collections.abc import Callable
from typing import Any, Final

from dnsproxy.flight import Flights

TURNS: Final = 64  # rounds of our own poll before trio has its turn, whatever is waiting
EVENTS: Final = 64  # per poll: Python's default allocates room for 1023 each time
MIN_WAIT_S: Final = 0.001  # resolution of timers: a shorter wait would spin
LATE_S: Final = 0.01  # timers that late: the process had no turn, or was stopped, and does not know what has come
MAX_WAIT_S: Final = 86400.0  # epoll takes no more than about 24 days
READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT


class Turns:
    """Serves the pumps that are registered with `epoll`, which also holds trio's own as `trio_fd`.

    `run_queue` is trio's queue of tasks that can run, `clock` its clock. A leaf, so that it can be compiled.
    """

    def __init__(
        self,
        flights: Flights,
        pumps: dict[int, Any],
        epoll: Any,
        trio_fd: int,
        run_queue: Any,
        clock: Callable[[], float],
    ) -> None:
        self.flights = flights
        self.pumps = pumps
        self.epoll = epoll
        self.trio_fd = trio_fd
        self.run_queue = run_queue
        self.clock = clock
        self.writers: set[int] = set()

    def take(self, timeout: float) -> bool:
        """Serve for as long as trio would wait; whether trio's own wait must be made to return at once."""
        flights = self.flights
        timers = flights.timers
        now = flights.now = self.clock()
        leave_at = now + min(timeout, MAX_WAIT_S)
        trio_has_events = False
        for _ in range(TURNS):
            flights.settle()
            if self.run_queue:
                leave_at = now
            soonest = timers.soonest()
            wait = min(leave_at, soonest) - now
            events: list[tuple[int, int]] = self.epoll.poll(0 if wait <= 0 else max(wait, MIN_WAIT_S), EVENTS)
            now = flights.now = self.clock()
            trio_has_events = self.serve(events)
            if soonest <= now:
                if now - soonest > LATE_S:
                    trio_has_events = self.serve(self.epoll.poll(0, EVENTS)) or trio_has_events
                    flights.settle()
                timers.fire(now)  # last: what has come by now has come in time
            if trio_has_events or now >= leave_at:
                break
        flights.settle()
        return timeout > 0 and not trio_has_events

    def serve(self, events: list[tuple[int, int]]) -> bool:
        """Give each pump its event; whether trio has one too."""
        leave = False
        for fd, mask in events:
            pump = self.pumps.get(fd)
            if pump is None:
                leave = leave or fd == self.trio_fd
                continue
            if mask & WRITABLE and fd in self.writers:
                self.writers.discard(fd)
                self.epoll.modify(fd, READABLE)
                pump.on_writable()
            if mask & ~WRITABLE:
                pump.on_readable()
        return leave
