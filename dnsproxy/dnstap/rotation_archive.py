"""What becomes of a tap's closed files: on disk for good, compressed, under their names, no more than are kept."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Final, Protocol

from dnsproxy.dnstap.rotation import Rotation
from dnsproxy.dnstap.rotation_compress import ENDING, TEMPORARY, compress
from dnsproxy.dnstap.rotation_names import NameTemplate, TapFile
from dnsproxy.dnstap.rotation_publish import is_published, publish, sync_folder
from dnsproxy.dnstap.stream_file import PART, StreamFile, is_locked

NICENESS: Final = 19  # of the thread: a file that waits harms nobody
PATIENCE_S: Final = 0.1  # most files take less: they have their names when the next one is begun
MOST_WAITING: Final = 64  # files, each of them open: who fills them faster than they are compressed fills the disk

log = logging.getLogger("dnsproxy")


class Hook(Protocol):
    """Whoever has something to do with complete files."""

    def take(self, path: Path, file: StreamFile) -> None:
        """A file has its last name; it is open until this returns. Called in the archive's thread."""

    def needs(self, path: Path) -> bool:
        """Whether a file must not be removed yet."""


class Archive:
    """Sees to one file after the other, in the order in which they were closed, in a thread while there are any."""

    def __init__(self, tap: str, template: NameTemplate, rotation: Rotation, hook: Hook | None = None) -> None:
        self.current: Path | None = None  # being written under the name that it will keep
        self._tap = tap
        self._template = template
        self._rotation = rotation
        self._hook = hook
        self._jobs: deque[Callable[[], None]] = deque()
        self._changing = threading.Condition()
        self._is_working = False

    def take(self, file: StreamFile) -> None:
        """See to a file that has its STOP and is still open."""
        self._add(partial(self._see_to, file))

    def check_room(self) -> None:
        """OSError when as many files wait as may."""
        if len(self._jobs) >= MOST_WAITING:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

    def wait_for_room(self) -> None:
        """Wait until `check_room` has nothing to say against another file."""
        with self._changing:
            self._changing.wait_for(lambda: len(self._jobs) < MOST_WAITING)

    def catch_up(self) -> None:
        """Wait until everything is done, but not for long."""
        self.wait(PATIENCE_S)

    def recover(self) -> None:
        """See to what others have left incomplete, and to those that are too many."""
        self._add(self._complete_leftovers)

    def tidy(self) -> None:
        """Remove those that are too many, or too old by now."""
        self._add(self._remove_old)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until everything is done; whether it is."""
        with self._changing:
            return self._changing.wait_for(lambda: not self._is_working, timeout_s)

    # the thread

    def _add(self, job: Callable[[], None]) -> None:
        with self._changing:
            self._jobs.append(job)
            if not self._is_working:
                self._is_working = True
                threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        if sys.platform == "linux":  # elsewhere a thread has no priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while job := self._next_job():
            try:
                job()
            except Exception:  # whatever it was, the next file is another one
                log.exception("tap %s: a closed file stays as it is", self._tap)

    def _next_job(self) -> Callable[[], None] | None:
        with self._changing:
            self._changing.notify_all()
            if self._jobs:
                return self._jobs.popleft()
            self._is_working = False
            return None

    # what it does

    def _see_to(self, file: StreamFile) -> None:
        try:
            file.sync()
            if file.is_there:  # else somebody has moved it, and does with it what he likes
                path = self._publish(file)
                if self._hook is not None:
                    self._hook.take(path, file)
        except OSError as exc:
            self._warn("stays as it is", file.name, exc)
        finally:
            file.close()
        self._remove_old()

    def _publish(self, file: StreamFile) -> Path:
        """Give it its last form and name, which is returned."""
        packed = self._compressed(file)
        if packed:
            path = publish(packed, file.path)
            file.name.unlink()
            return path
        if file.is_part:
            return publish(file.name, file.path)
        sync_folder(file.name.parent)
        return file.name

    def _compressed(self, file: StreamFile) -> Path | None:
        """A temporary file beside it; None when it shall stay as it is, or must."""
        wanted = self._rotation.compress
        if wanted is None:
            return None
        target = file.name.with_name(file.name.name.removesuffix(PART) + ENDING[wanted] + TEMPORARY)
        try:
            compress(file.name, target, wanted)
        except (OSError, ImportError) as exc:
            self._warn("is not compressed", file.name, exc)
            return None
        return target

    def _remove_old(self) -> None:
        if not self._rotation.keeps_few:
            return
        closed = [file for file in self._template.files() if not file.state and file.path != self.current]
        closed.sort(key=_age)
        for file in closed[: too_many([_facts(file) for file in closed], self._rotation, time.time())]:
            try:
                if not (is_locked(file.path) or (self._hook and self._hook.needs(file.path))):
                    self._template.remove(file)
            except OSError as exc:
                self._warn("is not removed", file.path, exc)

    def _complete_leftovers(self) -> None:
        for leftover in [file for file in self._template.files() if file.state]:
            try:
                self._complete(leftover)
            except OSError as exc:
                self._warn("stays as it is", leftover.path, exc)
        self._remove_old()

    def _complete(self, leftover: TapFile) -> None:
        if leftover.state == PART:
            file = StreamFile.adopt(leftover.base, leftover.path)
            if file and (is_published(leftover.path) or not file.has_frames):
                file.discard()
            elif file:
                file.seal_as_it_was()
                self._see_to(file)
        elif not is_locked(leftover.path):
            leftover.path.unlink()

    def _warn(self, what: str, path: Path, exc: OSError | ImportError) -> None:
        log.warning("tap %s: %s %s: %s", self._tap, path, what, getattr(exc, "strerror", None) or exc)


def too_many(files: list[tuple[float, int]], rotation: Rotation, now: float) -> int:
    """How many of the files have to go, oldest first: each has a time of its last change, and octets.

    The newest stays, however large it is.
    """
    count = max(len(files) - rotation.keep, 0) if rotation.keep is not None else 0
    if rotation.keep_octets is not None:
        totals = list(accumulate(octets for _, octets in reversed(files)))
        count = max(count, sum(total > rotation.keep_octets for total in totals[1:]))
    if rotation.keep_s is not None:
        count = max(count, sum(changed < now - rotation.keep_s for changed, _ in files))
    return count


def _facts(file: TapFile) -> tuple[float, int]:
    try:
        status = file.path.stat()
    except FileNotFoundError:
        return 0.0, 0
    return status.st_mtime, status.st_size


def _age(file: TapFile) -> tuple[int, int]:
    """Older files come first; when the clock does not tell them apart their numbers do."""
    try:
        return file.path.stat().st_mtime_ns, file.number
    except FileNotFoundError:  # removed by somebody else just now
        return 0, file.number
