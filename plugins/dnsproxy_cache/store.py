"""Keeps entries within a number of octets; what is used again stays, what comes once goes soon (S3-FIFO)."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from dnsproxy_cache.entry import Entry
from dnsproxy_cache.subnets import Subnets

if TYPE_CHECKING:
    from dnsproxy_cache.reading import Answer

ENTRY_OCTETS = 660  # of an entry beside key and wire: objects, table slots and its trace; measured with tracemalloc
RECORD_OCTETS = 40  # of each record: where its TTL stands
PROBATION = 0.1  # of the size: where entries begin; those not used there are evicted first
CHANCES = 32  # entries that one eviction may pass over because they were used: bounds its time
KNOWN = 8192  # queries whose entry is found without making their key
KNOWN_OCTETS = 512  # of the size for each of them: few where the cache is small


class Store:
    """Entries by key, in two queues: on probation, and protected after having been used there.

    An entry that is used while it stands in its queue goes to the end of the protected one when its turn comes. A key
    that was evicted from probation not long ago begins protected. (Yang et al., "FIFO queues are all you need for cache
    eviction", SOSP 2023.)
    """

    def __init__(self, size: int, stale_s: float = 0.0) -> None:
        self.size = size
        self.stale_s = stale_s  # how long past its end an entry is worth keeping
        self.entries: dict[bytes, Entry] = {}
        self.most_known = min(KNOWN, size // KNOWN_OCTETS)
        self.known: dict[bytes, Entry] = {}  # by Shape.key: exact octets of queries without partition
        self.subnets = Subnets()
        self.probation: deque[Entry] = deque()
        self.protected: deque[Entry] = deque()
        self.probation_size = self.used = 0
        self.hits = self.misses = self.stale = self.prefetches = self.evictions = 0
        self.traces: set[int] = set()  # hashes of keys evicted from probation
        self.trace_order: deque[int] = deque()

    def get(self, key: bytes) -> Entry | None:
        """What stands under the key, fresh or not."""
        return self.entries.get(key)

    def know(self, octets: bytes, entry: Entry) -> None:
        """Find `entry` for queries of exactly these octets from now on."""
        if len(self.known) >= self.most_known:
            self.known.clear()
        self.known[octets] = entry

    def put(self, key: bytes, answer: Answer, now: float, edns: bool = False) -> None:
        """Keep an answer in place of what stands under its key; others make room for it.

        A failure replaces no answer that may still be served.
        """
        size = len(key) + len(answer.wire) + RECORD_OCTETS * len(answer.offsets) + ENTRY_OCTETS
        if size > self.size:
            self.drop(key)
            return
        entry = self.entries.get(key)
        if entry is None:
            entry = self._admit(key)
        elif answer.failed and not entry.failed and now < entry.expires + self.stale_s:
            return
        entry.fill(answer, now, edns)
        self._resize(entry, size)
        while self.used > self.size:
            self._evict(now)

    def status(self) -> dict[str, object]:
        """Counters, for `dnsproxy status`."""
        return {
            "hits": self.hits,
            "misses": self.misses,
            "stale": self.stale,
            "prefetches": self.prefetches,
            "entries": len(self.entries),
            "bytes": self.used,
            "evictions": self.evictions,
        }

    def drop(self, key: bytes) -> None:
        """What stands under the key is no longer true; its place in the queue stays until its turn comes."""
        entry = self.entries.get(key)
        if entry is not None:
            entry.empty()
            self._resize(entry, len(key) + ENTRY_OCTETS)

    def _admit(self, key: bytes) -> Entry:
        entry = self.entries[key] = Entry(key)
        if hash(key) in self.traces:
            entry.protected = True
            self.protected.append(entry)
        else:
            self.probation.append(entry)
        return entry

    def _resize(self, entry: Entry, size: int) -> None:
        grown = size - entry.size
        entry.size = size
        self.used += grown
        if not entry.protected:
            self.probation_size += grown

    def _evict(self, now: float) -> None:
        """Give the entry whose turn it is another chance, or remove it."""
        if self.probation and (self.probation_size > self.size * PROBATION or not self.protected):
            entry = self.probation.popleft()
            self.probation_size -= entry.size
            if entry.frequency() and now < entry.expires + self.stale_s:
                self._protect(entry, 0)
            else:
                self._remove(entry)
                self._trace(entry.key)
        else:
            self._evict_protected(now)

    def _evict_protected(self, now: float) -> None:
        entry = self.protected.popleft()
        for _ in range(CHANCES):
            uses = entry.frequency()
            if not uses or now >= entry.expires + self.stale_s:
                break
            self._protect(entry, uses - 1)
            entry = self.protected.popleft()
        self._remove(entry)

    def _protect(self, entry: Entry, uses_left: int) -> None:
        entry.mark = entry.hits - uses_left
        entry.protected = True
        self.protected.append(entry)

    def _remove(self, entry: Entry) -> None:
        del self.entries[entry.key]
        self.used -= entry.size
        self.evictions += 1
        entry.empty()

    def _trace(self, key: bytes) -> None:
        """Remember a key for as long as there are fewer such than entries."""
        trace = hash(key)
        if trace not in self.traces:
            self.traces.add(trace)
            self.trace_order.append(trace)
        while len(self.trace_order) > len(self.entries):
            self.traces.discard(self.trace_order.popleft())

    def __repr__(self) -> str:
        return f"<Store of {len(self.entries)} entries, {self.used} of {self.size} octets>"
