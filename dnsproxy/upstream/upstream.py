"""One upstream: its address, its transports, whether it is up, and its counters."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

import trio

from dnsproxy.upstream.editing.edits import Edits
from dnsproxy.upstream.exchange import CANCELLED, CLOSED, PROBE, TIMEOUT, Exchange
from dnsproxy.upstream.health import SERVFAIL, Health
from dnsproxy.upstream.pools import stream_pool
from dnsproxy.upstream.probes import Prober
from dnsproxy.upstream.udp import SOCKETS, UdpPool

if TYPE_CHECKING:
    from dnsproxy.plugin import Server
    from dnsproxy.upstream.options import UpstreamOptions

log = logging.getLogger("dnsproxy")

DESCRIPTORS_SHARE = 0.5  # of the descriptor limit that all upstreams' sockets together may take
DRAIN_LOOK_S = 0.05


class Changes:
    """Counts changes of any upstream's state, so that choices made from them know when to be made again."""

    number: ClassVar[int] = 0


class Upstream:
    """A resolver that is asked. `stream` says how: True over connections, False by UDP, None as the client asked us."""

    def __init__(self, server: Server, options: UpstreamOptions, timeout_s: float) -> None:
        self.flights = server.flights
        self.options = options
        self.address = options.address
        self.stream = options.stream
        self.timeout_s = timeout_s  # the longest that any exchange here is waited for
        self.name = str(options.address)
        self.url = options.url
        self.edits = None if options.edits.is_empty else Edits(options)
        self.udp = UdpPool(self, server.flights, server.driver, server.receiver, server.sender)
        self.tcp = stream_pool(self, server)
        self.nursery: trio.Nursery | None = None
        self.health = Health(options.health, self.flights.now)
        self.prober = Prober(self)
        self.up = True  # as health says, and what follows too: the query path looks here
        self.failures = 0
        self.risen_at = -inf
        self.risen_ns = 0  # the same by the wall clock
        self.is_watched = False  # by a tap: then it matters when the kernel took a reply
        self.queries = self.responses = self.timeouts = self.mismatches = 0
        self.in_flight = 0
        self.answered_ns = 0  # the wall clock when a query was answered last
        self.rtt_ns = self.rttvar_ns = 0.0  # averages of what answers take, and of the distance from that

    def limit_sockets(self, upstreams: int, descriptors: int) -> None:
        """Share the process's descriptors among that many upstreams."""
        self.udp.limit(max(2, min(SOCKETS, int(descriptors * DESCRIPTORS_SHARE) // max(1, upstreams))))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Own the connections until cancelled."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            self.health.changed_at = trio.current_time()
            if not self.options.health.servfail_is_up:
                self.flights.submit(self.prober.start)
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                self.nursery = None
                self.udp.close()
                self.tcp.close()

    async def drain(self, deadline_s: float) -> None:
        """Nobody will ask it any more: wait for what is in flight."""
        with trio.move_on_after(min(deadline_s, self.timeout_s)):
            while self.in_flight > self.prober.in_flight:  # noqa: ASYNC110  an event would cost every answer a test
                await trio.sleep(DRAIN_LOOK_S)

    def start(self, async_fn: Callable[[], Awaitable[Any]]) -> None:
        """Run a connection; without a nursery, at the end, nothing happens and its exchanges time out."""
        if self.nursery is not None:
            self.nursery.start_soon(async_fn)

    def ask(self, exchange: Exchange, stream: bool, timeout_s: float) -> None:
        """Send an exchange; it fails by itself when `timeout_s` has passed. Await it for the reply."""
        self.in_flight += 1
        if self.edits is not None:
            self.edits.prepare(exchange, stream)
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

    def recovered(self, exchange: Exchange) -> None:
        """A reply came after failures. What a probe's reply means, its sender says."""
        if exchange.attempt == PROBE:
            return
        self.health.answered()
        self._look_at_health(False)
        self.prober.hurry()

    def probed(self, is_well: bool) -> None:
        """A probe was answered: well, or in a way that is no answer."""
        now = self.flights.now
        self._look_at_health(self.health.probe_answered(now) if is_well else self.health.failed(SERVFAIL, now, True))

    def failed(self, exchange: Exchange, outcome: str) -> None:
        """An exchange ended without a reply."""
        self.in_flight -= 1
        is_probe = exchange.attempt == PROBE
        if outcome == TIMEOUT and not is_probe:
            self.timeouts += 1
        if outcome == CANCELLED or exchange.spoofed or self.nursery is None or self._is_history(exchange):
            return
        if outcome == TIMEOUT and not is_probe and self.failures and self._is_overtaken(exchange):
            return
        if exchange.query.shape.odd and outcome in (TIMEOUT, CLOSED):  # clients must not be able to put it down
            return
        self._look_at_health(self.health.failed(outcome, self.flights.now, is_probe))
        self.prober.start()

    def _is_history(self, exchange: Exchange) -> bool:
        """Whether it was sent before the upstream came up again: what became of it says nothing about now."""
        is_recent = self.flights.now - self.risen_at < self.timeout_s
        return is_recent and 0 < exchange.sent_ns < self.risen_ns

    def _is_overtaken(self, exchange: Exchange) -> bool:
        """Whether others were answered since it was sent: all such are one hint, or a few bad names put it down."""
        return 0 < exchange.sent_ns < self.answered_ns

    def _look_at_health(self, has_changed: bool) -> None:
        health = self.health
        self.failures = health.unanswered
        if has_changed:
            self.up = health.up
            if self.up:
                self.risen_at, self.risen_ns = health.risen_at, time.time_ns()
            Changes.number += 1
            log.warning("upstream %s %s: %s", self.url, health.state, health.reason)

    def upstream_status(self) -> dict[str, Any]:
        """This upstream in `dnsproxy status`."""
        return {
            "name": self.name,
            "address": self.url,
            "transport": self.options.scheme or "udp+tcp",
            "state": self.health.state,
            "since_s": round(max(self.flights.now - self.health.changed_at, 0.0), 1),
            "transitions": self.health.transitions,
            "failures": self.health.failures_in_a_row,
            "queries": self.queries,
            "responses": self.responses,
            "timeouts": self.timeouts,
            "mismatches": self.mismatches,
            "in_flight": self.in_flight - self.prober.in_flight,
            "rtt_ms": round(self.rtt_ns / 1e6, 3) if self.rtt_ns else None,
            "probes": self.prober.sent,
            "probe_failures": self.prober.failed,
            "connections": self.tcp.open_connections,
            "handshakes": self.tcp.handshakes,
            "resumptions": self.tcp.resumptions,
        }

    def __repr__(self) -> str:
        return f"<Upstream {self.url} {self.health.state}, {self.in_flight} in flight>"
