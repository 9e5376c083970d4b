"""Moves a tap's overflow to its spool and from there to the collector, in threads."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import trio

from dnsproxy.dnstap.backlog import Backlog, Hand
from dnsproxy.dnstap.connection import Connection
from dnsproxy.dnstap.spool import Appended, Found, Spool, SpoolOptions
from dnsproxy.dnstap.spool_position import Batch

SPILL_S: Final = 0.25  # what comes is on disk after so long while the spool is in use
SPILL_MIN_S: Final = 0.01  # or as soon as the queue is full again, but not more often than this
ADOPT_S: Final = 5.0  # how often to look for what processes have left behind that ended
READ_OCTETS: Final = 128 * 1024  # more than a frame; sending it takes about a millisecond

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("dnsproxy")


class Spooler:
    """Keeps a backlog from overflowing. `wake` is called when there may be something new to send."""

    def __init__(
        self, name: str, options: SpoolOptions, backlog: Backlog, *, drops_oldest: bool, wake: Callable[[], None]
    ) -> None:
        self._name = name
        self._backlog = backlog
        self._wake = wake
        self._spool = Spool(name, options, drops_oldest=drops_oldest)
        self._limiter = trio.CapacityLimiter(1)  # one thread at a time: nothing in a spool is shared
        self._error: str | None = None
        self._adopts_at = 0.0
        self.opened = trio.Event()  # what an earlier process has left is known

    async def _open(self) -> None:
        """Take in what an earlier process has left; without a spool, which is told, until one can be had."""
        try:
            self._take_in(await self._in_thread(self._spool.open))
        except OSError as exc:
            self._note(exc)

    async def run(self) -> None:
        """Open, and spill for as long as anything is in the spool, and whenever the queue is full."""
        await self._open()
        self.opened.set()
        while True:
            self._backlog.set_bounds(self._spool.is_open)
            if not self._has_work:
                await self._until_full(ADOPT_S)
            await self._adopt()
            while self._has_work:
                if await self._spill():
                    await trio.sleep(SPILL_MIN_S)
                    await self._until_full(SPILL_S)
                else:
                    await trio.sleep(SPILL_S)
                await self._adopt()

    async def _until_full(self, seconds: float) -> None:
        full = trio.Event()
        self._backlog.watch(full.set)
        with trio.move_on_after(seconds):
            if not self._backlog.is_full:
                await full.wait()

    async def _adopt(self) -> None:
        """Every now and then."""
        if not self._spool.is_open or trio.current_time() < self._adopts_at:
            return
        self._adopts_at = trio.current_time() + ADOPT_S
        try:
            self._take_in(await self._in_thread(self._spool.adopt))
        except OSError as exc:
            self._note(exc)

    @property
    def _has_work(self) -> bool:
        return self._backlog.spooled > 0 or self._backlog.is_full

    def _take_in(self, found: Found) -> None:
        if found.frames:
            log.info("tap %s finds %d messages in its spool", self._name, found.frames)
            self._backlog.found(found.frames, found.age_s)
            self._wake()

    async def _spill(self) -> bool:
        """Everything that is in memory and may stand behind what the spool holds; whether it went there."""
        if not self._spool.is_open:
            await self._open()
        waited_s = self._backlog.oldest_s(trio.current_time()) if not self._backlog.spooled else SPILL_S
        frames = self._backlog.spill()
        if not frames:
            self._backlog.spilled(0)
            return True
        done = Appended(0, 0)
        try:
            if self._spool.is_open:
                done = await self._in_thread(self._spool.append, frames, time.time() - waited_s)
                self._note(done.error)
        finally:
            self._backlog.spilled(done.kept)
            self._backlog.lost_in_spool(done.given_up)
            self._wake()
        return done.kept == len(frames)

    async def replay(self, connection: Connection, hand: Hand, *, waits: bool) -> bool:
        """Send the next frames of the spool; whether the connection took them all.

        If it does not at once this waits until it does, or else leaves the rest in the spool, for other connections. A
        frame that it has taken in part is then in the hand, which must go on with it, and is lost if the process is.
        """
        frames, given_up = await self._in_thread(self._spool.next_frames, READ_OCTETS)
        self._backlog.lost_in_spool(given_up)
        if not frames:
            return True
        try:
            descriptor, pieces = connection.lend(frames)
            batch = Batch(frames, pieces)
            await self._send(descriptor, batch)
            while waits and not batch.is_sent:
                await trio.lowlevel.wait_writable(descriptor)
                await self._send(descriptor, batch)
            if batch.begun:
                await self._take_out(connection, hand, frames[batch.sent], batch)
            else:
                connection.take_back()
            return batch.is_sent
        finally:
            self._spool.take_back()

    async def _take_out(self, connection: Connection, hand: Hand, frame: bytes, batch: Batch) -> None:
        """What is sent in part leaves the spool: the connection has records of all of it, or the hand keeps it."""
        rest = await self._in_thread(self._spool.take_out, batch)
        if connection.take_back(rest):
            self._backlog.replayed(1, len(frame))
        else:
            hand.take_begun(frame, len(frame) - len(rest))

    async def _send(self, descriptor: int, batch: Batch) -> None:
        frames, octets = batch.sent, batch.sent_octets
        try:
            self._backlog.lost_in_spool(await self._in_thread(self._spool.send, descriptor, batch))
        finally:
            self._backlog.replayed(batch.sent - frames, batch.sent_octets - octets)

    async def keep_rest(self) -> None:
        """At the end: what is still in memory goes to the spool, then that is closed."""
        if not self._spool.is_open:
            await self._open()
        if self._spool.is_open:
            if self._backlog.spooled:
                await self._keep_older()
            await self._spill()
            try:
                await self._in_thread(self._spool.close)
            except OSError as exc:
                self._note(exc)

    async def _keep_older(self) -> None:
        frames = self._backlog.spill_returned()
        kept = 0
        try:
            if frames:
                kept = await self._in_thread(self._spool.append_older, frames)
        except OSError as exc:
            self._note(exc)
        finally:
            self._backlog.spilled(kept)

    def _note(self, error: OSError | None) -> None:
        """Tell of a disk that fails, once, and when it works again."""
        reason = (error.strerror or str(error)) if error is not None else None
        if reason and reason != self._error:
            log.warning("tap %s cannot spool: %s", self._name, reason)
        elif self._error and not reason:
            log.info("tap %s spools again", self._name)
        self._error = reason

    async def _in_thread(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await trio.to_thread.run_sync(lambda: function(*args, **kwargs), limiter=self._limiter)
