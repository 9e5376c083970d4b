"""FILE… of `follow`: what is in files, from where it is wanted, and what is being added to them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from dnsproxy.dnstap.framestreams import MAX_FRAME
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.watched import Takes, Watched

POLL_S: Final = 0.1  # a message is to be seen within 0.3 s
BATCH: Final = 256  # messages of merged files that are handed on at once

Timed = tuple[int, int, TapFrame]


class Following:
    """Several FILE…; `batches` is to be called again and again, and gives what has come since, in order."""

    def __init__(self, names: Sequence[str], max_frame: int = MAX_FRAME) -> None:
        self._watched = [Watched(name, max_frame) for name in names]

    def begin_with_last(self, count: int, takes: Takes | None = None) -> list[TapFrame]:
        """The last messages of what is there, of those that are taken; nothing before them is ever given."""
        last = [watched.begin_with_last(count, takes) for watched in self._watched]
        if len(last) == 1:
            return last[0]
        frames = [frame for _, _, frame in heapq.merge(*(_timed(n, [each]) for n, each in enumerate(last)))]
        return frames[-count:] if count else []

    def begin_since(self, time_ns: int) -> None:
        """Nothing of files that were written last before that time; of the others, everything."""
        for watched in self._watched:
            watched.begin_since(time_ns)

    def batches(self) -> Iterator[list[TapFrame]]:
        """What was added, the files of several names merged by time."""
        if len(self._watched) == 1:
            yield from self._watched[0].batches()
            return
        merged = heapq.merge(*(_timed(number, watched.batches()) for number, watched in enumerate(self._watched)))
        while batch := [frame for _, _, frame in islice(merged, BATCH)]:
            yield batch

    def summary(self) -> str:
        """`3 files, 12 frames, 1 damaged`."""
        frames = sum(watched.frames for watched in self._watched)
        damaged = sum(watched.damaged for watched in self._watched)
        return f"{sum(map(len, self._watched))} files, {frames} frames, {damaged} damaged"

    def close(self) -> None:
        """Nothing is read any more; damage is summed up."""
        for watched in self._watched:
            watched.close()

    def __repr__(self) -> str:
        return f"<Following {self._watched}>"


def _timed(number: int, batches: Iterable[list[TapFrame]]) -> Iterator[Timed]:
    """Frames with their times; one without a time comes where it stands."""
    time_ns = 0
    for batch in batches:
        for frame in batch:
            time_ns = frame.time_ns or time_ns
            yield time_ns, number, frame
