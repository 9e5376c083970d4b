"""A reload in all workers: one tries the new configuration, then the others take it; whoever does not is replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from dnsproxy.sockets import Sockets
from dnsproxy.workers.handle import State, WorkerHandle
from dnsproxy.workers.loop import Loop

TAKE_S: Final = 30.0  # zone files and block lists may be long

log = logging.getLogger("dnsproxy")


class Reloading:
    """From the first worker's attempt to the last one's answer; then `on_end(errors)`, the errors being the first's.

    `commit` is called when the first worker has the configuration in service: from then on it is the proxy's.
    """

    def __init__(
        self,
        loop: Loop,
        orders: dict[str, Any],
        added: Sequence[Sockets],
        commit: Callable[[], None],
        on_end: Callable[[list[str]], None],
    ) -> None:
        self._loop = loop
        self._orders = orders
        self._added = added
        self._commit = commit
        self._on_end = on_end
        self._is_committed = False
        self._waiting: set[WorkerHandle] = set()
        self._others: list[WorkerHandle] = []
        self._timer = loop.later(TAKE_S, self._too_late)

    def begin(self, workers: Sequence[WorkerHandle]) -> None:
        """Let the first worker that is ready try; without any, all of them start with the new configuration."""
        ready = [worker for worker in workers if worker.state is State.READY]
        self._others = [worker for worker in workers if worker not in ready[:1]]
        if ready:
            self._send(ready[0])
        else:
            self._go_on()

    def answered(self, worker: WorkerHandle, errors: list[str]) -> None:
        """A worker has taken the configuration; or not, because of these errors."""
        if worker not in self._waiting:
            return
        self._waiting.discard(worker)
        if not self._is_committed:
            self._end(errors) if errors else self._go_on()
            return
        if errors:
            log.error("worker %d did not take the configuration and is replaced: %s", worker.number, "; ".join(errors))
            worker.end()
        self._end_if_complete()

    def lost(self, worker: WorkerHandle) -> None:
        """A worker is gone; the next one starts with whatever is the proxy's configuration."""
        if worker not in self._waiting:
            return
        self._waiting.discard(worker)
        if self._is_committed:
            self._end_if_complete()
        else:
            self._end([f"worker {worker.number} ended when it took the configuration"])

    def abandon(self) -> None:
        """The proxy stops: nobody is waited for any more. Unless the first worker has taken it, nothing changes."""
        self._waiting.clear()
        if self._is_committed:
            self._timer.cancel()
        else:
            self._end(["the proxy stops"])

    def _send(self, worker: WorkerHandle) -> None:
        self._waiting.add(worker)
        worker.give(self._added[worker.number - 1])
        worker.tell("reload", self._orders)

    def _go_on(self) -> None:
        self._is_committed = True
        self._commit()
        for worker in self._others:
            if worker.state in (State.STARTING, State.READY):
                self._send(worker)
        self._end_if_complete()

    def _end_if_complete(self) -> None:
        if not self._waiting:
            self._end([])

    def _end(self, errors: list[str]) -> None:
        self._timer.cancel()
        self._on_end(errors)

    def _too_late(self) -> None:
        for worker in self._waiting:
            log.error("worker %d does not take the configuration within %d s and is replaced", worker.number, TAKE_S)
            worker.kill()
