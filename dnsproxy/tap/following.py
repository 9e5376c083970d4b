"""FILE… of `follow`: what is in files, from where it is wanted, and what is being added to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Final

from dnsproxy.dnstap.framestreams import MAX_FRAME
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.merging import merged
from dnsproxy.tap.watched import Takes, Watched

POLL_S: Final = 0.1  # a message is to be seen within 0.3 s
BATCH: Final = 256  # messages of merged files that are handed on at once


class Following:
    """Several FILE…; `batches` is to be called again and again, and gives what has come since, in order."""

    def __init__(self, names: Sequence[str], max_frame: int = MAX_FRAME) -> None:
        self._watched = [Watched(name, max_frame) for name in names]

    def begin_with_last(self, count: int, takes: Takes | None = None) -> list[TapFrame]:
        """The last messages of what is there, of those that are taken; nothing before them is ever given."""
        last = [watched.begin_with_last(count, takes) for watched in self._watched]
        return list(merged(last))[-count:] if count else []

    def begin_since(self, time_ns: int) -> None:
        """Nothing of files that were written last before that time; of the others, everything."""
        for watched in self._watched:
            watched.begin_since(time_ns)

    def batches(self) -> Iterator[list[TapFrame]]:
        """What was added, the files of several names merged by time."""
        if len(self._watched) == 1:
            yield from self._watched[0].batches()
            return
        frames = merged(chain.from_iterable(watched.batches()) for watched in self._watched)
        while batch := list(islice(frames, BATCH)):
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
