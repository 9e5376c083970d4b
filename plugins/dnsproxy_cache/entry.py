"""A kept answer: its TTLs count down in place, its responses are made once a second at most."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from dnsproxy import wire
from dnsproxy.errors import EDE_STALE_ANSWER
from dnsproxy.message import Response
from dnsproxy_cache.reading import TTL

if TYPE_CHECKING:
    from dnsproxy.flight import Waiter
    from dnsproxy_cache.reading import Answer

STALE_TTL_S = 30  # RFC 8767 section 5.2
MOST_FREQUENT = 3  # uses that count for staying; more make nobody stay longer
_OPT = {dnssec_ok: wire.make_opt(dnssec_ok=dnssec_ok) for dnssec_ok in (False, True)}
_STALE = wire.ede_option(EDE_STALE_ANSWER, "")


class Entry:
    """What stands under a key. Times are seconds of trio's clock.

    Until `until`, `plain` and `with_opt` are the responses for clients without and with EDNS, as far as they exist; a
    failure is looked at each time.
    """

    __slots__ = (
        "edns",
        "expires",
        "failed",
        "filled_at",
        "hits",
        "key",
        "life",
        "mark",
        "offsets",
        "plain",
        "protected",
        "renewal",
        "retry_at",
        "scope",
        "shown_at",
        "size",
        "until",
        "wire",
        "with_opt",
    )

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.size = 0
        self.protected = False  # which queue it stands in
        self.hits = self.mark = 0  # in this life; how many of them the last look at it has used up
        self.renewal: Waiter | None = None  # the timer of its prefetch
        self.plain: Response | None = None
        self.with_opt: Response | None = None

    def fill(self, answer: Answer, now: float, edns: bool) -> None:
        """Begin a new life, with the answer to a query with or without EDNS; what is known of its use stays."""
        if self.hits:
            self.mark = -self.frequency()
            self.hits = 0
            self._forget_responses()
        self.wire, self.offsets, self.life, self.failed, self.scope = answer
        self.edns = edns
        self.expires = now + self.life
        self.filled_at = self.shown_at = now  # shown_at: when the TTLs in `wire` were right
        self.until = -inf
        self.retry_at = inf  # when to ask upstreams again that did not answer; inf: they are not known not to

    def empty(self) -> None:
        """It has been evicted: nothing finds an answer here any more."""
        self.wire, self.offsets = b"", ()
        self.until = self.expires = -inf
        self._forget_responses()

    def _forget_responses(self) -> None:
        self.plain = self.with_opt = None
        renewal, self.renewal = self.renewal, None
        if renewal is not None:
            renewal.done = True

    def serves(self, has_opt: bool) -> bool:
        """Whether it is for such clients: a server that chokes on EDNS fails only for those who use it (RFC 6891)."""
        return not self.failed or self.edns == has_opt

    def frequency(self) -> int:
        """Uses since the last look at it, from 0 to 3."""
        return min(self.hits - self.mark, MOST_FREQUENT)

    def count_down(self, now: float) -> None:
        """Make the TTLs those of `now`, which is before `expires`."""
        elapsed = int(now - self.shown_at)
        if elapsed:
            self.wire = _aged(self.wire, self.offsets, elapsed)
            self.shown_at += elapsed
            self.plain = self.with_opt = None
        self.until = -inf if self.failed else min(self.shown_at + 1.0, self.expires)

    def respond(self, has_opt: bool, dnssec_ok: bool) -> Response:
        """The answer as it is now, with an OPT of our own for those who sent one."""
        if not has_opt:
            response = self.plain = self.plain or Response(self.wire)
        else:
            response = self.with_opt = self.with_opt or Response(_with_opt(self.wire, _OPT[dnssec_ok]))
        return response

    def respond_to_subnet(self, subnet: bytes, dnssec_ok: bool) -> Response:
        """The same for a query with ECS: its subnet, and how much of it the answer is for (RFC 7871 section 7.2.1)."""
        if self.scope is None or len(subnet) < 4:
            return self.respond(True, dnssec_ok)
        data = subnet[:3] + bytes((self.scope,)) + subnet[4:]
        option = wire.ECS_OPTION.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data
        return Response(_with_opt(self.wire, wire.make_opt(0, dnssec_ok, option)))

    def __repr__(self) -> str:
        return f"<Entry of {len(self.wire)} octets, {self.hits} hits, until {self.expires:.1f}>"


def stale_response(octets: bytes, offsets: tuple[int, ...], has_opt: bool, dnssec_ok: bool) -> Response:
    """The wire of an entry past its end: TTL 30, and EDE 3 for clients that understand it."""
    stale = bytearray(octets)
    for offset in offsets:
        TTL.pack_into(stale, offset, STALE_TTL_S)
    octets = bytes(stale)
    return Response(_with_opt(octets, wire.make_opt(0, dnssec_ok, _STALE)) if has_opt else octets)


def _aged(octets: bytes, offsets: tuple[int, ...], elapsed: int) -> bytes:
    aged = bytearray(octets)
    for offset in offsets:
        TTL.pack_into(aged, offset, TTL.unpack_from(aged, offset)[0] - elapsed)
    return bytes(aged)


def _with_opt(octets: bytes, opt: bytes) -> bytes:
    arcount = (octets[10] << 8 | octets[11]) + 1
    return octets[:10] + arcount.to_bytes(2, "big") + octets[12:] + opt
