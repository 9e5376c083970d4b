"""How old the newest frame of growing files is, and whether a certain one has come."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from pathlib import Path
from typing import Final

from dnsproxy.tap.file_names import FileNames
from dnsproxy.tap.frame import TapFrame, Undecodable
from dnsproxy.tap.octets import NotWhole, Octets
from dnsproxy.tap.runs import Run, RunCutter

LAST_KEPT: Final = 100  # frames; the newest is among them, as a stream's order is roughly that of time
CHUNK: Final = 1 << 20  # octets searched at once


def files_of(name: str) -> list[Path]:
    """Those that FILE of `follow` stands for, and the file itself though it be a link; that written last is first."""
    found = FileNames(name).present()
    with contextlib.suppress(OSError):
        found.setdefault(Path(name).absolute(), Path(name).stat())
    return sorted(found, key=lambda path: (found[path].st_mtime_ns, path), reverse=True)


def newest_ns(name: str) -> int | None:
    """The time of the newest message in those files; None where there is none. OSError when one cannot be read."""
    for path in files_of(name):
        times = [time_ns for time_ns in _last_times(path) if time_ns is not None]
        if times:
            return max(times)
    return None


class Search:
    """Looks for octets in what is added to files from now on: `is_found` is to be asked again and again."""

    def __init__(self, name: str, octets: bytes) -> None:
        self._name = name
        self._octets = octets
        self._read = {path: path.stat().st_size for path in files_of(name)}

    def is_found(self) -> bool:
        """Whether they are there now."""
        return any(self._is_in(path) for path in files_of(self._name))

    def _is_in(self, path: Path) -> bool:
        overlap = len(self._octets) - 1
        try:
            with path.open("rb") as file:
                at = self._read.get(path, 0)
                if at > os.fstat(file.fileno()).st_size:  # begun anew
                    at = 0
                file.seek(max(at - overlap, 0))
                rest = b""
                while chunk := file.read(CHUNK):
                    if self._octets in rest + chunk:
                        return True
                    rest = chunk[-overlap:]
                self._read[path] = file.tell()
        except FileNotFoundError:  # it has got another name
            pass
        return False


def _last_times(path: Path) -> list[int | None]:
    last: deque[bytes] = deque(maxlen=LAST_KEPT)
    octets = Octets(str(path))
    cutter = RunCutter()
    try:
        for chunk in octets.chunks():
            for item in cutter.cut(chunk):
                if isinstance(item, Run):
                    last.extend(item.payloads()[-LAST_KEPT:])
    except NotWhole:
        pass
    finally:
        octets.close()
    return [frame.time_ns for frame in map(_frame, last) if frame is not None]


def _frame(payload: bytes) -> TapFrame | None:
    try:
        return TapFrame(payload)
    except Undecodable:
        return None
