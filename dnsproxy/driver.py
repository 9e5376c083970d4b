"""Pumps sockets and steps flights where trio would sit in its own epoll_wait."""

from __future__ import annotations

import logging
import select
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

import trio

from dnsproxy.turns import MIN_WAIT_S, Turns

if TYPE_CHECKING:
    from dnsproxy.flight import Flights

log = logging.getLogger("dnsproxy")


FAILURE_LOG_S = 1.0  # what fails in one turn may fail in every one, thousands a second


class Pump(Protocol):
    """A socket that the driver serves. `fileno` stays the same while it is added."""

    def fileno(self) -> int:
        """The socket's descriptor."""

    def on_readable(self) -> None:
        """Take what came in. Called outside every task; must not raise."""

    def on_writable(self) -> None:
        """Send what waited. Called once after `want_write`."""


class Driver(trio.abc.Instrument):
    """The plain form: a task per socket notes that it is readable; all work is done in `before_io_wait`.

    Works on any system and with test clocks. `EpollDriver` is the fast form.
    """

    def __init__(self, flights: Flights) -> None:
        self.flights = flights
        self.clock: Any = None
        self.token: Any = None
        self.nursery: trio.Nursery | None = None
        self.pumps: dict[int, Pump] = {}
        self.scopes: dict[int, set[trio.CancelScope]] = {}  # of the tasks that wait for a descriptor
        self.timekeeper = trio.CancelScope()
        self.wakes_at = inf
        self.scheduled = False  # whether a task has become runnable in this turn
        self.silent_until = -inf  # after a failure that was logged

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. Flights that are still under way then are left to their owner."""
        self.clock = trio.lowlevel.current_clock()
        self.token = trio.lowlevel.current_trio_token()
        self.flights.now = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                self.nursery = nursery
                self._start()
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._stop()

    def _start(self) -> None:
        assert self.nursery is not None
        trio.lowlevel.add_instrument(self)
        self.nursery.start_soon(self._keep_time)
        for pump in self.pumps.values():
            self._watch(pump)

    def _stop(self) -> None:
        trio.lowlevel.remove_instrument(self)
        self.nursery = None

    def add(self, pump: Pump) -> None:
        """Serve a socket from now on; before `run` it is kept until then."""
        self.pumps[pump.fileno()] = pump
        if self.nursery is not None:
            self._watch(pump)

    def remove(self, pump: Pump) -> None:
        """Serve it no more; to be called before it is closed."""
        if self._serves(pump):
            del self.pumps[pump.fileno()]
            if self.nursery is not None:
                self._unwatch(pump)

    def want_write(self, pump: Pump) -> None:
        """Call `pump.on_writable()` once when the kernel takes more, unless it is removed before."""
        if self._serves(pump):
            self._start_waiting(self._wait_writable, pump)

    def _serves(self, pump: Pump) -> bool:
        return self.pumps.get(pump.fileno()) is pump

    def _watch(self, pump: Pump) -> None:
        self._start_waiting(self._wait_readable, pump)

    def _start_waiting(self, wait: Callable[[Pump, trio.CancelScope], Awaitable[None]], pump: Pump) -> None:
        assert self.nursery is not None
        scope = trio.CancelScope()
        self.scopes.setdefault(pump.fileno(), set()).add(scope)
        self.nursery.start_soon(wait, pump, scope)

    def _unwatch(self, pump: Pump) -> None:
        for scope in self.scopes.pop(pump.fileno(), ()):
            scope.cancel()

    async def _wait_readable(self, pump: Pump, scope: trio.CancelScope) -> None:
        with scope:
            while self._serves(pump):  # not when it was removed, and perhaps closed, before this task began
                await trio.lowlevel.wait_readable(pump.fileno())
                self.flights.submit(self._read, pump)

    async def _wait_writable(self, pump: Pump, scope: trio.CancelScope) -> None:
        with scope:
            if self._serves(pump):
                await trio.lowlevel.wait_writable(pump.fileno())
                self.scopes[pump.fileno()].discard(scope)
                self.flights.submit(self._write, pump)

    def _read(self, pump: Pump) -> None:
        if self._serves(pump):
            pump.on_readable()

    def _write(self, pump: Pump) -> None:
        if self._serves(pump):
            pump.on_writable()

    async def _keep_time(self) -> None:
        """Sleep until the next timer is due, so that trio does."""
        while True:
            self.wakes_at = self.flights.timers.soonest()
            with trio.CancelScope(deadline=self.wakes_at) as self.timekeeper:
                await trio.sleep_forever()
            self.flights.submit(self.flights.timers.fire, trio.current_time())
            await trio.lowlevel.checkpoint()
            await trio.sleep(MIN_WAIT_S if self.flights.timers.soonest() <= trio.current_time() else 0)

    def before_io_wait(self, timeout: float) -> None:
        """Trio is about to wait: do ours first. Never raises, or trio would drop this instrument."""
        try:
            self._turn(timeout)
        except BaseException:  # whatever a plugin may raise: without this hook nothing would be served any more
            if self.clock.current_time() >= self.silent_until:
                self.silent_until = self.clock.current_time() + FAILURE_LOG_S
                log.exception("the driver failed in this turn")
            self._wake()  # the rest of the turn is done in the next one

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """Trio says that a task has become runnable."""
        self.scheduled = True

    def _turn(self, timeout: float) -> None:
        flights = self.flights
        flights.now = self.clock.current_time()
        self.scheduled = False
        flights.settle()
        soonest = flights.timers.soonest()
        if soonest < self.wakes_at:
            self.wakes_at = self.timekeeper.deadline = soonest
            self._wake()
        elif timeout and self.scheduled:
            self._wake()

    def _wake(self) -> None:
        """Trio has settled how long it will wait: make that wait return at once."""
        self.token.run_sync_soon(_nothing, idempotent=True)


def _nothing() -> None:
    """What wakes trio."""


def _runner() -> Any:
    """What runs trio: its epoll and its queue of runnable tasks are private, tested against the pinned version."""
    return trio._core._run.GLOBAL_RUN_CONTEXT.runner


class EpollDriver(Driver):
    """The fast form, on Linux: polls its own epoll, which holds the pumps' sockets and trio's epoll.

    It leaves when trio's epoll is readable, a task is runnable, trio's time is up, or after a bounded number of turns.
    """

    def __init__(self, flights: Flights) -> None:
        super().__init__(flights)
        self.epoll = select.epoll()
        self.turns = Turns(flights, self.pumps, self.epoll, -1, (), trio.current_time)

    task_scheduled = trio.abc.Instrument.task_scheduled  # the run queue says it without a call for each task

    def _start(self) -> None:
        runner = _runner()
        trio_fd = runner.io_manager._epoll.fileno()
        self.turns = Turns(self.flights, self.pumps, self.epoll, trio_fd, runner.runq, self.clock.current_time)
        self.epoll.register(trio_fd, select.EPOLLIN)
        trio.lowlevel.add_instrument(self)
        for pump in self.pumps.values():
            self._watch(pump)

    def _stop(self) -> None:
        super()._stop()
        self.epoll.close()

    def want_write(self, pump: Pump) -> None:
        """As Driver.want_write."""
        if self._serves(pump):
            self.turns.writers.add(pump.fileno())
            self.epoll.modify(pump.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _watch(self, pump: Pump) -> None:
        self.epoll.register(pump.fileno(), select.EPOLLIN)

    def _unwatch(self, pump: Pump) -> None:
        self.turns.writers.discard(pump.fileno())
        self.epoll.unregister(pump.fileno())

    def _turn(self, timeout: float) -> None:
        if self.turns.take(timeout):
            self._wake()


def make_driver(flights: Flights) -> Driver:
    """The fast form where trio runs on epoll and a real clock, else the plain one."""
    runner = _runner()
    has_epoll = hasattr(getattr(runner, "io_manager", None), "_epoll") and hasattr(runner, "runq")
    real_clock = type(runner.clock).__name__ == "SystemClock"
    return EpollDriver(flights) if has_epoll and real_clock else Driver(flights)
