"""A worker as its supervisor sees it: its sockets, which outlive it, and the process that serves them now."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from enum import Enum
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol

from dnsproxy.sockets import Place, Sockets, close_all
from dnsproxy.workers.control import MAX_DESCRIPTORS, OWN_SIGNALS, Channel, Closed, ControlError, Message
from dnsproxy.workers.loop import READ, WRITE, Loop

QUICK_S: Final = 1.0  # a worker that ends within this long of being ready will probably do so again
# before another one is started, by how many ended quickly one after the other: at once for a first accident
BACKOFF_S: Final = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
EXIT_S: Final = 5.0  # from the end of the connection to the end of the process

log = logging.getLogger("dnsproxy")


class State(Enum):
    """What a worker's process is doing."""

    NONE = "there is no process"
    STARTING = "it reads the configuration"
    READY = "it answers queries"
    ENDING = "it has been told to stop"


class Supervisor(Protocol):
    """Whom a handle tells what happens."""

    def heard(self, worker: WorkerHandle, message: Message) -> None:
        """A message came."""

    def ended(self, worker: WorkerHandle, how: str) -> None:
        """The process is gone; `how` completes "worker 1 …"."""


class WorkerHandle:
    """One of the workers, from the supervisor's start to its end, whatever process plays its part."""

    def __init__(self, number: int, loop: Loop, supervisor: Supervisor) -> None:
        self.number = number
        self.sockets: Sockets = {}
        self.state = State.NONE
        self.status: dict[str, Any] | None = None  # the last that this process told
        self.reason = ""  # why this process could not start
        self.quick_ends = 0
        self._loop = loop
        self._supervisor = supervisor
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._ready_at: float | None = None

    @property
    def pid(self) -> int:
        """The process's; 0 when there is none."""
        return self._process.pid if self._process else 0

    @property
    def backoff_s(self) -> float:
        """How long to wait before another process is started."""
        return BACKOFF_S[min(self.quick_ends, len(BACKOFF_S)) - 1] if self.quick_ends else 0.0

    # orders

    def start(self, orders: dict[str, Any]) -> None:
        """Run a process, and give it the sockets and the configuration."""
        self.state, self.status, self.reason, self._ready_at = State.STARTING, None, "", None
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = _spawn(theirs, self.number)
            except OSError as exc:
                ours.close()
                self.reason = f"a process cannot be started: {exc.strerror}"
                self._gone("is not there")
                return
        self._channel = Channel(ours)
        self._loop.watch(self._channel, self._on_event)
        self.give(self.sockets)
        self.tell("start", orders)

    def give(self, sockets: Sockets) -> None:
        """Hand sockets over; the next `start` or `reload` puts them in service."""
        for some in _portions(sockets):
            self.tell("sockets", {"places": list(some)}, [sock.fileno() for sock in some.values()])

    def tell(self, kind: str, body: dict[str, Any] | None = None, descriptors: list[int] | None = None) -> None:
        """Send a message, now or when the worker reads again; to nobody if there is no process."""
        if self._channel is not None:
            self._channel.put(kind, body, descriptors or ())
            self._on_event(WRITE)

    def end(self) -> None:
        """In good order: what is in flight is answered, taps are drained. At once while it starts."""
        if self.state is State.READY:
            self.tell("stop")
        elif self.state is State.STARTING and self._process is not None:
            self._process.terminate()
        if self._process is not None:
            self.state = State.ENDING

    def kill(self) -> None:
        """At once."""
        if self._process is not None:
            self._process.kill()

    def is_ready(self) -> None:
        """The process has said so."""
        if self.state is State.STARTING:
            self.state = State.READY
        self._ready_at = time.monotonic()

    def drop(self, places: list[Place]) -> None:
        """Close our own copies of these sockets: once the process has closed its own nobody listens there."""
        close_all({place: self.sockets.pop(place) for place in places if place in self.sockets})

    # what happens

    def reap(self) -> None:
        """Take note if the process has ended."""
        if self._process is None or self._process.poll() is None:
            return
        status = self._process.returncode
        self._read_the_rest()
        self._hang_up()
        self._process = None
        self._gone(_how(status))

    def _gone(self, how: str) -> None:
        lived = self._ready_at is not None and time.monotonic() - self._ready_at > QUICK_S
        self.quick_ends = 0 if lived else self.quick_ends + 1
        self.state, self.status = State.NONE, None
        self._supervisor.ended(self, how)

    def _on_event(self, mask: int) -> None:
        channel = self._channel
        if channel is None:
            return
        try:
            if mask & READ:
                self._pass_on(channel.receive())
            channel.flush()
            if channel is self._channel:
                self._loop.events(channel, READ | WRITE if channel.wants_to_write else READ)
        except ControlError as exc:
            if not isinstance(exc, Closed):
                log.warning("worker %d speaks no sense: %s", self.number, exc)
            self._hang_up()
            self._loop.later(EXIT_S, self._killer(self._process))

    def _read_the_rest(self) -> None:
        """What it said before it ended."""
        try:
            while self._channel is not None and (messages := self._channel.receive()):
                self._pass_on(messages)
        except ControlError:
            pass  # that was all

    def _pass_on(self, messages: list[Message]) -> None:
        for message in messages:
            try:
                self._supervisor.heard(self, message)
            except (LookupError, TypeError, ValueError) as exc:  # another version, installed since we started
                raise ControlError(f"{message.kind}: {exc!r}") from exc

    def _hang_up(self) -> None:
        if self._channel is not None:
            self._loop.forget(self._channel)
            self._channel.close()
            self._channel = None

    def _killer(self, process: subprocess.Popen[bytes] | None) -> Any:
        def kill() -> None:
            if process is not None and process is self._process:
                process.kill()

        return kill

    def close(self) -> None:
        """Let go of everything; a process that still runs notices."""
        self._hang_up()
        self.drop(list(self.sockets))

    def __repr__(self) -> str:
        return f"<WorkerHandle {self.number}, pid {self.pid}: {self.state.value}>"


def _portions(sockets: Sockets) -> Iterator[Sockets]:
    places = iter(sockets)
    while some := list(islice(places, MAX_DESCRIPTORS)):
        yield {place: sockets[place] for place in some}


def _spawn(theirs: socket.socket, number: int) -> subprocess.Popen[bytes]:
    command = [*interpreter(), "-m", "dnsproxy.workers.process", str(theirs.fileno()), str(number), str(os.getpid())]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, OWN_SIGNALS)  # the worker ignores them from its beginning
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def interpreter() -> list[str]:
    """This interpreter, finding modules where we did: not in the current folder unless we were started that way."""
    try:
        from_here = sys.path[:1] in ([""], [str(Path.cwd())])
    except FileNotFoundError:
        from_here = False
    flags = {"-P": not from_here, "-E": sys.flags.ignore_environment, "-s": sys.flags.no_user_site}
    return [sys.executable, *(flag for flag, is_set in flags.items() if is_set)]


def _how(status: int) -> str:
    if status < 0:
        try:
            return f"was ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"was ended by signal {-status}"
    return f"ended with status {status}" if status else "ended"
