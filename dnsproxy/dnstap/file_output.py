"""Frame Streams files: a new one at each start, beside those that are there; whole frames whatever the disk does."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Final

import trio

from dnsproxy.dnstap.backlog import SPOOL_FULL
from dnsproxy.dnstap.framestreams import DNSTAP, ControlType, control_frame
from dnsproxy.dnstap.output import CHUNK_OCTETS, CONNECTED, Output, OutputOptions, log

FILE_MODE: Final = 0o640  # who asked for what is nobody else's business
FOLDER_MODE: Final = 0o750


class FileOutput(Output):
    """To a file, written in a thread and without buffers of its own, cut back to whole frames after an error."""

    def __init__(self, options: OutputOptions) -> None:
        super().__init__(options)
        self._path = Path(options.destination.path)
        self._descriptor = -1
        self._whole = 0  # octets of the file up to the end of the last whole frame

    async def _session(self) -> None:
        if self._descriptor < 0:
            await trio.to_thread.run_sync(self._create)
            self._opened()
        else:
            await trio.to_thread.run_sync(self._cut)
        while not self._is_done:
            await self._wait_for_frames()
            self._tend()
            await self._write_chunk()
            if self.state != CONNECTED:
                self._opened()
        await trio.to_thread.run_sync(self._finish)

    async def _write_chunk(self) -> None:
        chunk = memoryview(self._backlog.take(CHUNK_OCTETS))
        at = self._whole
        while chunk:
            written = await trio.to_thread.run_sync(os.pwrite, self._descriptor, chunk, at)
            at += written
            chunk = chunk[written:]
            self._count(written)

    def _count(self, written: int) -> None:
        backlog = self._backlog
        if backlog.queued:  # a disk that hung past the end finds nothing to count any more
            before = backlog.sent_octets
            backlog.written(written)
            self._whole += backlog.sent_octets - before

    def _release(self) -> None:
        """After an end without drain: as much good order as a disk allows that may just have failed."""
        if self._descriptor < 0:
            return
        try:
            self._cut()
            self._finish()
        except OSError as exc:
            log.warning("tap %s ends without STOP: %s", self.name, exc.strerror)
            self._close_file()

    def _lost(self, exc: Exception) -> None:
        super()._lost(exc)
        self._backlog.full_reason = SPOOL_FULL

    # in a thread

    def _create(self) -> None:
        self._path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        path, self._descriptor = create_beside(self._path)
        try:
            os.fchmod(self._descriptor, FILE_MODE)  # whatever the umask is
            self._write_control(control_frame(ControlType.START, DNSTAP))
        except OSError:
            path.unlink()
            self._close_file()
            raise
        log.info("tap %s writes %s", self.name, path)

    def _cut(self) -> None:
        os.ftruncate(self._descriptor, self._whole)

    def _finish(self) -> None:
        self._write_control(control_frame(ControlType.STOP))
        self._close_file()

    def _write_control(self, frame: bytes) -> None:
        if os.pwrite(self._descriptor, frame, self._whole) < len(frame):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._whole += len(frame)

    def _close_file(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


def create_beside(path: Path) -> tuple[Path, int]:
    """A new file, never an old one: `dns.fstrm`, or one above the highest of `dns.1.fstrm`, `dns.2.fstrm`, …

    Its name and descriptor; OSError when it cannot be made.
    """
    while True:
        name = _next_name(path)
        try:
            return name, os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        except FileExistsError:
            continue  # somebody was faster


def _next_name(path: Path) -> Path:
    numbered = re.compile(re.escape(path.stem) + r"\.(\d{1,9})" + re.escape(path.suffix))
    present = [each.name for each in path.parent.iterdir()]
    numbers = [int(match[1]) for match in map(numbered.fullmatch, present) if match]
    if not numbers and path.name not in present:
        return path
    return path.with_name(f"{path.stem}.{max(numbers, default=0) + 1}{path.suffix}")
