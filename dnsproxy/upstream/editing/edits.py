"""What is changed in queries on their way to one upstream, and what is known of how it bears that."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from dnsproxy import wire
from dnsproxy.shape import Shape
from dnsproxy.upstream.editing import ecs, opt
from dnsproxy.upstream.editing.cookies import Cookies
from dnsproxy.upstream.editing.edit import Edit
from dnsproxy.upstream.editing.mixed_case import Dice
from dnsproxy.upstream.editing.padding import BLOCK, padding_for

if TYPE_CHECKING:
    from dnsproxy.upstream.exchange import Exchange
    from dnsproxy.upstream.options import UpstreamOptions

log = logging.getLogger("dnsproxy")

STRIKES: Final = 3  # odd replies in a row until an upstream is known for them
PADDED_OPT: Final = [
    opt.record(wire.OWN_UDP_SIZE, padding_for(end + opt.FIXED)) for end in range(BLOCK)
]  # by octets of header and question, modulo 128
_NO_RECORDS, _ONLY_OPT = bytes(6), bytes(5) + b"\1"  # the counts of the other sections


class Strikes:
    """Counts odd replies in a row."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    @property
    def is_out(self) -> bool:
        """Whether there were enough to believe that the upstream is like that."""
        return self.count >= STRIKES

    def strike(self) -> bool:
        """One more; whether it is the last that it took."""
        self.count += 1
        return self.count == STRIKES

    def clear(self) -> None:
        """A reply as it should be: those before were chance, or forged. What is known stays known."""
        if self.count < STRIKES:
            self.count = 0


class Edits:
    """The editor of one upstream."""

    def __init__(self, options: UpstreamOptions) -> None:
        wanted = options.edits
        is_plain = not options.is_encrypted
        self.url = options.url
        self.size = wanted.edns_size if is_plain else None
        self.padding = wanted.padding and not is_plain
        self.dice = Dice() if wanted.mixed_case and is_plain else None
        self.cookies = Cookies() if wanted.cookies and is_plain else None
        self.subnets = ecs.Subnets(*wanted.ecs) if isinstance(wanted.ecs, tuple) else None
        self.replaced = _replaced(self.padding, wanted.cookies, wanted.ecs is not None)
        self.only_pads = self.padding and self.replaced == {opt.PADDING}
        self.other_case = Strikes()
        self.no_cookie = Strikes()
        self.no_edns = Strikes()

    def prepare(self, exchange: Exchange, stream: bool) -> None:
        """Before it is sent: put an edited `query` in place of what was asked, and set `edit`; or leave it.

        The copy's `shape` is right about the question; about an OPT it may say what the client's said. What is signed,
        and whatever else has records beside an OPT, goes out as it came.
        """
        query = exchange.query
        shape = query.shape
        octets = query.wire
        counts = _NO_RECORDS if shape.opt_offset < 0 else _ONLY_OPT
        if shape.fault or octets[6:12] != counts:
            return
        edit = Edit(self, query, stream)
        end = shape.question_end
        if self.only_pads and shape.opt_offset < 0 and not self.no_edns.count:  # saves 0.8 µs
            record = PADDED_OPT[end & BLOCK - 1]
            edit.adds_opt = True
        else:
            record = edit.make_opt(exchange) if self.replaced or not stream else octets[end:]
        edited = octets[:10] + (b"\0\1" if record else b"\0\0") + octets[12:end] + record
        if self.dice is not None and not stream and not self.other_case.is_out:
            edit.is_mixed = True
            edited = edited[:12] + self.dice.mixed(shape.qname) + edited[end - 4 :]
            shape = Shape(edited)  # not by `shape_of`, whose memory these would fill
        if edited != octets:
            exchange.query = query.outgoing(edited, shape)
            exchange.edit = edit

    def usually_changes_case(self, exchange: Exchange) -> bool:
        """Whether it is known for that; a reply has the question in another case than it was sent in."""
        if self.other_case.is_out:
            return True
        if not exchange.spoofed:
            exchange.spoofed = True  # if nothing better comes in time, TCP needs no such protection
            if self.other_case.strike():
                log.warning("upstream %s changes the case of questions: asked without 0x20 from now on", self.url)
        return False

    def lacked_cookie(self, exchange: Exchange) -> None:
        """A reply has no cookie though the upstream gave one before."""
        if not exchange.spoofed:
            exchange.spoofed = True
            if self.no_cookie.strike() and self.cookies is not None:
                self.no_cookie.count = 0
                self.cookies.forget()


def _replaced(padding: bool, cookies: bool, subnets: bool) -> frozenset[int]:
    """The options that never leave as a client sent them."""
    wanted = ((opt.PADDING, padding), (opt.COOKIE, cookies), (opt.ECS, subnets))
    return frozenset(code for code, is_wanted in wanted if is_wanted)
