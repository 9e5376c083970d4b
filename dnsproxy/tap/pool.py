"""Several processes that do the same to one batch each; what they make comes back in the order of the batches."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Final

from dnsproxy.tap.errors import Failure

FORK: Final = get_context("fork")  # what a process needs, it has when it begins

Work = Callable[[bytes], bytes]


def worked(batches: Iterable[bytes], work: Work, jobs: int) -> Iterator[bytes]:
    """`work(batch)` of each, in order; the processes end with the iterator."""
    with _without_signals():  # raised in what runs around a fork, an exception would be ignored
        workers = [_Worker(work) for _ in range(jobs)]
    busy: deque[_Worker] = deque()
    try:
        for number, batch in enumerate(batches):
            if len(busy) == jobs:  # who is given something has nothing to give: neither waits for the other
                yield busy.popleft().take()
            worker = workers[number % jobs]
            worker.give(batch)
            busy.append(worker)
        while busy:
            yield busy.popleft().take()
    finally:
        for worker in workers:
            worker.end()


class _Worker:
    def __init__(self, work: Work) -> None:
        self._ours, theirs = FORK.Pipe()
        self._process = FORK.Process(target=_work, args=(work, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, batch: bytes) -> None:
        self._ours.send_bytes(batch)

    def take(self) -> bytes:
        try:
            return self._ours.recv_bytes()
        except EOFError:
            raise Failure("a process that was at work is gone") from None

    def end(self) -> None:
        self._process.terminate()
        self._process.join()
        self._ours.close()


@contextmanager
def _without_signals() -> Iterator[None]:
    """They wait until the block ends."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(work: Work, parent: Connection) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # the terminal's are for all of us, and one decides
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    try:
        while True:
            parent.send_bytes(work(parent.recv_bytes()))
    except (EOFError, OSError):
        pass
