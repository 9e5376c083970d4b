"""Taps that want only some exchanges: what each query is worth to them is decided once, or kept until its answer."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from dnsproxy.address import Address
from dnsproxy.dnstap.events import CLIENT_RESPONSE, Event
from dnsproxy.dnstap.schema import MessageType
from dnsproxy.dnstap.selection import Selection
from dnsproxy.dnstap.sink import FrameForm, Offer, Sink
from dnsproxy.errors import NOERROR, NXDOMAIN
from dnsproxy.wire import is_below, rcode_of

if TYPE_CHECKING:
    from dnsproxy.message import Query

EVERYTHING: Final = Selection()
HELD_MESSAGES: Final = 20_000  # of queries whose answer decides, per chain: as many as there may be queries in flight
HELD_OCTETS: Final = 64 * 2**20
CLIENTS_KEPT: Final = 4096  # whose networks have been looked up
HASH_BITS: Final = 30  # of a query id's hash, which the sample is drawn by
HASH_MASK: Final = (1 << HASH_BITS) - 1

NO, YES, MAYBE = 0, 1, 2  # what a tap says of a query: the last one when its answer decides


class SelectingTap:
    """A tap with a selection. It does not know which queries it has seen."""

    __slots__ = (
        "_always",
        "_clients",
        "_known",
        "_offer",
        "_protocols",
        "_qtypes",
        "_sampled_below",
        "_selection",
        "_sink",
        "_wanted",
        "_zones",
        "lose",
        "needs_answer",
    )

    def __init__(
        self,
        types: frozenset[MessageType],
        form: FrameForm,
        selection: Selection,
        offer: Offer,
        lose: Callable[[int], None],
    ) -> None:
        self._selection = selection
        self._offer = offer
        self.lose = lose
        self._sink = Sink(form, (offer,))
        self._wanted = [type in types for type in range(max(MessageType) + 1)]
        self._zones = selection.zones
        self._clients = selection.clients
        self._qtypes = selection.qtypes
        self._protocols = selection.protocols
        self._always = selection.always
        self._sampled_below = -1 if selection.sample is None else round(selection.sample * (1 << HASH_BITS))
        self._known: dict[bytes, bool] = {}  # whether a client is in one of the networks, by address
        self.needs_answer = bool(
            selection.rcodes
            or selection.only_errors
            or (selection.slower_than_s is not None and "slow" not in self._always)
        )

    def wants(self, type: int) -> bool:
        """Whether messages of that type are among those wanted."""
        return self._wanted[type]

    def judge(self, query: Query) -> int:
        """NO, YES or MAYBE."""
        if self._qtypes and query.shape.qtype not in self._qtypes:
            return NO
        if self._protocols and query.endpoint.protocol not in self._protocols:
            return NO
        if self._zones and not self._is_in_zones(query.shape.folded):
            return NO
        if self._clients and not self._is_client(query.client_sockaddr):
            return NO
        if not self._is_sampled(query):
            return MAYBE if self._always else NO
        return MAYBE if self.needs_answer else YES

    def _is_sampled(self, query: Query) -> bool:
        """Drawn by the query's id, so that every message of a query, and every tap of one rate, agrees."""
        below = self._sampled_below
        return below < 0 or hash(query.metadata["query/id"]) & HASH_MASK < below

    @property
    def most_sampled(self) -> int:
        """Every query that is drawn at this or above is a NO."""
        return self._sampled_below if self._sampled_below >= 0 and not self._always else HASH_MASK + 1

    def _is_in_zones(self, folded: bytes) -> bool:
        return any(is_below(folded, zone) for zone in self._zones)

    def _is_client(self, sockaddr: bytes) -> bool:
        address = Address(sockaddr).packed
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= CLIENTS_KEPT:
                self._known.clear()
            client = ipaddress.ip_address(address)
            known = self._known[address] = any(client in network for network in self._clients)
        return known

    def is_worth(self, query: Query, answer: Event) -> bool:
        """Whether a query that was a MAYBE is wanted, now that its answer is there."""
        selection = self._selection
        rcode = rcode_of(answer.response_wire or bytes(12))
        is_error = rcode not in (NOERROR, NXDOMAIN)
        threshold_s = selection.slower_than_s
        is_slow = threshold_s is not None and answer.response_ns - answer.query_ns >= threshold_s * 1e9
        always = self._always
        if selection.rcodes and rcode not in selection.rcodes:
            return False
        if selection.only_errors and not is_error:
            return False
        if threshold_s is not None and not is_slow and "slow" not in always:
            return False
        return (
            self._is_sampled(query)
            or ("errors" in always and is_error)
            or ("slow" in always and is_slow)
            or ("policy" in always and answer.policy is not None)
        )

    def frame(self, event: Event) -> bytes:
        """The event as this tap wants it."""
        return self._sink.frame(event)

    def offer(self, frame: bytes) -> None:
        """To the tap's output."""
        self._offer(frame)


class Choice:
    """Which taps see a query's messages, which ones will be known with its answer, and what is kept for these."""

    __slots__ = ("held", "lost", "maybe", "now", "octets")

    def __init__(self, now: tuple[SelectingTap, ...], maybe: tuple[SelectingTap, ...] = ()) -> None:
        self.now = now
        self.maybe = maybe
        self.held: list[tuple[SelectingTap, bytes]] = []
        self.octets = 0
        self.lost: list[SelectingTap] = []  # once for each message that had to be given up


NOTHING: Final = Choice(())


class Chooser:
    """The selecting taps of a chain, and what they have chosen of the queries under way.

    `Query.selection` is the Choice. What is kept for answers is bounded: beyond it the oldest query's messages are
    given up, and counted if it turns out that they were wanted.
    """

    __slots__ = ("_choices", "_held", "_most_sampled", "_octets", "_samples", "_taps", "_waiting")

    def __init__(self, taps: list[SelectingTap]) -> None:
        self._taps = taps
        self._most_sampled = max(tap.most_sampled for tap in taps)  # beyond it nobody need be asked: 0.3 µs for each
        self._samples = self._most_sampled <= HASH_MASK
        self._choices: dict[tuple[SelectingTap, ...], Choice] = {}  # those that need no answer are shared
        self._waiting: OrderedDict[Choice, None] = OrderedDict()  # with something held, in the order of asking
        self._held = 0
        self._octets = 0

    def wants(self, type: int) -> bool:
        """Whether any tap wants messages of that type."""
        return any(tap.wants(type) for tap in self._taps)

    def begin(self, query: Query) -> bool:
        """Decide about a query, for all its messages; whether any tap wants it, or may."""
        if self._samples and hash(query.metadata["query/id"]) & HASH_MASK >= self._most_sampled:
            query.selection = NOTHING
            return False
        now: tuple[SelectingTap, ...] = ()
        maybe: tuple[SelectingTap, ...] = ()
        for tap in self._taps:
            verdict = tap.judge(query)
            if verdict == YES:
                now = (*now, tap)
            elif verdict == MAYBE:
                maybe = (*maybe, tap)
        if maybe:
            query.selection = Choice(now, maybe)
        elif now:
            query.selection = self._shared(now)
        else:
            query.selection = NOTHING
            return False
        return True

    def _shared(self, now: tuple[SelectingTap, ...]) -> Choice:
        choice = self._choices.get(now)
        if choice is None:
            choice = self._choices[now] = Choice(now)
        return choice

    def has_chosen(self, query: Query) -> bool:
        """Whether any tap wants this query's messages, or may."""
        choice = query.selection
        if choice is None:  # a prefetch, or it came in before this chain's taps were there
            return self.begin(query)
        return choice is not NOTHING

    def take(self, event: Event) -> None:
        """Give a message to the taps that want it, or keep it for those that will know."""
        query = event.query
        if query is None or not self.has_chosen(query):  # selections ask about a client's query
            return
        choice: Choice = query.selection
        if choice.maybe and event.type == CLIENT_RESPONSE:
            choice = self._conclude(choice, query, event)
        for tap in choice.now:
            if tap.wants(event.type):
                tap.offer(tap.frame(event))
        for tap in choice.maybe:
            if tap.wants(event.type):
                self._hold(choice, tap, tap.frame(event))

    def _hold(self, choice: Choice, tap: SelectingTap, frame: bytes) -> None:
        choice.held.append((tap, frame))
        choice.octets += len(frame)
        self._waiting[choice] = None
        self._held += 1
        self._octets += len(frame)
        while self._held > HELD_MESSAGES or self._octets > HELD_OCTETS:
            oldest, _ = self._waiting.popitem(last=False)
            oldest.lost += [tap for tap, _ in oldest.held]
            self._forget(oldest)

    def _forget(self, choice: Choice) -> None:
        """Nothing is held for it any more."""
        self._held -= len(choice.held)
        self._octets -= choice.octets
        choice.held = []
        choice.octets = 0

    def _conclude(self, choice: Choice, query: Query, answer: Event) -> Choice:
        """The answer is there: what was held goes to the taps that want the query; the choice from now on."""
        chosen = tuple([tap for tap in choice.maybe if tap.is_worth(query, answer)])
        for tap, frame in choice.held:
            if tap in chosen:
                tap.offer(frame)
        for tap in choice.lost:
            if tap in chosen:
                tap.lose(1)
        if choice in self._waiting:
            del self._waiting[choice]
            self._forget(choice)
        now = (*choice.now, *chosen)
        query.selection = self._shared(now) if now else NOTHING
        result: Choice = query.selection
        return result
