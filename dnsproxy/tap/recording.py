"""The files of a recorder: `.part` until they are complete, and those that a crash left are gone on in."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from dnsproxy.dnstap.rotation import Rotation
from dnsproxy.dnstap.rotation_names import TapFile
from dnsproxy.dnstap.rotation_publish import is_published
from dnsproxy.dnstap.rotation_series import FileSeries
from dnsproxy.dnstap.stream_file import FOLDER_MODE, PART, StreamFile, is_locked
from dnsproxy.tap.damage import tell
from dnsproxy.tap.errors import Failure
from dnsproxy.tap.hooks import Hooks


class Recording(FileSeries):
    """As FileSeries; it begins with `open`, and rather waits for the archive than gives anything up."""

    def __init__(self, path: str, rotation: Rotation, hooks: Hooks | None = None) -> None:
        super().__init__("record", path, rotation, hooks)
        if hooks is not None and rotation.keeps_few:
            hooks.on_done = self._archive.tidy

    def open(self, now: float) -> None:
        """Begin, or go on in what was left; Failure when another process records the same files."""
        with self._alone():
            leftovers = [file for file in self._template.files() if file.state]
            parts = self._adopted([file for file in leftovers if file.state == PART])
            self._remove_temporary([file for file in leftovers if file.state != PART])
            self._has_recovered = True
            if parts and now < self._turn_of(parts[-1]):
                self._go_on(parts.pop())
            else:
                self.begin(now)
        for file in parts:
            file.seal_as_it_was()
            self._archive.take(file)
        self._archive.tidy()

    def sync(self) -> None:
        """Wait until the disk has for good what was written."""
        if self._file is not None:
            self._file.sync()

    def tidy(self) -> None:
        """Remove files that are too old by now; waits for nothing."""
        if self._rotation.keep_s is not None:
            self._archive.tidy()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Of two recorders that start at the same time the second finds the first one's file."""
        folder = self._template.root
        folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _adopted(self, parts: list[TapFile]) -> list[StreamFile]:
        """Those with frames, locked, the oldest first; those without are removed."""
        for part in parts:
            if is_locked(part.path):
                raise Failure(f"another process is recording {part.path}")
        found = []
        for part in sorted(parts, key=lambda part: (part.path.stat().st_mtime_ns, part.number)):
            file = StreamFile.adopt(part.base, part.path)
            if file is None:
                tell(f"{part.path} is no Frame Streams file, and stays as it is")
            elif is_published(part.path) or not file.has_frames:
                file.discard()
            else:
                found.append(file)
        return found

    def _remove_temporary(self, files: list[TapFile]) -> None:
        for file in files:
            if not is_locked(file.path):
                file.path.unlink()

    def _turn_of(self, file: StreamFile) -> float:
        """When it would have been ended: it was begun at most as long ago as it was written last."""
        return self._rotation.next_turn(file.name.stat().st_mtime)

    def _go_on(self, file: StreamFile) -> None:
        self.turn = self._turn_of(file)
        self._file, self._archive.current = file, file.name

    def _turn_over(self, now: float) -> None:
        self._archive.wait_for_room()
        super()._turn_over(now)


def absolute(template: str) -> str:
    """As the files are called wherever the process goes; a folder's name stays as it is written."""
    return str(Path(template).absolute())
