"""Asks an upstream of our own accord, as long as it is in doubt."""

from __future__ import annotations

import random
import struct
from math import inf
from typing import TYPE_CHECKING, Final

from dnsproxy import wire
from dnsproxy.flight import Waiter, first_of
from dnsproxy.message import Endpoint, Query
from dnsproxy.shape import shape_of
from dnsproxy.upstream.exchange import ANSWERED, CANCELLED, PROBE, TRUNCATED, Exchange

if TYPE_CHECKING:
    from dnsproxy.upstream.options import HealthOptions
    from dnsproxy.upstream.upstream import Upstream

PROBE_TIMEOUT_S: Final = 1.0
PAUSE_AT_MOST_S: Final = 1.0  # a recovered upstream is found within two seconds, with a second answer after the first
BACK_OFF: Final = 1.5
JITTER: Final = (0.8, 1.0)
NO_ZONE: Final = (b"\0", ".")
NOBODY: Final = b"\0" * 28  # in place of a client's sockaddr
HEADER: Final = struct.pack("!HHHHHH", 0, wire.RD << 8, 1, 0, 0, 0)
CLASS_IN: Final = 1


class Prober:
    """Sends probes over the upstream's own transport: one at a time, and never two within `interval`.

    There are none while all is well, unless SERVFAIL is no answer: then only probes can tell. While nothing answers
    the pauses grow to a second. Neither taps nor the counters of queries know of probes.
    """

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.flights = upstream.flights
        self.options = upstream.options.health
        self.wire = probe_wire(self.options)
        self.sent = 0
        self.failed = 0
        self.in_flight = 0
        self.is_running = False
        self._asked_at = -inf
        self._due = 0.0
        self._pause_s = self.options.interval
        self._wake = Waiter()

    def start(self) -> None:
        """Begin, an interval from now, unless that is under way."""
        if not self.is_running:
            self.is_running = True
            self._pause_s = self.options.interval
            self._due = self.flights.now + self._pause_s
            self.flights.spawn(self._run(), f"probing {self.upstream.url}")

    def hurry(self) -> None:
        """It may be well again: do not wait longer than an interval since the last probe."""
        self._pause_s = self.options.interval
        self._due = min(self._due, self._asked_at + self._pause_s)
        self._wake.set(None)

    async def _run(self) -> None:
        try:
            while await self._is_due():
                await self._probe()
        finally:
            self.is_running = False

    async def _is_due(self) -> bool:
        """Wait for the next probe's time; False when none is wanted any more."""
        while self._is_wanted():
            if self.flights.now >= self._due:
                return True
            self._wake = Waiter()
            await first_of(self._wake, until=self._due)
        return False

    def _is_wanted(self) -> bool:
        return self.upstream.nursery is not None and (
            self.upstream.health.is_doubtful or not self.options.servfail_is_up
        )

    async def _probe(self) -> None:
        upstream = self.upstream
        query = Query(self.wire, shape_of(self.wire), NOBODY, Endpoint("UDP", upstream.address), 0)
        exchange = Exchange(query, upstream, PROBE, NO_ZONE, None)
        self._asked_at = self.flights.now
        self.sent += 1
        self.in_flight = 1
        try:
            upstream.ask(exchange, bool(upstream.stream), self._timeout_s())
            await exchange
        finally:
            self.in_flight = 0
        is_well = self._is_answer(exchange)
        if not is_well and exchange.outcome != CANCELLED:
            self.failed += 1
        self._pause(is_well)

    def _timeout_s(self) -> float:
        return min(self.upstream.timeout_s, max(PROBE_TIMEOUT_S, self.options.interval))

    def _is_answer(self, exchange: Exchange) -> bool:
        """Tell the upstream of a reply; a failure, it has been told of already."""
        if exchange.outcome not in (ANSWERED, TRUNCATED):
            return False
        octets: bytes | None = exchange.value  # None: an edit wants it asked again, so that it has replied
        is_well = self.options.servfail_is_up or octets is None or wire.rcode_of(octets) != wire.SERVFAIL
        self.upstream.probed(is_well)
        return is_well

    def _pause(self, is_well: bool) -> None:
        """Set the time of the next probe, counted from the last one's start."""
        interval = self.options.interval
        longer_s = min(self._pause_s * BACK_OFF, max(interval, PAUSE_AT_MOST_S))
        self._pause_s = interval if is_well or self.upstream.up else longer_s
        jitter = random.uniform(*JITTER)  # noqa: S311  keeps upstreams' probes apart, and no secret
        self._due = self._asked_at + max(interval, self._pause_s * jitter)


def probe_wire(options: HealthOptions) -> bytes:
    """A query with RD for the name and type that probes ask."""
    return HEADER + options.name + struct.pack("!HH", options.type, CLASS_IN)
