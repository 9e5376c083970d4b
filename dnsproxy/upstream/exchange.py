"""One query to an upstream and what came of it."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Protocol

from dnsproxy import wire
from dnsproxy.dnstap.events import FORWARDER_QUERY, FORWARDER_RESPONSE, Event
from dnsproxy.errors import FORMERR, NOTAUTH, NOTIMP, SERVFAIL
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
SEND_ERROR, CANCELLED, TRUNCATED, TLS_ERROR = "send_error", "cancelled", "truncated", "tls_error"
MISMATCHES_AT_MOST = 20  # wrong replies to one query; with so many somebody is guessing, and TCP cannot be guessed
IDS_BLOCK = 1024  # IDs per read: urandom then costs 0.01 µs each
RTT_WEIGHT = 0.125  # of a new sample in the moving average (RFC 6298 section 2)
RTTVAR_WEIGHT = 0.25  # of its distance from that average, in the average of distances
OWN_LABELS = tuple(f"forward/{label}" for label in ("upstream", "attempt", "zone", "outcome", "rtt"))
WITHOUT_QUESTION = (FORMERR, SERVFAIL, NOTIMP, REFUSED_RCODE, NOTAUTH)  # the last: to a TSIG with an unknown key
PROBE = 0  # the attempt number of what is neither counted nor tapped
LEFT = -1  # the same, of an attempt that nobody waits for any more


class Carrier(Protocol):
    """The socket or connection that an exchange went out on."""

    route: Route

    def forget(self, exchange: Exchange) -> None:
        """The exchange is over without a reply: its message ID is free again."""


class Edit(Protocol):
    """What was changed in one query before it went out; `asked` is how it was."""

    asked: Query

    def accepts(self, exchange: Exchange, octets: bytes) -> bool:
        """Whether a reply with the right ID and question is the upstream's, by what was sent beside them."""

    def received(self, exchange: Exchange, octets: bytes) -> bytes | None:
        """The reply as if nothing had been changed; None: ask the same upstream again (`exchange.is_again`)."""


class Exchange(Pending):
    """An attempt: its own Waiter, whose value is the reply's octets, or None when there is none (see `outcome`).

    `query` is what goes out; where that was edited, `edit` knows what was asked.
    """

    __slots__ = (
        "attempt",
        "carrier",
        "edit",
        "id",
        "is_again",
        "mismatches",
        "outcome",
        "own",
        "query",
        "resent",
        "sent_ns",
        "spoofed",
        "taps",
        "timer",
        "upstream",
        "zone",
    )

    id: bytes  # set when it is sent, with what follows
    sent_ns: int  # 0 before that
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
        self.edit: Edit | None = None
        self.outcome = ""
        self.sent_ns = 0
        self.own: dict[str, object] | None = None  # its labels, while others are under way for the same query
        self.resent = self.spoofed = self.is_again = False
        self.mismatches = 0  # wrong replies that were meant for this one, as far as can be told
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
        if self.attempt > 0:
            self.upstream.queries += 1
        taps = self.taps
        if taps is not None:
            if self.own is not None:
                self.tell(self.own)
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
        if average_ns:
            error_ns = rtt_ns - average_ns
            upstream.rtt_ns = average_ns + error_ns * RTT_WEIGHT
            upstream.rttvar_ns += ((error_ns if error_ns > 0 else -error_ns) - upstream.rttvar_ns) * RTTVAR_WEIGHT
        else:
            upstream.rtt_ns = float(rtt_ns)
            upstream.rttvar_ns = rtt_ns / 2
        if upstream.failures:
            upstream.recovered(self)
        if self.attempt > 0:
            upstream.responses += 1
            upstream.answered_ns = received_ns
            labels = self.query.metadata if self.own is None else self.own
            labels["forward/outcome"] = self.outcome
            labels["forward/rtt"] = rtt_ns // 1000 / 1000
            if self.own is not None:
                self.tell(self.own)
        if self.taps is not None and self.carrier is not None:
            self._show(self.taps, self.carrier.route, octets, received_ns)
        if not self.done:
            self.value = octets if self.edit is None else self.edit.received(self, octets)
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
        if self.attempt == LEFT and outcome != TIMEOUT:
            outcome = CANCELLED  # one that is waited for might have gone again
        self.outcome = outcome
        if self.attempt > 0:
            labels = self.query.metadata if self.own is None else self.own
            labels["forward/outcome"] = outcome
        self.upstream.failed(self, outcome)
        self.set(None)

    def expire(self) -> None:
        """No reply in time."""
        self.failed(TIMEOUT)

    def cancel(self) -> None:
        """Nobody waits for the reply any more."""
        self.failed(CANCELLED)

    def leave(self) -> None:
        """Nobody waits for the reply any more. It is still heard, for it says how the upstream does, but not told."""
        if self.done:
            return
        if not self.sent_ns:
            self.cancel()
            return
        self.outcome = CANCELLED
        self.attempt = LEFT
        self.taps = None
        self.resent = True  # so that a lost connection ends it

    def share(self) -> None:
        """From now on others may be under way for the same query: its labels are its own, told when it has news."""
        if self.own is None:
            labels = self.query.metadata
            self.own = {label: labels[label] for label in OWN_LABELS if label in labels}

    def tell(self, own: dict[str, object]) -> None:
        """Put the labels of an attempt in place of what those of another one may have left."""
        labels = self.query.metadata
        labels.pop("forward/outcome", None)
        labels.pop("forward/rtt", None)
        labels.update(own)

    def mismatched(self) -> None:
        """A wrong reply has come for this exchange: too many end the attempt."""
        self.mismatches += 1
        if self.mismatches >= MISMATCHES_AT_MOST:
            self.spoofed = True
            self.failed(CANCELLED)

    def matches(self, octets: bytes) -> bool:
        """Whether the octets, which carry this exchange's ID, are a response to its question (RFC 5452 section 9.1).

        Where the query was edited they must also bear what was put into it for that.
        """
        return self._is_response(octets) and (self.edit is None or self.edit.accepts(self, octets))

    def _is_response(self, octets: bytes) -> bool:
        shape = self.query.shape
        end = shape.question_end
        if len(octets) < 12 or not octets[2] & wire.QR:
            return False
        if octets[4:10] == b"\0\0\0\0\0\0":  # servers say what they cannot read, or will not, without a question
            return octets[3] & 15 in WITHOUT_QUESTION
        if octets[4:6] != b"\0\1":
            return False
        return octets[12:end] == shape.question or self.asks(octets)

    def asks(self, octets: bytes) -> bool:
        """Whether the question of a message, case aside, is that of this exchange."""
        shape = self.query.shape
        end = shape.question_end
        return octets[end - 4 : end] == shape.question[-4:] and octets[12 : end - 4].lower() == shape.folded

    def __repr__(self) -> str:
        state = self.outcome or "open"
        return f"<Exchange {self.query.name} with {self.upstream.name}, attempt {self.attempt}, {state}>"


def draw_ids(left: list[bytes]) -> bytes:
    """A random message ID (RFC 5452 section 4.3) when `left` has run out: it is filled again with a block of them."""
    block = os.urandom(2 * IDS_BLOCK)
    left += [block[at : at + 2] for at in range(0, 2 * IDS_BLOCK, 2)]
    return left.pop()
