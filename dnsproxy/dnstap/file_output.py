"""A tap that is a file, or one file after the other: written in threads, whole frames whatever the disk does."""

from __future__ import annotations

import time
from collections.abc import Callable

import trio

from dnsproxy.dnstap.backlog import SPOOL_FULL
from dnsproxy.dnstap.output import CHUNK_OCTETS, CONNECTED, Output, OutputOptions, log
from dnsproxy.dnstap.rotation_series import FileSeries


class FileOutput(Output):
    """To files, without buffers of its own; ValueError when the path has directives that strftime does not know.

    `clock` gives seconds since 1970.
    """

    def __init__(self, options: OutputOptions, clock: Callable[[], float] = time.time) -> None:
        super().__init__(options)
        self.offer = options.rotation.guarded(self.offer)
        self._series = FileSeries(options.name, options.destination.path, options.rotation)
        self._clock = clock
        self._waiting = trio.CancelScope()

    def reopen(self) -> None:
        """Have the file end, and another one begin, in a moment."""
        self._series.ask()
        self._waiting.cancel()

    async def _session(self) -> None:
        if not self._series.is_open:
            await trio.to_thread.run_sync(self._series.begin, self._clock())
            self._opened()
        while not self._is_done:
            await self._wait_for_work()
            self._tend()
            if await self._write_chunk() and self.state != CONNECTED:
                self._opened()
        await trio.to_thread.run_sync(self._series.end)
        await trio.to_thread.run_sync(self._series.wait, abandon_on_cancel=True)

    async def _wait_for_work(self) -> None:
        """Until there are frames, or another file must begin."""
        with trio.CancelScope(deadline=trio.current_time() + self._series.pause_s(self._clock())) as self._waiting:
            if not self._series.is_due(self._clock()):
                await self._wait_for_frames()

    async def _write_chunk(self) -> bool:
        """Write what waits, and begin files that are due; whether there was anything to do."""
        series, now = self._series, self._clock()
        chunk = self._backlog.take(CHUNK_OCTETS)
        if not chunk and not series.is_due(now):
            return False
        before = series.written
        try:
            await trio.to_thread.run_sync(series.write, chunk, now)
        finally:
            if self._backlog.queued and series.written > before:  # a disk that hung past the end has nothing to count
                self._backlog.written(series.written - before)
        return True

    def _release(self) -> None:
        """After an end without drain: as much good order as a disk allows that may just have failed."""
        try:
            self._series.end()
        except OSError as exc:
            log.warning("tap %s ends without STOP: %s", self.name, exc.strerror)
            self._series.abandon()
        if self._options.rotation.has_parts and not self._series.wait(0):  # else closed files have their names
            log.warning("tap %s: its closed files are not all compressed; the next start does the rest", self.name)

    def _lost(self, exc: Exception) -> None:
        super()._lost(exc)
        self._backlog.full_reason = SPOOL_FULL
