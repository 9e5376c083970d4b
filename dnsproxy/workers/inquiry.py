"""Asks every worker what it is doing; one that hangs is left out after a moment, with what it told last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from dnsproxy.workers.handle import State, WorkerHandle
from dnsproxy.workers.legacy import Legacy
from dnsproxy.workers.loop import Loop, Timer

ANSWER_S: Final = 1.0  # a worker answers within milliseconds; `dnsproxy status` waits 5 s for us

Status = dict[str, Any]
Statuses = list[Status]
Tell = Callable[[Statuses], None]


class Inquiry:
    """Rounds of questions, one after the other; who asks during a round gets the next one's answers."""

    def __init__(self, loop: Loop, workers: Sequence[WorkerHandle], legacy: Legacy) -> None:
        self._loop = loop
        self._workers = workers
        self._legacy = legacy
        self._waiting: list[Tell] = []  # for the next round
        self._served: list[Tell] = []  # by this one
        self._number = 0
        self._asked: dict[int, int] = {}  # worker's number: the last round in which it was asked and has not answered
        self._told: dict[int, Status] = {}  # worker's number: the last that its process told
        self._deadline: Timer | None = None

    def ask(self, tell: Tell) -> None:
        """Call `tell` with the workers' statuses, within about two deadlines."""
        self._waiting.append(tell)
        if self._deadline is None:
            self._begin()

    def answered(self, worker: WorkerHandle, number: int, status: Status) -> None:
        """A worker told its status in answer to that round's question."""
        self._told[worker.number] = status
        if self._asked.get(worker.number) == number:
            del self._asked[worker.number]
        self._end_if_complete()

    def said_last(self, worker: WorkerHandle, status: Status) -> None:
        """A worker has stopped, with this status."""
        self._told[worker.number] = status

    def lost(self, worker: WorkerHandle) -> None:
        """A worker is gone and will not answer; what it told last is its legacy."""
        status = self._told.pop(worker.number, None)
        if status is not None:
            self._legacy.add(status)
        self._asked.pop(worker.number, None)
        self._end_if_complete()

    def _begin(self) -> None:
        self._number += 1
        self._served, self._waiting = self._waiting, []
        self._deadline = self._loop.later(ANSWER_S, self._end)
        for worker in self._workers:
            if worker.state is State.READY and worker.number not in self._asked:
                self._asked[worker.number] = self._number
                worker.tell("status", {"number": self._number})
        self._end_if_complete()

    def _end_if_complete(self) -> None:
        if self._deadline is not None and self._number not in self._asked.values():
            self._end()

    def _end(self) -> None:
        assert self._deadline is not None
        self._deadline.cancel()
        self._deadline = None
        served, self._served = self._served, []
        statuses = [self._told[worker.number] for worker in self._workers if worker.number in self._told]
        for tell in served:
            tell(statuses)
        if self._waiting:
            self._begin()
