"""Several streams of messages as one, by message time; each keeps its order."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator

from dnsproxy.tap.frame import TapFrame

Timed = tuple[int, int, TapFrame]


def merged(streams: Iterable[Iterable[TapFrame]]) -> Iterator[TapFrame]:
    """All messages; one without a time comes where it stands in its stream."""
    for _, _, frame in heapq.merge(*(_timed(number, stream) for number, stream in enumerate(streams))):
        yield frame


def _timed(number: int, stream: Iterable[TapFrame]) -> Iterator[Timed]:
    time_ns = 0
    for frame in stream:
        time_ns = frame.time_ns or time_ns
        yield time_ns, number, frame
