"""A tap's way out: a queue that never waits, tasks that write it, sessions that come and go, books that balance."""

from __future__ import annotations

import logging
import random
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import trio

from dnsproxy.dnstap.backlog import MAX_FRAME, QUEUE_FULL, Backlog
from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.rotation import Rotation
from dnsproxy.dnstap.session import reason_of
from dnsproxy.dnstap.spool import SpoolOptions

ABORT_S: Final = 1.0  # for a write that cannot be cancelled, past the deadline
KEEP_S: Final = 2.0  # for a disk to take what could not be sent
RECONNECT_MIN_S: Final = 0.1
RECONNECT_MAX_S: Final = 1.8  # a collector that comes back is found within 2 s
CHUNK_OCTETS: Final = 256 * 1024  # written at once; larger ones are faster by nothing that can be measured
TEND_S: Final = 1.0  # ages, drop episodes and stalls are looked at so often

Overflow = Literal["newest", "oldest"]

CONNECTING, CONNECTED, DOWN, CLOSED = "connecting", "connected", "down", "closed"

log = logging.getLogger("dnsproxy")
totals = logging.getLogger("dnsproxy.totals")  # its one line at the end; a worker's supervisor writes it for all


@dataclass(frozen=True)
class OutputOptions:
    """What makes two outputs the same one: taps that agree in all of it share a connection across reloads."""

    name: str
    destination: Destination
    tls: TlsOptions
    queue: int
    queue_octets: int
    overflow: Overflow = "newest"
    flush_s: float = 0.1
    batch: int = 256
    keepalive_s: float | None = None
    connections: int = 1
    stall_s: float = 30.0
    spool: SpoolOptions | None = None
    rotation: Rotation = field(default_factory=Rotation)
    listening: bool = False
    max_frame: int = MAX_FRAME  # octets, length included
    redial_max_s: float = RECONNECT_MAX_S


class Output:
    """Writes what `offer` takes, in order, in one session after another; subclasses say what a session is.

    `run` is the task; `drain` ends it: what is queued goes out within a deadline, and what cannot is counted.
    """

    def __init__(self, options: OutputOptions) -> None:
        self.name = options.name
        self.destination = options.destination
        self.state = CONNECTING
        self.connects = 0
        self.last_error: str | None = None
        self.stalled = False
        self._options = options
        self._backlog = Backlog(
            options.queue,
            options.queue_octets,
            trio.current_time,
            self._wake,
            drops_oldest=options.overflow == "oldest",
            max_frame=options.max_frame,
        )
        self._batch = min(options.batch, max(options.queue // 2, 1))
        self._sessions: set[trio.lowlevel.Task] = set()  # those that have opened and not ended
        self._sent_before = 0
        self._moved_at = 0.0  # when something was last accepted, or there was nothing to accept
        self._woken = trio.Event()
        self._stopping = trio.Event()
        self._ended = trio.Event()
        self._scope = trio.CancelScope()
        self.offer = self._backlog.offer  # one call less for each message
        self.lose = self._backlog.lose

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Connect, write, and begin again, until `drain` is called."""
        self._moved_at = trio.current_time()
        self._backlog.mark(self._moved_at)
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._keep_tending)
                    await self._prepare(nursery)
                    task_status.started()
                    await self._work(nursery)
                    nursery.cancel_scope.cancel()
        finally:
            try:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + KEEP_S):
                    await self._keep_rest()
            finally:
                self._close()
                self._release()

    async def drain(self, deadline_s: float) -> None:
        """Write what is queued, within the deadline, end the stream in good order, and end `run`."""
        self._stopping.set()
        self._wake()
        with trio.move_on_after(deadline_s):
            await self._ended.wait()
        self._scope.cancel()
        with trio.move_on_after(ABORT_S):
            await self._ended.wait()
        self._close()  # `run` never ran, or hangs in a disk

    def tap_status(self) -> dict[str, Any]:
        """One entry of `taps` in `dnsproxy status --json`."""
        backlog = self._backlog
        return {
            "name": self.name,
            "socket": str(self.destination),
            "state": self.state,
            "offered": backlog.offered,
            "sent": backlog.sent,
            "queued": backlog.queued,
            "dropped": dict(backlog.dropped),
            "bytes": backlog.sent_octets,
            "connects": self.connects,
            "last_error": self.last_error,
            "oldest_queued_s": round(backlog.oldest_s(trio.current_time()), 3),
            "spooled": backlog.spooled,
            "stalled": self.stalled,
        }

    # sessions

    async def _prepare(self, nursery: trio.Nursery) -> None:
        """What should be done before anybody relies on this output; the nursery is for what goes on beside the work."""

    async def _work(self, nursery: trio.Nursery) -> None:
        """All there is to do until the end."""
        await self._keep_trying()

    async def _keep_rest(self) -> None:
        """At the end: what can still be done for messages that could not be sent."""

    async def _keep_trying(self) -> None:
        backoff = RECONNECT_MIN_S
        while True:
            began = trio.current_time()
            worked = await self._attempt()
            if self._stopping.is_set() and not worked:
                return
            if trio.current_time() - began > RECONNECT_MAX_S:
                backoff = RECONNECT_MIN_S  # it worked for a while, or took its time to fail
            await self._pause(backoff * random.uniform(0.5, 1))  # noqa: S311
            backoff = min(2 * backoff, self._options.redial_max_s)

    async def _session(self) -> None:
        """Open, call `_opened`, write until `drain`, close in good order; any exception ends it otherwise."""
        raise NotImplementedError

    def _release(self) -> None:
        """Let go of what a session left open."""

    async def _attempt(self) -> bool:
        """One session; whether it got as far as writing and was then lost."""
        task = trio.lowlevel.current_task()
        try:
            await self._session()
        except Exception as exc:  # noqa: BLE001  whatever it was, the next session is a new one
            worked = task in self._sessions
            self._sessions.discard(task)
            self._lost(exc)
            return worked
        finally:
            self._sessions.discard(task)
            self._backlog.give_back()
            self._tend()
        return False

    def _opened(self) -> None:
        """The task's session can write now."""
        self._sessions.add(trio.lowlevel.current_task())
        self.connects += 1
        self._backlog.full_reason = QUEUE_FULL
        if self.state != CONNECTED:
            self.state = CONNECTED
            log.info("tap %s connected", self.name)

    def _lost(self, exc: Exception) -> None:
        """A session has failed, or could not be opened."""
        self.last_error = reason_of(exc)
        if not self._sessions and self.state != DOWN:
            self.state = DOWN
            log.warning("tap %s down: %s", self.name, self.last_error)

    def _close(self) -> None:
        if self.state == CLOSED:
            return
        self.state = CLOSED
        backlog = self._backlog
        backlog.close()
        if backlog.drops.episode:
            log.warning("tap %s dropped %s", self.name, backlog.drops.episode)
        dropped = sum(backlog.dropped.values())
        totals.info(
            "tap %s: offered=%d sent=%d queued=%d dropped=%d",
            *(self.name, backlog.offered, backlog.sent, backlog.queued, dropped),
        )
        self._ended.set()

    # waiting

    async def _pause(self, seconds: float) -> None:
        """Between attempts; the end cuts the first pause short, then one more attempt is made."""
        if self._stopping.is_set():
            await trio.sleep(RECONNECT_MIN_S)
        with trio.move_on_after(seconds):
            await self._stopping.wait()

    @property
    def _is_done(self) -> bool:
        return self._stopping.is_set() and not self._backlog.queued

    def _wake(self) -> None:
        self._woken.set()

    async def _wait_for_frames(self) -> None:
        """Until there is something to write, and a little longer for more to come with it.

        Only one task may wait at a time.
        """
        backlog = self._backlog
        backlog.mark(trio.current_time())  # else what comes now would look as old as the last look at ages, 1 s
        while True:
            with trio.move_on_after(self._options.flush_s):
                await self._wait_for(self._batch)
            if backlog.is_due(1) or self._stopping.is_set():
                return
            await self._wait_for(1)

    async def _wait_for(self, frames: int) -> None:
        if self._backlog.is_due(frames) or self._stopping.is_set():
            await trio.lowlevel.checkpoint()
            return
        self._woken = trio.Event()
        self._backlog.wake_at(frames)
        await self._woken.wait()

    # health

    async def _keep_tending(self) -> None:
        while True:
            await trio.sleep(min(TEND_S, self._options.stall_s))
            self._tend()

    def _tend(self) -> None:
        """Keep track of ages, and tell of drops once they are over, and of stalls when they begin and end."""
        now = trio.current_time()
        backlog = self._backlog
        backlog.mark(now)
        episode = backlog.drops.end_episode(now)
        if episode:
            log.warning("tap %s dropped %s", self.name, episode)
        if backlog.sent != self._sent_before or not backlog.queued:
            self._note_progress(now)
        elif not self.stalled and now - self._moved_at >= self._options.stall_s + self._options.flush_s:
            self.stalled = True
            stalled_s = now - self._moved_at
            log.warning("tap %s stalled: %d queued, none accepted for %.0f s", self.name, backlog.queued, stalled_s)

    def _note_progress(self, now: float) -> None:
        if self.stalled:
            self.stalled = False
            log.info("tap %s goes on, after %.0f s", self.name, now - self._moved_at)
        self._sent_before = self._backlog.sent
        self._moved_at = now

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.state}, {self._backlog.queued} queued>"
