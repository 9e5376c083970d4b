"""What a tap keeps on disk while its collector is slow or away: Frame Streams files in a folder, within a bound."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dnsproxy.dnstap.spool_position import Batch, Position
from dnsproxy.dnstap.spool_recovery import recover
from dnsproxy.dnstap.spool_segment import (
    READING,
    START,
    STOP,
    Segment,
    SegmentWriter,
    owner_of,
    position_path,
    read_frames,
)

SPOOL_OCTETS: Final = 1 << 30  # an hour of 1 500 bare messages a second
FOLDER_MODE: Final = 0o750
SEGMENTS: Final = 16  # files of a full spool, at least: that is how finely it gives up the oldest
SEGMENTS_MAX: Final = 256  # at most: all are looked at with every write
SEGMENT_MIN: Final = 4096  # octets
SEGMENT_MAX: Final = 16 << 20  # unless there were too many
BLOCK: Final = 4096  # octets that file systems give at once: what a file takes is rounded up
SMALL: Final = 256 * BLOCK  # octets of a spool so small that this would leave little
EMPTY: Final = len(START) + len(STOP)  # octets of a segment without frames
FULL: Final = (errno.ENOSPC, errno.EDQUOT)

log = logging.getLogger("dnsproxy")


@dataclass(frozen=True)
class SpoolOptions:
    """Where Frame Streams files are kept, and how many octets of disk they may take together."""

    folder: str
    max_octets: int = SPOOL_OCTETS


@dataclass(frozen=True)
class Found:
    """Frames that nobody has sent, the oldest one made `age_s` seconds ago."""

    frames: int = 0
    age_s: float = 0.0


@dataclass(frozen=True)
class Appended:
    """How many frames are on disk, from the first on, how many older ones were given up for them, and what failed."""

    kept: int
    given_up: int
    error: OSError | None = None


class Spool:
    """The files of one output. Its methods wait for the disk, and only one may be called at a time.

    A folder may be shared by outputs of one tap in several processes: what a process leaves behind that ends is taken
    over by whoever looks first. The bound is the folder's. Files are not synced: they survive the death of the process,
    not of the machine.
    """

    def __init__(self, name: str, options: SpoolOptions, *, drops_oldest: bool) -> None:
        self._name = name
        self._folder = Path(options.folder)
        self._max_octets = options.max_octets
        self._block = BLOCK if options.max_octets >= SMALL else 1
        longest = max(SEGMENT_MAX, options.max_octets // SEGMENTS_MAX)
        self._segment_octets = min(max(options.max_octets // SEGMENTS, SEGMENT_MIN), longest)
        self._drops_oldest = drops_oldest
        self._folder_descriptor = -1
        self._positions: dict[int, Position] = {}  # of the owners of segments that are ours now
        self._owner = 0  # we, among these
        self._number = 0  # of our last segment
        self._segments: deque[Segment] = deque()  # in the order of sending
        self._writer: SegmentWriter | None = None  # of the last one
        self._descriptor = -1  # of the first one, for reading
        self._is_lent = False  # frames of the first one are being sent

    @property
    def is_open(self) -> bool:
        """Whether there is a place for frames."""
        return self._owner > 0

    def open(self) -> Found:
        """Make the folder if need be, and take over what nobody sends; OSError when there cannot be a spool here."""
        self._folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        if self._folder_descriptor < 0:
            self._folder_descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        with self._locked():
            found = self._take_over()
            if not self._positions and not self._claim(max(self._owners(), default=0) + 1):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
            self._owner = min(self._positions)
            last = max((each.number for each in self._segments if each.owner == self._owner), default=0)
            self._number = max(last, self._positions[self._owner].segment)
            self._let_go_of_owners()
        return found

    def adopt(self) -> Found:
        """Take over what processes have left behind that ended since."""
        with self._locked():
            return self._take_over()

    def _take_over(self) -> Found:
        owners = self._owners()
        groups = []
        for owner in sorted(owners.keys() - self._positions.keys()):
            position = self._claim(owner)
            if position is not None:
                groups.append(recover(self._name, owners[owner], position))
        groups = sorted(filter(None, groups), key=lambda group: group[0].began)
        segments = [segment for group in groups for segment in group]
        if segments:
            self._finish_segment()
            self._segments += segments
        self._let_go_of_owners()
        frames = sum(segment.frames for segment in segments)
        return Found(frames, max(time.time() - segments[0].began, 0.0)) if segments else Found()

    def _owners(self) -> dict[int, list[Segment]]:
        """Everybody who has or had a part of the folder."""
        owners: dict[int, list[Segment]] = {}
        for path in self._folder.iterdir():
            owner = owner_of(path.name)
            if owner is not None:
                segments = owners.setdefault(owner, [])
                segment = Segment.named(path)
                if segment is not None:
                    segments.append(segment)
        return owners

    def _claim(self, owner: int) -> Position | None:
        position = Position.claim(position_path(self._folder, owner), self._max_octets)
        if position is not None:
            self._positions[owner] = position
        return position

    # writing

    def append(self, frames: list[bytes], began: float) -> Appended:
        """Put frames behind all others, the first one made at `began` seconds since 1970."""
        kept = given_up = 0
        try:
            with self._locked():
                others = self._octets_of_others()
                while kept < len(frames):
                    added = self._append_some(frames, kept, began, others)
                    more = 0 if added or not self._drops_oldest else self._give_up_oldest()
                    if not (added or more):
                        break
                    kept += added
                    given_up += more
        except OSError as exc:
            return Appended(kept, given_up, exc)
        return Appended(kept, given_up)

    def _append_some(self, frames: list[bytes], first: int, began: float, others: int) -> int:
        """As many as fit into the segment that is written now, or a new one; 0 when the spool is full."""
        if self._writer is not None and self._writer.segment.size >= self._segment_octets:
            self._finish_segment()
        count = self._fitting(frames, first, others)
        if not count:
            return 0
        try:
            return self._write(frames[first : first + count], began)
        except OSError as exc:
            if exc.errno in FULL and self._drops_oldest and self._segments:
                return 0  # room can be made
            raise

    def _write(self, frames: list[bytes], began: float) -> int:
        writer = self._writer
        if writer is None:
            return self._begin_segment(began).append(frames)
        try:
            return writer.append(frames)
        except OSError:
            self._finish_segment()  # perhaps it is only this file that may not grow
        return self._begin_segment(began).append(frames)

    def _fitting(self, frames: list[bytes], first: int, others: int) -> int:
        """How many frames may be added to the segment that is written now, or to a new one."""
        size = self._writer.segment.size if self._writer is not None else EMPTY
        room = self._room(others) - EMPTY
        wanted = self._segment_octets - size
        count = octets = 0
        while first + count < len(frames):
            octets += len(frames[first + count])
            if octets > room or (count and octets > wanted):
                break
            count += 1
        return count

    def _room(self, others: int) -> int:
        """Octets by which the last segment may grow."""
        tail = self._writer.segment if self._writer is not None else None
        used = others + sum(position.size for position in self._positions.values())
        used += sum(self._rounded(segment.size) for segment in self._segments if segment is not tail)
        return (self._max_octets - used) // self._block * self._block - (tail.size if tail is not None else 0)

    def _rounded(self, octets: int) -> int:
        return -(-octets // self._block) * self._block

    def _octets_of_others(self) -> int:
        """What processes use that share the folder."""
        octets = 0
        for entry in os.scandir(self._folder):
            owner = owner_of(entry.name)
            if owner is not None and owner not in self._positions:
                octets += self._rounded(entry.stat(follow_symlinks=False).st_size)
        return octets

    def _begin_segment(self, began: float) -> SegmentWriter:
        self._folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)  # somebody may have tidied up
        segment = Segment.new(self._folder, self._owner, self._number + 1, began)
        writer = self._writer = SegmentWriter(segment)
        self._number += 1
        self._segments.append(segment)
        return writer

    def _finish_segment(self) -> None:
        """Write no more to the last segment."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            writer.finish()
            if not writer.segment.frames:  # the disk was full before it held anything
                self._remove(writer.segment)

    def _give_up_oldest(self) -> int:
        """Remove the oldest segment that is not being sent; how many frames that costs."""
        candidates = list(self._segments)[self._is_lent :]
        if not candidates:
            return 0
        segment = candidates[0]
        frames = segment.frames
        self._remove(segment)
        return frames

    def append_older(self, frames: list[bytes]) -> int:
        """At the end: keep frames that are older than all others, for whoever takes over; how many."""
        with self._locked():
            self._finish_segment()
            owner = max(self._owners(), default=0) + 1
            began = min((segment.began for segment in self._segments), default=time.time()) - 1
            room = self._room(self._octets_of_others()) - 2 * EMPTY
            if self._claim(owner) is None or sum(map(len, frames)) > room - self._positions[owner].size:
                return 0
            writer = SegmentWriter(Segment.new(self._folder, owner, 1, began))
            self._segments.appendleft(writer.segment)
            kept = writer.append(frames)
            writer.finish()
        return kept

    # reading

    def next_frames(self, most_octets: int) -> tuple[list[bytes], int]:
        """The next frames of one segment; a segment that cannot be read is given up: how many frames that costs.

        `send` must follow, as often as it takes, or `take_back`.
        """
        assert self._segments
        segment = self._segments[0]
        position = self._positions[segment.owner]
        try:
            if position.segment != segment.number:
                position.set(segment.number, len(START))
            if self._descriptor < 0:
                self._descriptor = os.open(segment.path, READING)
            frames = read_frames(self._descriptor, position.octets, segment.end, most_octets)
        except OSError as exc:
            log.warning("tap %s gives up %s: %s", self._name, segment.path, exc.strerror)
            given_up = segment.frames
            self._remove(segment)
            return [], given_up
        self._is_lent = True
        return frames, 0

    def send(self, socket: int, batch: Batch) -> int:
        """Send as much of these frames as the connection takes now; OSError when it is broken.

        What has been sent is removed with the file that it was in; if that held less than it should, how much less.
        """
        segment = self._segments[0]
        position = self._positions[segment.owner]
        before = batch.sent
        try:
            position.send(socket, batch)
        finally:
            segment.frames -= batch.sent - before
        if not batch.is_sent:
            return 0
        self._is_lent = False
        if position.octets < segment.end:
            return 0
        missing = segment.frames
        self._remove(segment)
        return missing

    def take_out(self, batch: Batch) -> bytes:
        """The frame that is next in a batch belongs to its sender now; what of its piece has not left."""
        segment = self._segments[0]
        position = self._positions[segment.owner]
        (start,), (length,) = batch.rest(1)
        position.set(segment.number, position.octets + batch.frames[batch.sent])
        segment.frames -= 1
        self._is_lent = False
        if position.octets >= segment.end:
            self._remove(segment)
        return bytes(batch.octets[start : start + length])

    def take_back(self) -> None:
        """The connection is gone: what it did not take is still here."""
        self._is_lent = False

    def _remove(self, segment: Segment) -> None:
        if segment is self._segments[0] and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._writer is not None and self._writer.segment is segment:
            self._writer.close()
            self._writer = None
        self._segments.remove(segment)
        segment.path.unlink(missing_ok=True)
        self._let_go_of_owners()

    def _let_go_of_owners(self) -> None:
        """Those that have nothing left, but for ourselves."""
        busy = {segment.owner for segment in self._segments} | {self._owner}
        for owner in self._positions.keys() - busy if self._owner else ():
            self._positions.pop(owner).close(remove=True)

    def close(self) -> None:
        """Leave what is there to whoever opens the spool next; it can be opened again."""
        self._finish_segment()
        if self._descriptor >= 0:
            os.close(self._descriptor)
        busy = {segment.owner for segment in self._segments}
        for owner, position in self._positions.items():
            position.close(remove=owner not in busy)
        if self._folder_descriptor >= 0:
            os.close(self._folder_descriptor)
        self._descriptor = self._folder_descriptor = -1
        self._owner = self._number = 0
        self._positions.clear()
        self._segments.clear()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone in the folder, among those that share it, where folders can be locked."""
        self._flock(fcntl.LOCK_EX)
        try:
            yield
        finally:
            self._flock(fcntl.LOCK_UN)

    def _flock(self, operation: int) -> None:
        try:
            fcntl.flock(self._folder_descriptor, operation)
        except OSError:
            pass  # NFS: the bound may be passed by a little
