"""Workers without processes, and time that a test moves."""

from collections.abc import Callable
from typing import Any, cast

from dnsproxy.sockets import Sockets
from dnsproxy.workers.handle import State, WorkerHandle
from dnsproxy.workers.loop import Loop, Timer


class FakeLoop:
    """Timers only: `pass_time` makes the calls that are due."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Timer]] = []

    def later(self, delay_s: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(callback)
        self.timers.append((self.now + delay_s, timer))
        return timer

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        due = [entry for entry in self.timers if entry[0] <= self.now]
        self.timers = [entry for entry in self.timers if entry not in due]
        for _, timer in due:
            if timer.callback is not None:
                timer.callback()


class FakeWorker:
    """Remembers what it was told."""

    def __init__(self, number: int, state: State = State.READY) -> None:
        self.number = number
        self.state = state
        self.status: dict[str, Any] | None = None
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.given: list[Sockets] = []
        self.fate = ""

    def tell(self, kind: str, body: dict[str, Any]) -> None:
        self.told.append((kind, body))

    def give(self, sockets: Sockets) -> None:
        self.given.append(sockets)

    def end(self) -> None:
        self.fate = "ended"

    def kill(self) -> None:
        self.fate = "killed"


def as_loop(loop: FakeLoop) -> Loop:
    return cast("Loop", loop)


def as_handle(worker: FakeWorker) -> WorkerHandle:
    return cast("WorkerHandle", worker)
