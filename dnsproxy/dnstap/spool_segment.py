"""A file of a spool: Frame Streams, written at the end while it may already be read at the beginning."""

from __future__ import annotations

import calendar
import errno
import os
import re
import struct
import time
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

from dnsproxy.dnstap.backlog import MAX_FRAME
from dnsproxy.dnstap.framestreams import DNSTAP, ControlType, control_frame
from dnsproxy.dnstap.spool_position import FILE_MODE

START: Final = control_frame(ControlType.START, DNSTAP)
STOP: Final = control_frame(ControlType.STOP)
LENGTH: Final = struct.Struct("!I")
READING: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # no pipe holds us up
SCAN_OCTETS: Final = 1 << 20  # read at once when frames are counted
STAMP: Final = "%Y%m%dT%H%M%SZ"
NAME: Final = re.compile(r"spool-(\d{1,9})-(\d{1,12})-(\d{8}T\d{6}Z)\.fstrm")
POSITION_NAME: Final = re.compile(r"spool-(\d{1,9})\.position")
OWN_NAMES: Final = re.compile(rf"{NAME.pattern}|{POSITION_NAME.pattern}")


@dataclass
class Segment:
    """What is known of a file; `end` is where its last whole frame ends, `frames` are those that are not sent."""

    path: Path
    owner: int
    number: int
    began: float  # seconds since 1970, when its first message was made
    frames: int = 0
    end: int = len(START)

    @classmethod
    def named(cls, path: Path) -> Segment | None:
        """By a name that `new` gives; None when it is another file."""
        match = NAME.fullmatch(path.name)
        if match is None:
            return None
        try:
            began = calendar.timegm(time.strptime(match[3], STAMP))
        except ValueError:
            return None
        return cls(path, int(match[1]), int(match[2]), began)

    @classmethod
    def new(cls, folder: Path, owner: int, number: int, began: float) -> Segment:
        """One that does not exist yet."""
        stamp = time.strftime(STAMP, time.gmtime(began))
        return cls(folder / f"spool-{owner}-{number:08d}-{stamp}.fstrm", owner, number, began)

    @property
    def size(self) -> int:
        """Octets of the file, the STOP at its end included even if it is still to come."""
        return self.end + len(STOP)


def owner_of(name: str) -> int | None:
    """Whose file this is, if it is part of a spool."""
    match = OWN_NAMES.fullmatch(name)
    return int(match[1] or match[4]) if match is not None else None


def position_path(folder: Path, owner: int) -> Path:
    """Where an owner of segments keeps how far it has sent them, and shows that it is there."""
    return folder / f"spool-{owner}.position"


class SegmentWriter:
    """Writes a new segment. Every method waits for the disk; OSError when it cannot be begun, or nothing is added."""

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        self._descriptor = os.open(segment.path, flags, FILE_MODE)
        try:
            self._write_whole(START, 0)
        except OSError:
            self.close()
            segment.path.unlink()
            raise

    def append(self, frames: list[bytes]) -> int:
        """Write the frames, as many as the disk takes whole, but at least one."""
        segment = self.segment
        octets = b"".join(frames)
        written = os.pwrite(self._descriptor, octets, segment.end)
        count = len(frames)
        if written < len(octets):
            ends = list(accumulate(map(len, frames)))
            count = bisect_right(ends, written)
            written = ends[count - 1] if count else 0
            os.ftruncate(self._descriptor, segment.end + written)
        if not count:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        segment.end += written
        segment.frames += count
        return count

    def finish(self) -> None:
        """STOP, and close; without STOP, or with a part of it, if the disk does not take it."""
        try:
            self._write_whole(STOP, self.segment.end)
        except OSError:
            pass
        self.close()

    def close(self) -> None:
        """Close as it is."""
        os.close(self._descriptor)

    def _write_whole(self, octets: bytes, at: int) -> None:
        if os.pwrite(self._descriptor, octets, at) < len(octets):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@dataclass
class Scan:
    """What is in a file: frames behind an offset, where the last whole one ends, and what is wrong with the rest."""

    frames: int
    end: int
    damage: str = ""
    is_partial: bool = False  # the rest is the beginning of a frame, as a process leaves it that is killed
    knows_offset: bool = True  # a frame begins there, or the last one ends


def scan(path: Path, offset: int) -> Scan:
    """Count the frames of a file from an offset on, whatever is in it; OSError when it cannot be read."""
    descriptor = os.open(path, READING)
    try:
        if os.pread(descriptor, len(START), 0) != START:
            return Scan(0, 0, "no START of a dnstap stream")
        return _scan_frames(descriptor, offset)
    finally:
        os.close(descriptor)


def _scan_frames(descriptor: int, offset: int) -> Scan:
    found = Scan(0, len(START), knows_offset=offset == len(START))
    while True:
        octets = os.pread(descriptor, SCAN_OCTETS, found.end)
        at, is_over = _count(octets, found, offset - found.end)
        found.end += at
        if is_over or not at:
            found.is_partial = not is_over and bool(octets)
            return found


def _count(octets: bytes, found: Scan, offset: int) -> tuple[int, bool]:
    """Note the whole frames in a piece; where they end, and whether nothing that follows can be read."""
    at, available = 0, len(octets)
    unpack = LENGTH.unpack_from
    while at + LENGTH.size <= available:
        length = unpack(octets, at)[0]
        if not 0 < length <= MAX_FRAME:
            return at, _is_over(octets[at : at + len(STOP) + 1], found)
        end = at + LENGTH.size + length
        if end > available:
            break
        found.frames += at >= offset
        at = end
        if at == offset:
            found.knows_offset = True
    return at, False


def _is_over(rest: bytes, found: Scan) -> bool:
    """Whether this is the end: STOP, or what must not be there; a STOP may still have to be read whole."""
    if rest != STOP and STOP.startswith(rest):
        return False
    if rest != STOP:
        found.damage = f"{rest[:8].hex(' ')} in place of a frame"
    return True


def read_frames(descriptor: int, start: int, end: int, most: int) -> list[bytes]:
    """The whole frames between two offsets, about `most` octets; OSError if there is none."""
    octets = os.pread(descriptor, min(most, end - start), start)
    frames = []
    at, available = 0, len(octets)
    while at + LENGTH.size <= available:
        length = LENGTH.unpack_from(octets, at)[0]
        whole = at + LENGTH.size + length
        if not 0 < length <= MAX_FRAME or whole > available:
            break
        frames.append(octets[at:whole])
        at = whole
    if not frames:
        raise OSError(errno.EIO, "it is not what was written")
    return frames
