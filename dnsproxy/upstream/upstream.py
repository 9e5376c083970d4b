"""One upstream: its address, its transports, whether it is up, and its counters."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar

import trio

from dnsproxy.flight import first_of
from dnsproxy.message import Endpoint, Query
from dnsproxy.shape import shape_of
from dnsproxy.upstream.exchange import CANCELLED, PROBE, REFUSED, TIMEOUT, Exchange
from dnsproxy.upstream.tcp import TcpPool
from dnsproxy.upstream.udp import SOCKETS, UdpPool

if TYPE_CHECKING:
    from dnsproxy.address import Address
    from dnsproxy.plugin import Server

log = logging.getLogger("dnsproxy")

FALL = 3  # failures in a row until an upstream is passed over
PROBE_TIMEOUT_S = 1.0
PROBE_EVERY_S = 0.5  # first interval between probes
PROBE_AT_MOST_S = 1.0  # what the interval grows to: a recovered upstream is found within two seconds
DESCRIPTORS_SHARE = 0.5  # of the descriptor limit that all upstreams' sockets together may take
PROBE_QUERY = b"\0\0\1\0\0\1\0\0\0\0\0\0" + b"\0\0\2\0\1"  # . NS, RD
PLURALS = {"timeout": "timeouts", "refused": "refused", "closed": "closed", "send_error": "send errors"}
NO_ZONE = (b"\0", ".")


class Changes:
    """Counts changes of any upstream's state, so that choices made from them know when to be made again."""

    number: ClassVar[int] = 0


class Upstream:
    """A resolver that is asked. `stream` says how: True by TCP, False by UDP, None as the client asked us."""

    def __init__(self, server: Server, address: Address, stream: bool | None, timeout_s: float) -> None:
        self.flights = server.flights
        self.address = address
        self.stream = stream
        self.timeout_s = timeout_s  # the longest that any exchange here is waited for
        self.name = str(address)
        self.url = f"{'tcp' if stream else 'udp'}://{address}"
        self.udp = UdpPool(self, server.flights, server.driver, server.receiver, server.sender)
        self.tcp = TcpPool(self, server.flights)
        self.nursery: trio.Nursery | None = None
        self.failures = 0
        self.refused_at = -1.0
        self.up = True
        self.is_watched = False  # by a tap: then it matters when the kernel took a reply
        self.probing = False
        self.queries = self.responses = self.timeouts = self.mismatches = 0
        self.in_flight = 0
        self.rtt_ns = 0.0

    def limit_sockets(self, upstreams: int, descriptors: int) -> None:
        """Share the process's descriptors among that many upstreams."""
        self.udp.limit(max(2, min(SOCKETS, int(descriptors * DESCRIPTORS_SHARE) // max(1, upstreams))))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the connections until cancelled."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self.nursery = None
                self.udp.close()
                self.tcp.close()

    def start(self, async_fn: Callable[[], Awaitable[Any]]) -> None:
        """Run a connection; without a nursery, at the end, nothing happens and its exchanges time out."""
        if self.nursery is not None:
            self.nursery.start_soon(async_fn)

    def ask(self, exchange: Exchange, stream: bool, timeout_s: float) -> None:
        """Send an exchange; it fails by itself when `timeout_s` has passed. Await it for the reply."""
        self.in_flight += 1
        flights = self.flights
        fifo = flights.timers.fifos.get(timeout_s)
        if fifo is None:
            exchange.timer = None
            flights.timers.at(flights.now + timeout_s, exchange)
        else:
            exchange.timer = fifo
            fifo[exchange] = flights.now + timeout_s
        if stream:
            self.tcp.send(exchange)
        else:
            self.udp.send(exchange)

    def recovered(self) -> None:
        """A reply came after failures."""
        self.failures = 0
        if not self.up:
            self.up = True
            Changes.number += 1
            log.warning("upstream %s up: answered", self.url)

    def failed(self, exchange: Exchange, outcome: str) -> None:
        """An exchange ended without a reply."""
        self.in_flight -= 1
        if outcome == TIMEOUT and exchange.attempt != PROBE:
            self.timeouts += 1
        if outcome == CANCELLED or self.nursery is None or self._is_same_refusal(outcome):
            return
        self.failures += 1
        if self.up and self.failures >= FALL:
            self.up = False
            Changes.number += 1
            log.warning("upstream %s down: %d %s", self.url, self.failures, PLURALS.get(outcome, outcome))
            if not self.probing:
                self.probing = True
                self.flights.spawn(self._probe(), f"probing {self.url}")

    def _is_same_refusal(self, outcome: str) -> bool:
        """A closed port is one hint, however many exchanges end with it."""
        if outcome != REFUSED:
            return False
        before, self.refused_at = self.refused_at, self.flights.now
        return before == self.refused_at

    async def _probe(self) -> None:
        """Ask until something answers, with backoff and jitter."""
        try:
            await self._probe_while_down()
        finally:
            self.probing = False

    async def _probe_while_down(self) -> None:
        every_s = PROBE_EVERY_S
        while not self.up:
            await first_of(until=self.flights.now + every_s * random.uniform(0.8, 1.0))  # noqa: S311  jitter, no secret
            if self.nursery is None:
                return
            query = Query(PROBE_QUERY, shape_of(PROBE_QUERY), b"\0" * 28, Endpoint("UDP", self.address), 0)
            exchange = Exchange(query, self, PROBE, NO_ZONE, None)
            self.ask(exchange, bool(self.stream), min(PROBE_TIMEOUT_S, self.timeout_s))
            await exchange
            every_s = min(every_s * 1.5, PROBE_AT_MOST_S)

    def upstream_status(self) -> dict[str, Any]:
        """This upstream in `dnsproxy status`."""
        return {
            "name": self.name,
            "address": self.url,
            "state": "up" if self.up else "down",
            "queries": self.queries,
            "responses": self.responses,
            "timeouts": self.timeouts,
            "mismatches": self.mismatches,
            "in_flight": self.in_flight,
            "rtt_ms": round(self.rtt_ns / 1e6, 3) if self.rtt_ns else None,
        }

    def __repr__(self) -> str:
        return f"<Upstream {self.url} {'up' if self.up else 'down'}, {self.in_flight} in flight>"
