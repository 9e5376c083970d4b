"""What was changed in one query before it went out, and how that is taken back in its answer."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from dnsproxy import wire
from dnsproxy.errors import FORMERR, NOTIMP
from dnsproxy.subnet import LABEL, Subnet
from dnsproxy.upstream.editing import ecs, opt
from dnsproxy.upstream.editing.cookies import BADCOOKIE
from dnsproxy.upstream.editing.padding import padding_for

if TYPE_CHECKING:
    from dnsproxy.message import Query
    from dnsproxy.upstream.editing.edits import Edits
    from dnsproxy.upstream.exchange import Exchange

log = logging.getLogger("dnsproxy")

ASKED_AGAIN: Final = "forward/asked_again"  # why the same upstream was: pairs of reason and upstream
NO_EDNS: Final = "no EDNS"
REFUSED_COOKIE: Final = "BADCOOKIE"
MOST_KEPT: Final = 60_000  # octets of a client's options, so that ours fit beside them; nobody sends so many


class Edit:
    """What was changed in one query before it went out; `asked` is how it was."""

    __slots__ = ("adds_opt", "asked", "cookie", "edits", "is_mixed", "own_subnet", "stream", "subnet", "unwanted")

    def __init__(self, edits: Edits, asked: Query, stream: bool) -> None:
        self.edits = edits
        self.asked = asked
        self.stream = stream
        self.is_mixed = False  # the case of the question was drawn
        self.adds_opt = False  # the client sent none
        self.cookie = b""  # what was sent
        self.subnet = b""
        self.own_subnet = b""  # what the client sent
        self.unwanted: frozenset[int] = edits.replaced  # options of the answer that are not for the client

    # before it is sent

    def make_opt(self, exchange: Exchange) -> bytes:
        """The OPT that goes out; b"" for none."""
        edits = self.edits
        shape = self.asked.shape
        octets = self.asked.wire
        start = shape.question_end
        if shape.opt_offset < 0:
            if edits.no_edns.is_out or self._was_asked_again(exchange, NO_EDNS):
                return b""
            options = self._added()
            self.adds_opt = edits.padding or bool(options)
            if not self.adds_opt:
                return b""
            size, flags = wire.OWN_UDP_SIZE, opt.NO_FLAGS
        else:
            size, flags = octets[start + 3] << 8 | octets[start + 4], octets[start + 5 : start + 9]
            options = self._kept(octets, start) + self._added()
        if edits.padding:
            options += padding_for(start + opt.FIXED + len(options))
        if edits.size is not None and not self.stream and size > edits.size:
            size = edits.size
        return opt.record(size, options, flags)

    def _kept(self, octets: bytes, start: int) -> bytes:
        """The client's options but for those that are replaced."""
        options = opt.options_at(octets, start)
        for code, data in options:
            if code == opt.ECS and self.edits.subnets is not None and ecs.is_sound(data):
                self.own_subnet = data
                self.unwanted -= {opt.ECS}
            elif code == opt.PADDING:
                self.unwanted -= {opt.PADDING}
        replaced = self.edits.replaced
        kept = b"".join(opt.option(code, data) for code, data in options if code not in replaced)
        return kept if len(kept) <= MOST_KEPT else b""

    def _added(self) -> bytes:
        """Options of ours, padding aside."""
        added = b""
        edits = self.edits
        if edits.subnets is not None:
            if self.own_subnet:
                self.subnet = edits.subnets.at_most(self.own_subnet)
            else:
                self.subnet = edits.subnets.of_client(self.asked.client_sockaddr)
            if self.subnet:
                added = opt.option(opt.ECS, self.subnet)
        if edits.cookies is not None:
            self.cookie = edits.cookies.data
            added += opt.option(opt.COOKIE, self.cookie)
        return added

    # when a reply has come

    def accepts(self, exchange: Exchange, octets: bytes) -> bool:
        """Whether a reply with the right ID and question is the upstream's, by what was sent beside them."""
        if self.is_mixed and octets[4:6] == b"\0\1":
            shape = exchange.query.shape
            if octets[12 : shape.question_end] == shape.question:
                self.edits.other_case.clear()
            elif not self.edits.usually_changes_case(exchange):
                return False
        return not self.cookie or self._bears_cookie(exchange, octets)

    def _bears_cookie(self, exchange: Exchange, octets: bytes) -> bool:
        """RFC 7873 section 5.3. A truncated reply leads to TCP at most, where nobody else can reply."""
        cookies = self.edits.cookies
        if cookies is None or self.stream:
            return True
        data = _option_of(octets, opt.COOKIE)
        if data is not None:
            self.edits.no_cookie.clear()
            return cookies.is_ours(data)
        is_expected = bool(cookies.server) and len(self.cookie) > len(cookies.client)
        if not is_expected or octets[2] & wire.TC:
            return True
        self.edits.lacked_cookie(exchange)
        return False

    def received(self, exchange: Exchange, octets: bytes) -> bytes | None:
        """The reply as if nothing had been changed; None: ask the same upstream again (`exchange.is_again`), once."""
        shape = self.asked.shape
        if self.is_mixed and octets[4:6] == b"\0\1":
            octets = octets[:12] + shape.question + octets[shape.question_end :]
        start = opt.find(octets, shape.question_end if octets[4:6] == b"\0\1" else 0)
        if start < 0:
            return self._without_edns(exchange, octets)
        if self.adds_opt:
            if self.edits.no_edns.count:
                self.edits.no_edns.clear()
            if not self.cookie and not self.subnet:
                return _try_without(octets, start)
        try:
            options = opt.options_at(octets, start)
        except wire.WireError:
            options = []
        answered = dict(options)
        if self.cookie and not self._learn(exchange, octets, start, answered.get(opt.COOKIE)):
            return None
        if self.subnet:
            self._note_scope(answered.get(opt.ECS))
        if self.adds_opt:
            return _try_without(octets, start)
        return self._with_own_options(octets, start, options)

    def _without_edns(self, exchange: Exchange, octets: bytes) -> bytes | None:
        """A reply without OPT; an upstream that chokes on ours is asked again without (RFC 6891 section 7)."""
        if not self.adds_opt or octets[3] & 15 not in (FORMERR, NOTIMP):
            return octets
        edits = self.edits
        if edits.no_edns.strike():
            log.warning("upstream %s does not take EDNS: clients without it are asked for without", edits.url)
        self._ask_again(exchange, NO_EDNS)
        return None

    def _learn(self, exchange: Exchange, octets: bytes, start: int, data: bytes | None) -> bool:
        """Remember the upstream's cookie; whether the reply is more than BADCOOKIE (RFC 7873 section 5.3)."""
        cookies = self.edits.cookies
        if cookies is None:
            return True
        if data is not None and cookies.is_ours(data):
            cookies.learn(data)
        if octets[start + 5] << 4 | octets[3] & 15 != BADCOOKIE:
            return True
        if not self._was_asked_again(exchange, REFUSED_COOKIE):
            self._ask_again(exchange, REFUSED_COOKIE)
        return False

    def _ask_again(self, exchange: Exchange, why: str) -> None:
        labels = self.asked.metadata
        labels[ASKED_AGAIN] = [*_pairs(labels), (why, exchange.upstream.name)]
        exchange.is_again = True

    def _was_asked_again(self, exchange: Exchange, why: str) -> bool:
        return (why, exchange.upstream.name) in _pairs(self.asked.metadata)

    def _note_scope(self, answered: bytes | None) -> None:
        """Say for whom the answer is, where the client asked for no subnet: of several answers the narrowest."""
        scope = ecs.scope_of(self.subnet, answered)
        if scope and self.subnet[2] and not self.own_subnet:
            subnet = ecs.subnet_of(self.subnet, scope)
            known = self.asked.metadata.get(LABEL)
            if not isinstance(known, Subnet) or known.bits < subnet.bits:
                self.asked.metadata[LABEL] = subnet

    def _with_own_options(self, octets: bytes, start: int, options: list[tuple[int, bytes]]) -> bytes:
        """The reply with the options that are for the client, who sent an OPT."""
        changed = [(code, self._own(code, data)) for code, data in options if code not in self.unwanted]
        if changed == options:
            return octets
        try:
            return opt.with_options(octets, start, b"".join(opt.option(code, data) for code, data in changed))
        except wire.WireError:
            return octets

    def _own(self, code: int, data: bytes) -> bytes:
        if code == opt.ECS and self.own_subnet:
            return ecs.for_client(self.own_subnet, ecs.scope_of(self.subnet, data))
        return data


def _pairs(labels: dict[str, object]) -> list[tuple[str, str]]:
    found = labels.get(ASKED_AGAIN)
    return found if isinstance(found, list) else []


def _option_of(octets: bytes, wanted: int) -> bytes | None:
    """The data of an option of a message; None without it, or when it cannot be read."""
    start = opt.find(octets)
    if start >= 0:
        try:
            return next((data for code, data in opt.options_at(octets, start) if code == wanted), None)
        except wire.WireError:
            return None
    return None


def _try_without(octets: bytes, start: int) -> bytes:
    try:
        return opt.without(octets, start)
    except wire.WireError:
        return octets
