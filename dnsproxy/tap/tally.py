"""What a report counts, frame by frame, in bounded memory; tallies of several files add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from dnsproxy.tap.frame import TYPE_NAMES, TapFrame
from dnsproxy.tap.frequent import DIFFERENT_KEPT, Frequent
from dnsproxy.tap.quantiles import Quantiles
from dnsproxy.tap.timeline import Timeline

UNKNOWN: Final = 0  # all types that the schema does not know, for what is counted by type
FINE: Final = frozenset({0, 3})  # NOERROR and NXDOMAIN
TYPE, PROTOCOL, QTYPE, RCODE = range(4)  # places in a kind of frame

Endpoint = tuple[bytes, int | None]  # address and port

# type, protocol, qtype, rcode of a frame, each None where it has none
_Kind = tuple[int, int | None, int | None, int | None]


class Tally:
    """Counts of frames: `kinds` by type, protocol, qtype and rcode; names are lower-cased wire names.

    Of names, clients and upstreams so many different ones are `kept` at least.
    """

    def __init__(self, kept: int = DIFFERENT_KEPT) -> None:
        self.frames = 0
        self.damaged = 0
        self.octets = 0  # of the DNS messages
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.kinds: Frequent[_Kind] = Frequent()
        self.names: Frequent[bytes] = Frequent(kept)
        self.clients: Frequent[bytes] = Frequent(kept)
        self.upstreams: Frequent[Endpoint] = Frequent(kept)
        self.latencies: dict[int, Quantiles] = {}  # in nanoseconds, by the responses' type
        self.timeline = Timeline()  # of all, by type
        self.errors = Timeline()  # of responses with rcodes other than NOERROR and NXDOMAIN

    def add(self, frames: Iterable[TapFrame]) -> None:
        """Count some frames."""
        for frame in frames:
            self._add(frame)

    def _add(self, frame: TapFrame) -> None:
        self.frames += 1
        rcode = frame.rcode
        self.kinds.add((frame.type, frame.socket_protocol, frame.qtype, rcode))
        wire = frame.wire
        self.octets += len(wire) if wire is not None else 0
        qname = frame.qname
        if qname is not None:
            self.names.add(qname.lower())
        if frame.is_of_client:
            if frame.query_address is not None:
                self.clients.add(frame.query_address)
        elif frame.response_address is not None:
            self.upstreams.add((frame.response_address, frame.response_port))
        time_ns = frame.time_ns
        if time_ns is not None:
            type = frame.type if frame.type in TYPE_NAMES else UNKNOWN
            self._add_time(time_ns, type, frame.latency_ns)
            if rcode is not None and rcode not in FINE:
                self.errors.add(time_ns, type)

    def _add_time(self, time_ns: int, type: int, latency_ns: int | None) -> None:
        if self.first_ns is None or time_ns < self.first_ns:
            self.first_ns = time_ns
        if self.last_ns is None or time_ns > self.last_ns:
            self.last_ns = time_ns
        self.timeline.add(time_ns, type)
        if latency_ns is not None:
            self.latencies_of(type).add(latency_ns)

    def latencies_of(self, type: int) -> Quantiles:
        """Those of one type of response."""
        known = self.latencies.get(type)
        if known is None:
            known = self.latencies[type] = Quantiles()
        return known

    def all_latencies(self) -> Quantiles:
        """Those of every frame that has both times."""
        everything = Quantiles()
        for latencies in self.latencies.values():
            everything.merge(latencies)
        return everything

    def merge(self, other: Tally) -> None:
        """All of another one's."""
        self.frames += other.frames
        self.damaged += other.damaged
        self.octets += other.octets
        self.first_ns = _either(min, self.first_ns, other.first_ns)
        self.last_ns = _either(max, self.last_ns, other.last_ns)
        self.kinds.merge(other.kinds)
        self.names.merge(other.names)
        self.clients.merge(other.clients)
        self.upstreams.merge(other.upstreams)
        for type, latencies in other.latencies.items():
            self.latencies_of(type).merge(latencies)
        self.timeline.merge(other.timeline)
        self.errors.merge(other.errors)

    def by(self, place: int) -> Counter[int]:
        """Counts by TYPE, PROTOCOL, QTYPE or RCODE alone, of frames that have it."""
        counts: Counter[int] = Counter()
        for kind, count in self.kinds.counts():
            number = kind[place]
            if number is not None:
                counts[number] += count
        return counts

    def __repr__(self) -> str:
        return f"<Tally of {self.frames} frames, {self.damaged} damaged>"


def _either(choose: Callable[[int, int], int], one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return other if one is None else one
    return choose(one, other)
