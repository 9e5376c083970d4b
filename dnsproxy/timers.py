"""Timers of flights and exchanges: a FIFO for each duration that many share, a heap for the rest."""

from __future__ import annotations

import heapq
from itertools import count
from math import inf
from typing import Protocol

STALE_TIMERS = 64  # cancelled entries in the heap before it is worth rebuilding


class Expiring(Protocol):
    """What a timer can end."""

    def expire(self) -> None:
        """The time is up."""


class OneShot(Expiring, Protocol):
    """What may be done before its time is up."""

    done: bool


class Timers:
    """One FIFO per distinct duration and a heap for the rest; resolution is that of the loop's poll, 1 ms."""

    def __init__(self) -> None:
        self.fifos: dict[float, dict[Expiring, float]] = {}
        self.heap: list[tuple[float, int, OneShot]] = []
        self.numbers = count()

    def fifo(self, duration_s: float) -> dict[Expiring, float]:
        """The FIFO for things that live `duration_s`: `fifo[thing] = now + duration_s` starts, `del` stops a timer."""
        return self.fifos.setdefault(duration_s, {})

    def at(self, when: float, waiter: OneShot) -> None:
        """Expire `waiter` at `when` unless it is done by then."""
        heap = self.heap
        if len(heap) > STALE_TIMERS and len(heap) & (len(heap) - 1) == 0:  # looked at when the length doubles
            self.heap = heap = [entry for entry in heap if not entry[2].done]
            heapq.heapify(heap)
        heapq.heappush(heap, (when, next(self.numbers), waiter))

    def soonest(self) -> float:
        """When the next timer is due; inf when there is none."""
        soonest = self.heap[0][0] if self.heap else inf
        for fifo in self.fifos.values():
            for when in fifo.values():
                if when < soonest:
                    soonest = when
                break
        return soonest

    def fire(self, now: float) -> None:
        """Expire what is due."""
        for fifo in list(self.fifos.values()):  # an expiry may add one
            due = []
            for thing, when in fifo.items():
                if when > now:
                    break
                due.append(thing)
            for thing in due:
                if fifo.pop(thing, None) is not None:
                    thing.expire()
        heap = self.heap
        while heap and heap[0][0] <= now:
            waiter = heapq.heappop(heap)[2]
            if not waiter.done:
                waiter.expire()
