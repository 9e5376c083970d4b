"""The files that one FILE of `follow` stands for: found as they come, read in the order of their beginning."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from dnsproxy.dnstap.framestreams import MAX_FRAME
from dnsproxy.tap.damage import tell
from dnsproxy.tap.decoding import decoded
from dnsproxy.tap.file_names import FileNames, is_packed, stream_name
from dnsproxy.tap.frame import TapFrame, Undecodable
from dnsproxy.tap.growing_file import GrowingFile, Identity, identity_of
from dnsproxy.tap.octets import NotWhole, Octets
from dnsproxy.tap.runs import Run, RunCutter

QUIET_S: Final = 10.0  # without growth: a deleted file has no writer any more
OPEN_MAX: Final = 64  # files; of more only the latest stay open
SEARCHES: Final = 20  # looking for files takes at most one part in so many of the time

Takes = Callable[[TapFrame], bool]
Present = dict[Path, os.stat_result]


class Watched:
    """All files of a name; `begin_…` says where to begin in those that are there, `batches` is what came since."""

    def __init__(self, text: str, max_frame: int = MAX_FRAME, clock: Callable[[], float] = time.monotonic) -> None:
        self._names = FileNames(text)
        self._max_frame = max_frame
        self._clock = clock
        self._files: list[GrowingFile] = []  # in the order of their beginning
        self._known: dict[Identity, GrowingFile | None] = {}  # None: not to be read
        self._is_named: dict[GrowingFile, bool] = {}  # those that are gone: whether another has their name
        self._changed: dict[GrowingFile, float] = {}  # likewise: when they grew last
        self._next_search = 0.0
        self._frames = self._damaged = 0  # of files that are gone
        self._is_first_search = True

    def __len__(self) -> int:
        return len(self._files)

    @property
    def frames(self) -> int:
        """Good ones, of all files that ever were."""
        return self._frames + sum(file.frames for file in self._files)

    @property
    def damaged(self) -> int:
        """How often there was damage."""
        return self._damaged + sum(file.damaged for file in self._files)

    def begin_with_last(self, count: int, takes: Takes | None = None) -> list[TapFrame]:
        """The last messages of what is there, of those that are taken, and after that nothing of it any more."""
        self._search()
        found: list[TapFrame] = []
        for file in reversed(self._files):
            try:
                if len(found) < count or not file.skip():
                    found = _last_frames(file, count, takes) + found
            except (OSError, NotWhole) as exc:
                _complain(file.path, exc)
        return sorted(found, key=lambda frame: frame.time_ns or 0)[-count:] if count else []

    def begin_since(self, time_ns: int) -> None:
        """Nothing of files that were written last before that time."""
        self._search()
        for file in self._files:
            if file.changed_ns < time_ns and not file.skip():
                file.last_runs(0)

    def batches(self) -> Iterator[list[TapFrame]]:
        """What was added since, and all of files that are new."""
        if self._clock() >= self._next_search:
            self._search()
        for file in list(self._files):
            try:
                yield from self._batches_of(file)
            except OSError as exc:
                self._forget(file)
                self._known[file.identity] = None
                _complain(file.path, exc)
        for file in self._files[:-OPEN_MAX]:
            if not file.is_gone:
                file.park()

    def close(self) -> None:
        """Nothing is read any more; damage is summed up."""
        for file in self._files:
            file.close()

    def _batches_of(self, file: GrowingFile) -> Iterator[list[TapFrame]]:
        if file.is_gone and self._is_over(file):
            yield from _decoded(file, file.finish())
            self._forget(file)
        elif file.has_changed():
            self._changed[file] = self._clock()
            yield from _decoded(file, file.runs())

    def _is_over(self, file: GrowingFile) -> bool:
        """Whether nobody will write to a file that is gone: another has its name, it has STOP, or it was deleted."""
        if self._is_named.get(file) or file.is_stopped:
            return True
        return file.is_deleted and self._clock() - self._changed.get(file, 0.0) > QUIET_S

    # looking for files

    def _search(self) -> None:
        began = self._clock()
        present = self._names.present()
        identities = {identity_of(status): path for path, status in present.items()}
        names = {stream_name(path) for path in present}
        for file in list(self._files):
            self._note(file, identities.get(file.identity), present, names)
        self._known = {identity: file for identity, file in self._known.items() if file or identity in identities}
        new = [path for identity, path in identities.items() if identity not in self._known]
        if self._is_first_search:
            self._is_first_search = False
            new = self._meant(new, present)
        for path in sorted(new, key=lambda path: (_beginning_ns(path, present[path]), path)):
            self._add(path, present[path])
        self._next_search = began + SEARCHES * (self._clock() - began)

    def _meant(self, paths: list[Path], present: Present) -> list[Path]:
        meant = list(filter(self._names.means_at_first, paths))
        self._known |= {identity_of(present[path]): None for path in paths if path not in meant}
        return meant

    def _note(self, file: GrowingFile, path: Path | None, present: Present, names: set[str]) -> None:
        """Where a file is now."""
        file.is_gone = path is None
        if path is not None:
            file.path = path
            if file.is_parked and file.has_changed(present[path]):
                file.unpark()
        elif file.is_parked:
            self._forget(file)
        else:
            self._is_named[file] = stream_name(file.path) in names

    def _add(self, path: Path, status: os.stat_result) -> None:
        identity = identity_of(status)
        names = {stream_name(file.path) for file in self._files}
        if is_packed(path) and stream_name(path) in names:  # it was read when it was not compressed
            self._known[identity] = None
            return
        try:
            file = GrowingFile(path, self._names.shown(path), self._max_frame)
        except FileNotFoundError:  # it has got another name
            return
        except OSError as exc:
            self._known[identity] = None
            _complain(path, exc)
            return
        self._known[identity] = file
        self._files.append(file)

    def _forget(self, file: GrowingFile) -> None:
        file.close()
        self._frames += file.frames
        self._damaged += file.damaged
        self._files.remove(file)
        self._known.pop(file.identity, None)
        self._is_named.pop(file, None)
        self._changed.pop(file, None)

    def __repr__(self) -> str:
        return f"<Watched {self._names.text}, {len(self._files)} files>"


def _decoded(file: GrowingFile, runs: Iterable[Run]) -> Iterator[list[TapFrame]]:
    for run in runs:
        yield decoded(run, file.damages)


def _last_frames(file: GrowingFile, count: int, takes: Takes | None) -> list[TapFrame]:
    if takes is None:
        return [frame for run in file.last_runs(count) for frame in decoded(run, file.damages)][-count:]
    last: deque[TapFrame] = deque(maxlen=count)
    for run in file.runs():
        last.extend(filter(takes, decoded(run, file.damages)))
    return list(last)


def _beginning_ns(path: Path, status: os.stat_result) -> int:
    """The time of the first message, or of the last change where there is none."""
    try:
        frame = first_frame(path)
    except (OSError, NotWhole, Undecodable):
        frame = None
    return status.st_mtime_ns if frame is None or frame.time_ns is None else frame.time_ns


def first_frame(path: Path) -> TapFrame | None:
    """The first message, if there is one among the first octets; OSError, NotWhole, Undecodable."""
    octets = Octets(str(path))
    try:
        for item in RunCutter().cut(next(octets.chunks(), b"")):
            if isinstance(item, Run):
                return TapFrame(item.payloads()[0])
    finally:
        octets.close()
    return None


def _complain(path: Path, exc: Exception) -> None:
    tell(f"{path}: {getattr(exc, 'strerror', None) or exc}")
