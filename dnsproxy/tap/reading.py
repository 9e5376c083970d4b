"""Several files read as one stream: merged by message time, or one after the other."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice
from typing import Final

from dnsproxy.dnstap.framestreams import MAX_FRAME
from dnsproxy.tap.damage import tell
from dnsproxy.tap.descriptors import allow_descriptors
from dnsproxy.tap.files import TapFile
from dnsproxy.tap.frame import TapFrame

BATCH: Final = 256  # frames of merged files that are handed on at once
OTHER_DESCRIPTORS: Final = 256  # that may be open beside the files

Timed = tuple[int, int, TapFrame]


class Reading:
    """Files of frames, to be read once. A file that cannot be read is told, and the others are read all the same."""

    def __init__(
        self, paths: Sequence[str], max_frame: int = MAX_FRAME, concat: bool = False, tell: Callable[[str], None] = tell
    ) -> None:
        self.files = [TapFile(path, max_frame, tell) for path in paths]
        self.has_failed = False  # some file could not be read
        self._concat = concat
        self._tell = tell

    @property
    def is_whole(self) -> bool:
        """Whether all was read, and no damage found."""
        return not self.has_failed and not any(file.damages.counts for file in self.files)

    @property
    def position(self) -> int:
        """Octets read of all files as they are on disk."""
        return sum(file.position for file in self.files)

    def batches(self) -> Generator[list[TapFrame], None, None]:
        """All good frames, some at once."""
        if self._concat or len(self.files) == 1:
            for file in self.files:
                yield from self._batches(file)
        else:
            allow_descriptors(len(self.files) + OTHER_DESCRIPTORS)
            merged = heapq.merge(*[self._timed(number, file) for number, file in enumerate(self.files)])
            while batch := [frame for _, _, frame in islice(merged, BATCH)]:
                yield batch

    def _batches(self, file: TapFile) -> Iterator[list[TapFrame]]:
        try:
            yield from file.batches()
        except OSError as exc:
            self.has_failed = True
            self._tell(f"{file.path}: {exc.strerror or exc}")

    def _timed(self, number: int, file: TapFile) -> Iterator[Timed]:
        """A file's frames with their times; a frame without one comes where it stands in its file."""
        time_ns = 0
        for batch in self._batches(file):
            for frame in batch:
                time_ns = frame.time_ns or time_ns
                yield time_ns, number, frame
