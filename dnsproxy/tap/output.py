"""Where a command's output goes: standard output, or a file that is replaced once all of it is there."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Final, Protocol

STANDARD_OUTPUT: Final = "-"
CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
NEW_MODE: Final = 0o666  # less the umask, as a shell's redirection has it


class Output(Protocol):
    """Takes octets in order, and in the end `finish` or `abandon`; OSError when that cannot be done."""

    def write(self, octets: bytes) -> None:
        """All of them, at once."""

    def finish(self) -> None:
        """What was written is all."""

    def abandon(self) -> None:
        """What was written is not all: a file that was to be replaced stays as it was."""


def open_output(path: str | None, append: bool = False) -> Output:
    """Standard output for None and `-`; a file that is replaced once done, or appended to; a device as it is."""
    if path is None or path == STANDARD_OUTPUT:
        return Written(sys.stdout.fileno())
    if append:
        return Written(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, NEW_MODE))
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():  # /dev/null, a FIFO
        return Written(os.open(target, os.O_WRONLY | os.O_CLOEXEC))
    return Replacing(target)


class Written:
    """A descriptor that is written to as it comes; standard output stays open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, octets: bytes) -> None:
        """As Output says."""
        left = memoryview(octets)
        while left:
            left = left[os.write(self._descriptor, left) :]

    def finish(self) -> None:
        """As Output says."""
        if self._descriptor != sys.stdout.fileno():
            os.close(self._descriptor)

    def abandon(self) -> None:
        """What was written stays."""
        self.finish()


class Replacing(Written):
    """A file beside the one that it replaces in the end, and whose mode it takes over."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._temporary = target.with_name(f".{target.name}.{os.getpid()}")
        self._temporary.unlink(missing_ok=True)  # of one that was killed
        super().__init__(os.open(self._temporary, CREATE, 0o600))
        os.fchmod(self._descriptor, _mode_of(target))

    def finish(self) -> None:
        """As Output says."""
        try:
            os.fsync(self._descriptor)
            self._temporary.rename(self._target)
        except OSError:
            self.abandon()
            raise
        os.close(self._descriptor)

    def abandon(self) -> None:
        """As Output says."""
        os.close(self._descriptor)
        self._temporary.unlink(missing_ok=True)


def _mode_of(target: Path) -> int:
    try:
        return stat.S_IMODE(target.stat().st_mode)
    except FileNotFoundError:
        umask = os.umask(0)
        os.umask(umask)
        return NEW_MODE & ~umask
