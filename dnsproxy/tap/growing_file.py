"""A file that somebody is writing: what was added, whatever became of it meanwhile, each frame once."""

from __future__ import annotations

import errno
import os
import time
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from dnsproxy.dnstap.framestreams import MAX_FRAME
from dnsproxy.dnstap.stream_file import STOP
from dnsproxy.tap.damage import TRUNCATED, Damages
from dnsproxy.tap.growing_stream import GrowingStream
from dnsproxy.tap.octets import GZIP_MAGIC, ZSTD_MAGIC, NotWhole, Octets
from dnsproxy.tap.runs import Run

CHUNK: Final = 64 * 1024  # octets read at once: 400 messages
MARK_OCTETS: Final = 256  # a message with STOP and START behind it: no other one has the same, with its time and port
CLOCK_NS: Final = 2_000_000_000  # for which a file system's clock may stand still: FAT's does

Identity = tuple[int, int]
Facts = tuple[int, int]


class Mark(NamedTuple):
    """The octets before an offset, by which a file is known again."""

    offset: int
    octets: bytes


class GrowingFile:
    """One file, by whatever name: `path` is the present one, for its holder to keep. OSError when it cannot be read.

    `identity` is what the system knows it by. A file that is `parked` takes no descriptor until it is read again.
    """

    def __init__(self, path: Path, name: str, max_frame: int = MAX_FRAME) -> None:
        self.path = path
        self.missed = 0  # for its holder: how often it was looked for in vain
        self._name = name
        self._max_frame = max_frame
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.identity = identity_of(os.fstat(self._descriptor))
        self._facts: Facts = (-1, -1)  # when it was read last
        self._is_closed = False
        self._is_packed = os.pread(self._descriptor, 4, 0).startswith((GZIP_MAGIC, ZSTD_MAGIC))
        self._before = Counter[str]()  # frames and damaged, before it was begun anew
        self._begin()

    def _begin(self) -> None:
        self.damages = Damages(self._name)
        self._is_summed_up = False
        self._stream = GrowingStream(self.damages, self._max_frame)
        self._mark = self._stop_mark = Mark(0, b"")

    @property
    def is_stopped(self) -> bool:
        """Whether it ends with STOP, or is of the kind that never grows."""
        return self._is_packed or self._stream.is_stopped

    @property
    def frames(self) -> int:
        """Good ones that were read."""
        return self._before["frames"] + self.damages.frames

    @property
    def damaged(self) -> int:
        """How often there was damage."""
        return self._before["damaged"] + self.damages.total

    @property
    def changed_ns(self) -> int:
        """When it was written last."""
        self.unpark()
        return os.fstat(self._descriptor).st_mtime_ns

    @property
    def is_parked(self) -> bool:
        """Whether it has no descriptor now."""
        return self._descriptor < 0

    @property
    def is_unread(self) -> bool:
        """Whether it was never read."""
        return self._facts == (-1, -1)

    @property
    def is_deleted(self) -> bool:
        """Whether nobody can open it any more."""
        return not self.is_parked and os.fstat(self._descriptor).st_nlink == 0

    def has_changed(self, status: os.stat_result | None = None) -> bool:
        """Whether it is another than when it was read last; `status` spares a look."""
        if status is None:
            if self.is_parked:
                return False
            status = os.fstat(self._descriptor)
        return facts_of(status) != self._facts

    def runs(self) -> Iterator[Run]:
        """What was added; all of it the first time."""
        if self._is_packed:
            yield from self._unpacked()
            return
        self.unpark()
        self._settle()
        yield from self._read()
        self._stream.go_back()
        if self._stream.is_over:
            self._sum_up()
        self._mark = self._mark_at(self._stream.received if self._stream.is_over else self._stream.offset)
        if self._stream.stop_offset is not None:
            self._stop_mark = self._mark_at(self._stream.stop_offset)

    def last_runs(self, frames: int) -> list[Run]:
        """As `runs`, and keeps no more than have those last frames."""
        kept: deque[Run] = deque()
        count = 0
        for run in self.runs():
            kept.append(run)
            count += run.frames
            while kept and count - kept[0].frames >= frames:
                count -= kept.popleft().frames
        return list(kept)

    def skip(self) -> bool:
        """Pass over what is there, if it ends with STOP; whether that could be done."""
        self.unpark()
        self._facts = facts_of(os.fstat(self._descriptor))
        size = self._facts[0]
        if self._is_packed:
            return True
        if size < len(STOP) or os.pread(self._descriptor, len(STOP), size - len(STOP)) != STOP:
            return False
        self._stream = GrowingStream(self.damages, self._max_frame, size, stop_offset=size - len(STOP))
        self._mark, self._stop_mark = self._mark_at(size), self._mark_at(size - len(STOP))
        return True

    def finish(self) -> Iterator[Run]:
        """What was added last; then it is closed, and its damage summed up."""
        if not (self.is_parked or self._is_packed):
            self._settle()
            yield from self._read()
            self._stream.end()
        self.close()

    def park(self) -> None:
        """Give up the descriptor."""
        if not self.is_parked:
            os.close(self._descriptor)
            self._descriptor = -1

    def close(self) -> None:
        """It is not read any more."""
        if not self._is_closed:
            self._is_closed = True
            self.park()
            self._sum_up()

    def unpark(self) -> None:
        """Have a descriptor again; FileNotFoundError when the name is another file's by now."""
        if not self.is_parked:
            return
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        if identity_of(os.fstat(self._descriptor)) != self.identity:
            self.park()
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))

    def _settle(self) -> None:
        """Where to go on: what was read may have been cut, or something else written in its place."""
        if self._is_there(self._mark):
            return
        if self._stop_mark.offset and self._is_there(self._stop_mark):
            self._stream.undo_stop()
            return
        self._sum_up()
        self._before.update(frames=self.damages.frames, damaged=self.damages.total)
        self._begin()

    def _read(self) -> Iterator[Run]:
        self._facts = self._lasting_facts()
        while data := os.pread(self._descriptor, CHUNK, self._stream.received):
            yield from self._stream.receive_data(data)
            if self._stream.is_over:
                return

    def _lasting_facts(self) -> Facts:
        """As it is now; of one that was just written, whose time may stay the same, such as no file has."""
        size, changed_ns = facts_of(os.fstat(self._descriptor))
        return (size, -1) if time.time_ns() - changed_ns < CLOCK_NS else (size, changed_ns)

    def _unpacked(self) -> Iterator[Run]:
        """Once: a compressed file does not grow."""
        if not self.is_unread:
            return
        self.unpark()
        octets = Octets(str(self.path))
        self._facts = facts_of(os.fstat(self._descriptor))
        try:
            for chunk in octets.chunks():
                yield from self._stream.receive_data(chunk)
                if self._stream.is_over:
                    return
        except NotWhole as exc:
            self.damages.report(TRUNCATED, self._stream.received, str(exc))
            return
        finally:
            octets.close()
        self._stream.end()

    def _sum_up(self) -> None:
        """The stream is over."""
        if not self._is_summed_up:
            self._is_summed_up = True
            self.damages.end()

    def _mark_at(self, offset: int) -> Mark:
        begin = max(offset - MARK_OCTETS, 0)
        return Mark(offset, os.pread(self._descriptor, offset - begin, begin))

    def _is_there(self, mark: Mark) -> bool:
        return self._mark_at(mark.offset) == mark

    def __repr__(self) -> str:
        return f"<GrowingFile {self.path} at {self._stream.offset}>"


def identity_of(status: os.stat_result) -> Identity:
    """By which the system knows a file, whatever its name."""
    return status.st_dev, status.st_ino


def facts_of(status: os.stat_result) -> Facts:
    """By which a change is noticed."""
    return status.st_size, status.st_mtime_ns
