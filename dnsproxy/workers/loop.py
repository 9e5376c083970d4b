"""A small event loop, for the supervisor: sockets, timers and signals."""

from __future__ import annotations

import heapq
import itertools
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
SIGNALS_AT_ONCE = 256


class HasFileno(Protocol):
    """A socket, or what holds one."""

    def fileno(self) -> int:
        """The descriptor."""


class Timer:
    """A call in the future; `cancel` while it has not been made."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Never call; a second time, or afterwards, this does nothing."""
        self.callback = None


class Loop:
    """Calls back, one at a time, until `stop`; times are seconds of time.monotonic()."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._stopped = False

    def run(self) -> None:
        """Serve until `stop` is called."""
        while not self._stopped:
            for key, mask in self._selector.select(self._fire()):
                current = self._selector.get_map().get(key.fd)
                if current is not None and current.data is key.data:  # not forgotten by a call before
                    key.data(mask)

    def stop(self) -> None:
        """Make `run` return."""
        self._stopped = True

    def watch(self, file: HasFileno, callback: Callable[[int], None], events: int = READ) -> None:
        """Call `callback(mask)` whenever one of these events is there."""
        self._selector.register(file, events, callback)

    def events(self, file: HasFileno, events: int) -> None:
        """Wait for these events from now on."""
        key = self._selector.get_key(file)
        if key.events != events:
            self._selector.modify(file, events, key.data)

    def forget(self, file: HasFileno) -> None:
        """Watch it no more, if it is watched; to be called before it is closed."""
        try:
            self._selector.unregister(file)
        except KeyError:
            pass

    def later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        """Call once, after so many seconds."""
        timer = Timer(callback)
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._numbers), timer))
        return timer

    def _fire(self) -> float | None:
        """Make the calls that are due; for how long to wait for the next one."""
        while self._timers and not self._stopped:
            when, _, timer = self._timers[0]
            left_s = when - time.monotonic()
            if timer.callback is not None and left_s > 0:
                return left_s
            heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
        return 0 if self._stopped else None

    @contextmanager
    def signals(self, numbers: Iterable[signal.Signals], callback: Callable[[int], None]) -> Iterator[None]:
        """Call `callback(number)` for each of these signals, from the loop, as long as the block lasts."""
        reading, writing = socket.socketpair()
        reading.setblocking(False)
        writing.setblocking(False)
        handlers = {number: signal.signal(number, _note) for number in numbers}
        before = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)

        def read(_mask: int) -> None:
            for number in reading.recv(SIGNALS_AT_ONCE):
                callback(number)

        self.watch(reading, read)
        try:
            yield
        finally:
            self.forget(reading)
            signal.set_wakeup_fd(before)
            for number, handler in handlers.items():
                signal.signal(number, handler)
            reading.close()
            writing.close()

    def close(self) -> None:
        """Give back the selector."""
        self._selector.close()


def _note(_number: int, _frame: Any) -> None:
    """The wakeup descriptor has the number already."""
