"""A Frame Streams file on disk: a new one beside those that are there, whole frames whatever the disk does."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dnsproxy.dnstap.framestreams import DNSTAP, MAX_SKIPPED, ControlType, control_frame

FILE_MODE: Final = 0o640  # who asked for what is nobody else's business
FOLDER_MODE: Final = 0o750
PART: Final = ".part"  # ending of a file that is not complete
ENDINGS: Final = r"(?P<packed>\.gz|\.zst)?(?P<state>\.part|\.tmp)?"  # of a file that has its name already
START: Final = control_frame(ControlType.START, DNSTAP)
STOP: Final = control_frame(ControlType.STOP)

_CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LENGTH = struct.Struct("!I")


class StreamFile:
    """One file, from START to STOP, locked as long as it is open. Its methods wait for the disk.

    `path` is the name it would like to have, `name` the one it has got, `size` the octets up to the end of its last
    whole frame.
    """

    def __init__(self, path: Path, ending: str = "") -> None:
        self.path = path
        self.name = path
        self.size = 0
        self._ending = ending
        self._descriptor = -1
        self._has_rest = False  # something stands behind the last whole frame

    @classmethod
    def adopt(cls, path: Path, name: Path) -> StreamFile | None:
        """A file that somebody left without STOP, to go on behind its last whole frame.

        None when it is being written, or is no such stream. OSError when it cannot be opened.
        """
        file = cls(path)
        file.name = name
        file._descriptor = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            lock(file._descriptor)
            whole = _whole_stream(file._descriptor) if file.is_there else -1
        except OSError:
            whole = -1
        if whole < 0:
            file.close()
            return None
        file.size, file._has_rest = whole, True
        return file

    @property
    def is_open(self) -> bool:
        """Whether it has been begun and not been closed."""
        return self._descriptor >= 0

    @property
    def has_frames(self) -> bool:
        """Whether there is more than START."""
        return self.size > len(START)

    @property
    def is_there(self) -> bool:
        """Whether its name is still its own: nobody has moved it, or put another file there."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.lstat(self.name))
        except FileNotFoundError:
            return False

    @property
    def is_deleted(self) -> bool:
        """Whether it has no name left, not even one that it was moved to."""
        return os.fstat(self._descriptor).st_nlink == 0 and not self.is_there  # some file systems count no links

    @property
    def is_part(self) -> bool:
        """Whether it has another name once it is complete."""
        return self.name.name.endswith(PART)

    def create(self, first_choice: Path | None = None) -> Path:
        """Begin it, in folders that are made if need be, preferably as `first_choice`; its name."""
        self.path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        self.name, self._descriptor = create_beside(self.path, self._ending, first_choice)
        self.size = 0
        try:
            os.fchmod(self._descriptor, FILE_MODE)  # whatever the umask is
            self._write_control(START)
        except OSError:
            self.discard()
            raise
        self.size = len(START)
        return self.name

    def append(self, frames: bytes | memoryview) -> None:
        """Write whole frames; after an OSError `size` tells how many there are."""
        self._cut()
        octets, taken = memoryview(frames), 0
        try:
            while taken < len(octets):
                taken += os.pwrite(self._descriptor, octets[taken:], self.size + taken)
        except OSError:
            self.size += whole_frames(octets, taken)
            self._cut_what_is_not_whole()
            raise
        self.size += taken

    def seal(self) -> None:
        """Behind the last whole frame STOP; nothing is to be appended any more."""
        self._cut()
        self._write_control(STOP)

    def seal_as_it_was(self) -> None:
        """As `seal`; the file stays as old as its last frame."""
        status = os.fstat(self._descriptor)
        self.seal()
        os.utime(self._descriptor, ns=(status.st_atime_ns, status.st_mtime_ns))

    def count_frames(self) -> int:
        """How many whole frames it has; takes 0.1 µs for each."""
        if not self.has_frames:
            return 0
        with mmap.mmap(self._descriptor, self.size, access=mmap.ACCESS_READ) as octets:
            return sum(1 for _ in _frame_ends(octets, self.size, len(START)))

    def sync(self) -> None:
        """Wait until the disk has it for good."""
        os.fsync(self._descriptor)

    def finish(self) -> None:
        """STOP, and close."""
        self.seal()
        self.close()

    def discard(self) -> None:
        """Close, and leave nothing behind."""
        if self.is_there:
            self.name.unlink()
        self.close()

    def close(self) -> None:
        """Close as it is."""
        os.close(self._descriptor)
        self._descriptor = -1

    def _cut(self) -> None:
        if self._has_rest:
            os.ftruncate(self._descriptor, self.size)
            self._has_rest = False

    def _cut_what_is_not_whole(self) -> None:
        self._has_rest = True
        with contextlib.suppress(OSError):  # the next write tries again
            self._cut()

    def _write_control(self, frame: bytes) -> None:
        if os.pwrite(self._descriptor, frame, self.size) < len(frame):
            self._cut_what_is_not_whole()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __repr__(self) -> str:
        return f"<StreamFile {self.name}, {self.size} octets>"


def lock(descriptor: int) -> None:
    """Have a file for ourselves as long as it is open; BlockingIOError when somebody has, whatever process that is."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_locked(path: Path) -> bool:
    """Whether somebody has it for himself now; OSError when it cannot be opened."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        lock(descriptor)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False


def create_beside(path: Path, ending: str = "", first_choice: Path | None = None) -> tuple[Path, int]:
    """A new file, never an old one: `dns.fstrm`, or one above the highest of `dns.1.fstrm`, `dns.2.fstrm`, …

    Its name, which has the ending too, and its descriptor, which is locked; OSError when it cannot be made.
    """
    chosen = first_choice or next_name(path)
    while True:
        name = chosen.with_name(chosen.name + ending)
        try:
            descriptor = os.open(name, _CREATE, FILE_MODE)
        except FileExistsError:  # somebody was faster
            chosen = next_name(path)
            continue
        if _is_ours(name, descriptor):
            return name, descriptor
        os.close(descriptor)


def _is_ours(name: Path, descriptor: int) -> bool:
    """Lock a file that was made just now; False when somebody takes it for a leftover."""
    try:
        lock(descriptor)
        return os.path.samestat(os.fstat(descriptor), os.lstat(name))
    except (BlockingIOError, FileNotFoundError):
        return False
    except OSError:  # a file system without locks
        return True


def next_name(path: Path) -> Path:
    """The name that `create_beside` would choose now: neither it nor a compressed or partial form of it is there."""
    numbered = re.compile(rf"{re.escape(path.stem)}(?:\.(\d{{1,9}}))?{re.escape(path.suffix)}{ENDINGS}", re.ASCII)
    matches = [match for each in path.parent.iterdir() if (match := numbered.fullmatch(each.name))]
    if not matches:
        return path
    return path.with_name(f"{path.stem}.{max(int(match[1] or 0) for match in matches) + 1}{path.suffix}")


def whole_frames(octets: bytes | memoryview | mmap.mmap, end: int, at: int = 0) -> int:
    """Octets of the data frames that stand between `at` and `end`, one behind the other and to their last octet."""
    whole = at
    for frame_end in _frame_ends(octets, end, at):
        whole = frame_end
    return whole - at


def _frame_ends(octets: bytes | memoryview | mmap.mmap, end: int, at: int) -> Iterator[int]:
    while at + _LENGTH.size <= end:
        length = _LENGTH.unpack_from(octets, at)[0]
        if not 0 < length <= min(MAX_SKIPPED, end - at - _LENGTH.size):
            break
        at += _LENGTH.size + length
        yield at


def _whole_stream(descriptor: int) -> int:
    """Octets up to the end of the last whole frame; -1 when the file does not begin as ours do."""
    size = os.fstat(descriptor).st_size
    head = os.pread(descriptor, len(START), 0)
    if size < len(START):
        return 0 if START.startswith(head) else -1
    if head != START:
        return -1
    with mmap.mmap(descriptor, size, access=mmap.ACCESS_READ) as octets:
        return len(START) + whole_frames(octets, size, len(START))
