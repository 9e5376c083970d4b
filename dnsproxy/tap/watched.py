"""The files that one FILE of `follow` stands for: found as they come, read in the order of their beginning."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from dnsproxy.dnstap.framestreams import MAX_FRAME
from dnsproxy.dnstap.stream_file import PART
from dnsproxy.tap.damage import tell
from dnsproxy.tap.decoding import decoded
from dnsproxy.tap.file_names import FileNames, is_packed, stream_name
from dnsproxy.tap.frame import TapFrame, Undecodable
from dnsproxy.tap.growing_file import GrowingFile, Identity, identity_of
from dnsproxy.tap.merging import merged
from dnsproxy.tap.octets import NotWhole, Octets
from dnsproxy.tap.runs import Run, RunCutter

QUIET_S: Final = 10.0  # without growth: a deleted file has no writer any more
OPEN_MAX: Final = 64  # files; of more only the latest stay open
FIRST_CHUNKS: Final = 2  # of a file, among which a first message is looked for
GONE: Final = 2  # searches in vain; while a file gets another name one may see neither
LOOKS_MAX: Final = 3  # at a folder that changes and changes
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
        self._known: set[Identity] = set()  # of these
        self._ignored: dict[Identity, str] = {}  # with their names: the system gives numbers of dead files to new ones
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
        found: list[list[TapFrame]] = []

        def look(file: GrowingFile) -> None:
            if sum(map(len, found)) < count or not file.skip():
                found.append(_last_frames(file, count, takes))

        self._for_each(reversed(self._files), look)
        return list(merged(reversed(found)))[-count:] if count else []

    def begin_since(self, time_ns: int) -> None:
        """Nothing of files that were written last before that time."""
        self._search()

        def pass_over(file: GrowingFile) -> None:
            if file.changed_ns < time_ns and not file.skip():
                file.last_runs(0)

        self._for_each(self._files, pass_over)

    def batches(self) -> Iterator[list[TapFrame]]:
        """What was added since, and all of files that are new."""
        if self._clock() >= self._next_search:
            self._search()
        for file in list(self._files):
            try:
                yield from self._batches_of(file)
            except OSError as exc:
                self._give_up(file, exc)
        for file in self._files[:-OPEN_MAX]:
            if not file.missed:
                file.park()

    def close(self) -> None:
        """Nothing is read any more; damage is summed up."""
        for file in self._files:
            file.close()

    def _for_each(self, files: Iterable[GrowingFile], act: Callable[[GrowingFile], None]) -> None:
        """One by one, few of them open at a time; one that cannot be read is given up."""
        recent = set(self._files[-OPEN_MAX:])
        for file in list(files):
            try:
                file.unpark()
                act(file)
            except OSError as exc:
                self._give_up(file, exc)
            if file not in recent:
                file.park()

    def _give_up(self, file: GrowingFile, exc: OSError) -> None:
        self._forget(file)
        self._ignored[file.identity] = stream_name(file.path)
        _complain(file.path, exc)

    def _batches_of(self, file: GrowingFile) -> Iterator[list[TapFrame]]:
        if file.missed >= GONE and self._is_over(file):
            yield from _decoded(file, file.finish())
            self._forget(file)
        elif file.is_unread or file.has_changed():
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
        present = self._settled()
        paths = {identity_of(status): path for path, status in present.items()}
        names = set(map(stream_name, present))
        for file in list(self._files):
            self._note(file, paths.get(file.identity), present, names)
        self._ignored = {each: name for each, name in self._ignored.items() if _is_called(paths.get(each), name)}
        new = [path for identity, path in paths.items() if identity not in self._identities]
        self._take_in(self._wanted(new, present), present)
        self._next_search = began + SEARCHES * (self._clock() - began)

    def _settled(self) -> Present:
        """The files that there are; where some are new, looked for again, as a folder that changes shows not all."""
        present = self._names.present()
        for _ in range(LOOKS_MAX):
            if self._identities.issuperset(map(identity_of, present.values())):
                break
            before, present = present, self._names.present()
            if before.keys() == present.keys():
                break
        return present

    @property
    def _identities(self) -> set[Identity]:
        """Of all files that are known, to be read or not."""
        return self._known | self._ignored.keys()

    def _wanted(self, new: list[Path], present: Present) -> list[Path]:
        """Without those that are not meant, and compressed forms of what is read anyway."""
        if self._is_first_search:
            self._is_first_search = False
            meant = list(filter(self._names.means_at_first, new))
        else:
            meant = new
        parts = [path for path in meant if path.suffix == PART]
        read = set(map(stream_name, (*parts, *(file.path for file in self._files))))
        wanted = [path for path in meant if not (is_packed(path) and stream_name(path) in read)]
        self._ignored |= {identity_of(present[path]): stream_name(path) for path in new if path not in wanted}
        return wanted

    def _take_in(self, new: list[Path], present: Present) -> None:
        for path in sorted(new, key=lambda path: (_beginning_ns(path, present[path]), path)):
            self._add(path, present[path])

    def _note(self, file: GrowingFile, path: Path | None, present: Present, names: set[str]) -> None:
        """Where a file is now."""
        file.missed = 0 if path is not None else file.missed + 1
        if path is not None:
            file.path = path
            if file.is_parked and file.has_changed(present[path]):
                with suppress(OSError):  # it has got another name just now
                    file.unpark()
        elif file.is_parked and file.missed >= GONE:
            self._forget(file)
        else:
            self._is_named[file] = stream_name(file.path) in names

    def _add(self, path: Path, status: os.stat_result) -> None:
        try:
            file = GrowingFile(path, self._names.shown(path), self._max_frame)
        except FileNotFoundError:  # it has got another name
            return
        except OSError as exc:
            self._ignored[identity_of(status)] = stream_name(path)
            _complain(path, exc)
            return
        self._known.add(file.identity)
        self._files.append(file)
        if len(self._files) > OPEN_MAX:
            self._files[-OPEN_MAX - 1].park()

    def _forget(self, file: GrowingFile) -> None:
        file.close()
        self._frames += file.frames
        self._damaged += file.damaged
        self._files.remove(file)
        self._known.discard(file.identity)
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
    octets, cutter = Octets(str(path)), RunCutter()
    try:
        for chunk in islice(octets.chunks(), FIRST_CHUNKS):
            for item in cutter.cut(chunk):
                if isinstance(item, Run):
                    return TapFrame(item.payloads()[0])
    finally:
        octets.close()
    return None


def _is_called(path: Path | None, name: str) -> bool:
    return path is not None and stream_name(path) == name


def _complain(path: Path, exc: Exception) -> None:
    tell(f"{path}: {getattr(exc, 'strerror', None) or exc}")
