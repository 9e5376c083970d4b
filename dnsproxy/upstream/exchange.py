"""One query to an upstream and what came of it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Container, Generator
from typing import TYPE_CHECKING, Any, Protocol

from dnsproxy import wire
from dnsproxy.dnstap.events import FORWARDER_QUERY, FORWARDER_RESPONSE, Event
from dnsproxy.errors import FORMERR, NOTIMP, SERVFAIL
from dnsproxy.errors import REFUSED as REFUSED_RCODE
from dnsproxy.flight import Pending, Waiter

if TYPE_CHECKING:
    from dnsproxy.dnstap.events import Route
    from dnsproxy.message import Query
    from dnsproxy.timers import Expiring
    from dnsproxy.upstream.taps import Taps
    from dnsproxy.upstream.upstream import Upstream

log = logging.getLogger("dnsproxy")

ANSWERED, TIMEOUT, REFUSED, CLOSED = "answered", "timeout", "refused", "closed"
SEND_ERROR, CANCELLED, TRUNCATED = "send_error", "cancelled", "truncated"
MISMATCHES_TOLERATED = 20  # wrong replies to one query; beyond it somebody is guessing, and TCP cannot be guessed
IDS_BLOCK = 1024  # IDs per read: urandom then costs 0.01 µs each
RTT_WEIGHT = 0.125  # of a new sample in the moving average (RFC 6298 section 2)
WITHOUT_QUESTION = (FORMERR, SERVFAIL, NOTIMP, REFUSED_RCODE)
PROBE = 0  # the attempt number of what is neither counted nor tapped


class Carrier(Protocol):
    """The socket or connection that an exchange went out on."""

    route: Route

    def forget(self, exchange: Exchange) -> None:
        """The exchange is over without a reply: its message ID is free again."""


class Exchange(Pending):
    """An attempt: its own Waiter, whose value is the reply's octets, or None when there is none (see `outcome`)."""

    __slots__ = (
        "attempt",
        "carrier",
        "id",
        "outcome",
        "query",
        "resent",
        "sent_ns",
        "spoofed",
        "strays_before",
        "taps",
        "timer",
        "upstream",
        "zone",
    )

    id: bytes  # set when it is sent, with what follows
    sent_ns: int
    strays_before: int  # wrong replies on its socket by then
    timer: dict[Expiring, float] | None

    def __init__(
        self, query: Query, upstream: Upstream, attempt: int, zone: tuple[bytes, str], taps: Taps | None
    ) -> None:
        self.done = False
        self.value = self.error = self.flight = self.watcher = None
        self.query = query
        self.upstream = upstream
        self.attempt = attempt
        self.zone = zone
        self.taps = taps
        self.carrier: Carrier | None = None
        self.outcome = ""
        self.resent = self.spoofed = False
        labels = query.metadata
        labels["forward/upstream"] = upstream.name
        labels["forward/attempt"] = labels["forward/attempts"] = attempt
        labels["forward/zone"] = zone[1]
        if attempt > 1:
            labels.pop("forward/outcome", None)
            labels.pop("forward/rtt", None)

    def __await__(self) -> Generator[Any, Any, Any]:
        return Waiter.__await__(self)

    def sent(self, carrier: Carrier, octets: bytes) -> None:
        """The octets have joined the flush of `carrier`."""
        self.carrier = carrier
        self.sent_ns = time.time_ns()
        if self.attempt:
            self.upstream.queries += 1
        taps = self.taps
        if taps is not None:
            asked = self.query.parent or self.query  # labels describe what the client asked
            if taps.recorder is not None:
                taps.recorder.forwarder_query(asked, carrier.route, self.sent_ns, octets, self.zone[0])
            if taps.others:
                taps.query(Event(FORWARDER_QUERY, asked, carrier.route, self.sent_ns, octets, 0, None, self.zone[0]))

    def answered(self, octets: bytes, received_ns: int, truncated: bool = False) -> None:
        """A reply that belongs to this exchange."""
        upstream = self.upstream
        if self.timer is not None:
            self.timer.pop(self, None)
        self.outcome = TRUNCATED if truncated else ANSWERED
        rtt_ns = received_ns - self.sent_ns
        upstream.in_flight -= 1
        average_ns = upstream.rtt_ns
        upstream.rtt_ns = average_ns + (rtt_ns - average_ns) * RTT_WEIGHT if average_ns else rtt_ns
        if upstream.failures:
            upstream.recovered()
        if self.attempt:
            upstream.responses += 1
            labels = self.query.metadata
            labels["forward/outcome"] = self.outcome
            labels["forward/rtt"] = rtt_ns // 1000 / 1000
        if self.taps is not None and self.carrier is not None:
            self._show(self.taps, self.carrier.route, octets, received_ns)
        if not self.done:
            self.value = octets
            self._finish()

    def _show(self, taps: Taps, route: Route, octets: bytes, received_ns: int) -> None:
        """FORWARDER_RESPONSE."""
        asked = self.query.parent or self.query
        recorder = taps.recorder
        if recorder is not None:
            sent = self.id + self.query.wire[2:] if recorder.with_queries else None
            recorder.forwarder_response(asked, route, self.sent_ns, sent, received_ns, octets, self.zone[0])
        if taps.others:
            sent = self.id + self.query.wire[2:]
            taps.response(
                Event(FORWARDER_RESPONSE, asked, route, self.sent_ns, sent, received_ns, octets, self.zone[0])
            )

    def failed(self, outcome: str) -> None:
        """There will be no reply; `outcome` says why."""
        if self.done:
            return
        if self.timer is not None:
            self.timer.pop(self, None)
        carrier, self.carrier = self.carrier, None
        if carrier is not None:
            carrier.forget(self)
        self.outcome = outcome
        if self.attempt:
            self.query.metadata["forward/outcome"] = outcome
        self.upstream.failed(self, outcome)
        self.set(None)

    def expire(self) -> None:
        """No reply in time."""
        self.failed(TIMEOUT)

    def cancel(self) -> None:
        """Nobody waits for the reply any more."""
        self.failed(CANCELLED)

    def mismatched(self, strays: int) -> None:
        """A wrong reply has come to this exchange's socket, the `strays`-th there: too many end the attempt."""
        if strays - self.strays_before > MISMATCHES_TOLERATED:
            self.spoofed = True
            self.failed(CANCELLED)

    def matches(self, octets: bytes) -> bool:
        """Whether the octets, which carry this exchange's ID, are a response to its question (RFC 5452 section 9.1)."""
        shape = self.query.shape
        end = shape.question_end
        if len(octets) < 12 or not octets[2] & wire.QR:
            return False
        if octets[4:10] == b"\0\0\0\0\0\0":  # servers say what they cannot read, or will not, without a question
            return octets[3] & 15 in WITHOUT_QUESTION
        if octets[4:6] != b"\0\1":
            return False
        if octets[12:end] == shape.question:
            return True
        return octets[12 : end - 4].lower() == shape.folded and octets[end - 4 : end] == shape.question[-4:]

    def __repr__(self) -> str:
        state = self.outcome or "open"
        return f"<Exchange {self.query.name} with {self.upstream.name}, attempt {self.attempt}, {state}>"


def draw_ids(left: list[bytes]) -> bytes:
    """A random message ID (RFC 5452 section 4.3) when `left` has run out: it is filled again with a block of them."""
    block = os.urandom(2 * IDS_BLOCK)
    left += [block[at : at + 2] for at in range(0, 2 * IDS_BLOCK, 2)]
    return left.pop()


def free_id(left: list[bytes], in_use: Container[bytes]) -> bytes:
    """A random message ID that is not in use."""
    while True:
        taken = left.pop() if left else draw_ids(left)
        if taken not in in_use:
            return taken
