"""The files of a tap, one after the other: frames go in, files begin and end by size, by the clock and when asked."""

from __future__ import annotations

import logging
import os
import sys

from dnsproxy.dnstap.rotation import LOOK_S, NEVER, Rotation
from dnsproxy.dnstap.rotation_archive import Archive, Hook
from dnsproxy.dnstap.rotation_names import NameTemplate
from dnsproxy.dnstap.stream_file import PART, STOP, StreamFile, whole_frames

log = logging.getLogger("dnsproxy")


class FileSeries:
    """One file that is being written, and an archive that sees to those before it.

    Its methods wait for the disk, one caller at a time; `ask` and what can be read may be used by others meanwhile.
    Times are seconds since 1970, and the caller's. While files rotate the one that is being written is called
    `NAME.part`, and NAME once it is complete; else it has its name from the beginning.
    """

    def __init__(self, tap: str, path: str, rotation: Rotation, hook: Hook | None = None) -> None:
        """ValueError when `path` has directives that strftime does not know."""
        self.turn = NEVER  # when the file must end; a file without frames too
        self.written = 0  # octets of whole frames that are in files
        self._tap = tap
        self._template = NameTemplate(path, rotation.utc)
        self._rotation = rotation
        self._archive = Archive(tap, self._template, rotation, hook)
        self._file: StreamFile | None = None
        self._is_first = True
        self._has_recovered = False
        self._is_asked = False

    @property
    def is_open(self) -> bool:
        """Whether a file is being written."""
        return self._file is not None

    def ask(self) -> None:
        """Have the next `write` begin another file, whatever has become of the present one's name."""
        self._is_asked = self.is_open

    def is_due(self, now: float) -> bool:
        """Whether `write` has something to do even without frames."""
        return self._is_asked or now >= self.turn

    def pause_s(self, now: float) -> float:
        """For how long `is_due` need not be looked at."""
        return self.turn if self.turn == NEVER else max(min(self.turn - now, LOOK_S), 0.0)

    def begin(self, now: float) -> None:
        """Begin a file; OSError when that cannot be."""
        self._begin(now, None)

    def write(self, frames: bytes | memoryview, now: float) -> None:
        """Write whole frames, in as many files as it takes; OSError when not all could be, `written` tells how many.

        A frame that no file has room for, which `Rotation.guarded` turns away, gets one of its own.
        """
        if self._file is None:
            self._begin(now, None)
        elif self._file.is_deleted:
            self._replace_deleted(self._file, now)
        elif self.is_due(now):
            self._turn_over(now)
        rest = memoryview(frames)
        while rest:
            part = rest[: self._fitting(rest)]
            self._append(part)
            rest = rest[len(part) :]
            if rest:
                self._turn_over(now)

    def end(self) -> None:
        """End the file, if there is one; OSError when the disk does not even take STOP: then it stays open."""
        file = self._file
        if file is None:
            return
        is_kept = file.has_frames or (self._is_first and not self._rotation.has_parts)
        if is_kept:
            file.seal()
        else:
            file.discard()
        self._is_first = False
        self._file = self._archive.current = None
        self.turn = NEVER
        if is_kept:
            self._archive.take(file)

    def abandon(self) -> None:
        """Close the file as it is; the next start completes it."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the files that have ended are what they shall be; whether they are."""
        return self._archive.wait(timeout_s)

    def _turn_over(self, now: float) -> None:
        before = self._file
        self._archive.check_room()
        self.end()
        self._archive.catch_up()
        self._begin(now, before)

    def _replace_deleted(self, deleted: StreamFile, now: float) -> None:
        """Its room on the disk is free once it is closed; what would be written to it nobody could read."""
        log.warning("tap %s: %s was deleted, with what it held; another file begins", self._tap, deleted.name)
        deleted.close()
        self._file = self._archive.current = None
        self._begin(now, deleted)

    def _begin(self, now: float, before: StreamFile | None) -> None:
        has_parts = self._rotation.has_parts
        file = StreamFile(self._template.at(now), PART if has_parts else "")
        is_same = before is not None and not has_parts and before.path == file.path
        is_moved = is_same and before is not None and not os.path.lexists(before.name)
        name = file.create(before.name if before and is_moved else None)
        self._file, self._archive.current = file, name
        self.turn = self._rotation.next_turn(now)
        if before is None or self._is_asked:
            log.info("tap %s writes %s", self._tap, name)
        self._is_asked = False
        if not self._has_recovered:
            self._has_recovered = True
            self._archive.recover()

    def _append(self, frames: memoryview) -> None:
        assert self._file is not None
        before = self._file.size
        try:
            self._file.append(frames)
        finally:
            self.written += self._file.size - before

    def _fitting(self, frames: memoryview) -> int:
        """Octets of those frames for which the file has room."""
        assert self._file is not None
        size = self._rotation.size
        room = sys.maxsize if size is None else max(size - len(STOP) - self._file.size, 0)
        if len(frames) <= room:
            return len(frames)
        return whole_frames(frames, room) or (0 if self._file.has_frames else _first_frame(frames))

    def __repr__(self) -> str:
        return f"<FileSeries {self._file or self._template}>"


def _first_frame(frames: memoryview) -> int:
    return 4 + int.from_bytes(frames[:4], "big")
