"""A tap that is a file: a new one at each start, written in a thread."""

from __future__ import annotations

from pathlib import Path

import trio

from dnsproxy.dnstap.backlog import SPOOL_FULL
from dnsproxy.dnstap.output import CHUNK_OCTETS, CONNECTED, Output, OutputOptions, log
from dnsproxy.dnstap.stream_file import StreamFile


class FileOutput(Output):
    """To a file, written in a thread and without buffers of its own, cut back to whole frames after an error."""

    def __init__(self, options: OutputOptions) -> None:
        super().__init__(options)
        self._file = StreamFile(Path(options.destination.path))

    async def _session(self) -> None:
        if self._file.is_open:
            await trio.to_thread.run_sync(self._file.cut)
        else:
            log.info("tap %s writes %s", self.name, await trio.to_thread.run_sync(self._file.create))
            self._opened()
        while not self._is_done:
            await self._wait_for_frames()
            self._tend()
            await self._write_chunk()
            if self.state != CONNECTED:
                self._opened()
        await trio.to_thread.run_sync(self._file.finish)

    async def _write_chunk(self) -> None:
        chunk = memoryview(self._backlog.take(CHUNK_OCTETS))
        ahead = 0  # octets of a frame that is not written whole
        while chunk:
            written = await trio.to_thread.run_sync(self._file.write, chunk, ahead)
            chunk = chunk[written:]
            ahead += written - self._count(written)

    def _count(self, written: int) -> int:
        """Enter what was written in the books; how many octets of whole frames there are more."""
        backlog = self._backlog
        if not backlog.queued:  # a disk that hung past the end finds nothing to count any more
            return 0
        before = backlog.sent_octets
        backlog.written(written)
        whole = backlog.sent_octets - before
        self._file.keep(whole)
        return whole

    def _release(self) -> None:
        """After an end without drain: as much good order as a disk allows that may just have failed."""
        if not self._file.is_open:
            return
        try:
            self._file.cut()
            self._file.finish()
        except OSError as exc:
            log.warning("tap %s ends without STOP: %s", self.name, exc.strerror)
            self._file.close()

    def _lost(self, exc: Exception) -> None:
        super()._lost(exc)
        self._backlog.full_reason = SPOOL_FULL
