"""A Frame Streams file on disk: a new one beside those that are there, whole frames whatever the disk does."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Final

from dnsproxy.dnstap.framestreams import DNSTAP, ControlType, control_frame

FILE_MODE: Final = 0o640  # who asked for what is nobody else's business
FOLDER_MODE: Final = 0o750


class StreamFile:
    """One file at a time, from START to STOP. Its methods wait for the disk; those that write raise OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        self._whole = 0  # octets up to the end of the last whole frame

    @property
    def is_open(self) -> bool:
        """Whether there is a file that has no STOP yet."""
        return self._descriptor >= 0

    def create(self) -> Path:
        """Begin a file, in folders that are made if need be; its name."""
        self._path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        path, self._descriptor = create_beside(self._path)
        self._whole = 0
        try:
            os.fchmod(self._descriptor, FILE_MODE)  # whatever the umask is
            self._write_control(control_frame(ControlType.START, DNSTAP))
        except OSError:
            path.unlink()
            self.close()
            raise
        return path

    def write(self, octets: bytes | memoryview, ahead: int = 0) -> int:
        """Write behind the last whole frame and `ahead` octets more; how many octets the disk took."""
        return os.pwrite(self._descriptor, octets, self._whole + ahead)

    def keep(self, octets: int) -> None:
        """So many octets of what was written are whole frames."""
        self._whole += octets

    def cut(self) -> None:
        """Throw away whatever stands behind the last whole frame."""
        os.ftruncate(self._descriptor, self._whole)

    def finish(self) -> None:
        """STOP, and close."""
        self._write_control(control_frame(ControlType.STOP))
        self.close()

    def close(self) -> None:
        """Close as it is."""
        os.close(self._descriptor)
        self._descriptor = -1

    def _write_control(self, frame: bytes) -> None:
        if os.pwrite(self._descriptor, frame, self._whole) < len(frame):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._whole += len(frame)


def create_beside(path: Path) -> tuple[Path, int]:
    """A new file, never an old one: `dns.fstrm`, or one above the highest of `dns.1.fstrm`, `dns.2.fstrm`, …

    Its name and descriptor; OSError when it cannot be made.
    """
    while True:
        name = next_name(path)
        try:
            return name, os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        except FileExistsError:
            continue  # somebody was faster


def next_name(path: Path) -> Path:
    """The name that `create_beside` would choose now."""
    numbered = re.compile(re.escape(path.stem) + r"\.(\d{1,9})" + re.escape(path.suffix))
    present = [each.name for each in path.parent.iterdir()]
    numbers = [int(match[1]) for match in map(numbered.fullmatch, present) if match]
    if not numbers and path.name not in present:
        return path
    return path.with_name(f"{path.stem}.{max(numbers, default=0) + 1}{path.suffix}")
