"""Which upstream is asked: the policies, over those of the best group that are up."""

from __future__ import annotations

import random
from bisect import bisect, bisect_left
from hashlib import blake2b
from itertools import accumulate
from math import inf
from typing import TYPE_CHECKING, Final

from dnsproxy.errors import EDE_NO_REACHABLE_AUTHORITY, UpstreamsFailed

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from dnsproxy.flight import Flights
    from dnsproxy.upstream.upstream import Upstream
    from dnsproxy_forward.config import ForwardConfig

SLOWEST_START: Final = 0.05  # of its share, for an upstream that has just come up again
DRAWS: Final = 8  # until another way is taken to find one that will do
EXPLORED: Final = 1 / 128  # of queries go anywhere, so that an average is never old; rare enough for a 99th percentile
LOAD_BOUND: Final = 1.25  # times its share of what is in flight, beyond which `hash` passes an upstream over
LOAD_FREE: Final = 4  # in flight anywhere without a bound
RING: Final = 8192  # points of all upstreams together, more or less: made anew in some 10 ms when they change
POINTS: Final = 160  # of an upstream of average weight where there are few: its share is right to some 10 %
POINTS_MIN: Final = 8
PASSED: Final = 64  # upstreams with too much to do, until the least busy one of them has to do
UNMEASURED_NS: Final = 1e6  # what an upstream that has not answered yet is taken to take


class Candidate:
    """An upstream among those of a stanza: its share within its group, and that group; lower ones are asked first."""

    __slots__ = ("group", "upstream", "weight")

    def __init__(self, upstream: Upstream, weight: int = 1, group: int = 1) -> None:
        self.upstream = upstream
        self.weight = weight
        self.group = group


class Chooser:
    """Draws by weight: `random` and `weighted`; the other policies are its subclasses.

    `active` are the upstreams to choose from: `look` is to be called after every change of any upstream's state.
    """

    def __init__(self, flights: Flights, config: ForwardConfig) -> None:
        self.flights = flights
        self.slow_start_s = config.slow_start
        self.sprays = config.all_down == "spray"
        self.candidates: tuple[Candidate, ...] = ()
        self.active: tuple[Upstream, ...] = ()
        self.bounds: list[int] | None = None  # sums of weights; None when all weigh the same
        self.any_up = False
        self.slow_until = -inf  # by then every upstream that has come up again has all of its share

    def use(self, candidates: Sequence[Candidate]) -> None:
        """Choose among these from now on."""
        self.candidates = tuple(candidates)

    def look(self) -> None:
        """See which are up. All of the lowest group with one that is; when none is, all as if they were, or none."""
        up = [candidate for candidate in self.candidates if candidate.upstream.up]
        self.any_up = bool(up)
        among = up or (self.candidates if self.sprays else ())
        lowest = min((candidate.group for candidate in among), default=0)
        chosen = [candidate for candidate in among if candidate.group == lowest]
        self.active = tuple(candidate.upstream for candidate in chosen)
        weights = [candidate.weight for candidate in chosen]
        self.bounds = None if len(set(weights)) < 2 else list(accumulate(weights))
        risen_at = max((upstream.risen_at for upstream in self.active), default=-inf)
        self.slow_until = risen_at + self.slow_start_s if self.slow_start_s and len(self.active) > 1 else -inf

    @property
    def is_even(self) -> bool:
        """Whether `first` draws one of `active`, each as likely as the others, until the next `look`."""
        return type(self) is Chooser and self.bounds is None and self.slow_until <= self.flights.now

    def first(self, folded: bytes, in_flight: int) -> Upstream:
        """Whom to ask for a name, when so many questions are in flight; UpstreamsFailed when there is nobody."""
        if self.slow_until > self.flights.now:
            return self._well_risen()
        bounds = self.bounds
        if bounds is not None or not self.active:
            return self.draw()
        active = self.active
        return active[int(random.random() * len(active))]  # noqa: S311  spreads load, keeps no secret

    def fresh(self, folded: bytes, tried: Container[Upstream]) -> Upstream | None:
        """Whom to ask beside or after those in `tried`; None when all have been."""
        if not self.active:
            return None
        for _ in range(DRAWS):
            upstream = self.draw()
            if upstream not in tried:
                return upstream
        return self.untried(tried)

    def untried(self, tried: Container[Upstream]) -> Upstream | None:
        """The first that is not in `tried`."""
        return next((upstream for upstream in self.active if upstream not in tried), None)

    def draw(self) -> Upstream:
        """One of them, by weight, whenever it came up."""
        active, bounds = self.active, self.bounds
        if not active:
            raise self.nobody()
        if bounds is None:
            return active[int(random.random() * len(active))]  # noqa: S311  as above
        return active[bisect(bounds, random.random() * bounds[-1])]  # noqa: S311  as above

    def _well_risen(self) -> Upstream:
        """One of them, but those that have come up lately only sometimes."""
        passed: list[Upstream] = []
        for _ in range(DRAWS):
            upstream = self.draw()
            if upstream not in passed and self.has_risen(upstream):
                return upstream
            passed.append(upstream)
        return self.untried(passed) or upstream

    def has_risen(self, upstream: Upstream) -> bool:
        """Whether an upstream is to be asked that has been drawn: as often as it has its share back."""
        now = self.flights.now
        if self.slow_until <= now:
            return True
        share = (now - upstream.risen_at) / self.slow_start_s
        return share >= 1 or random.random() < max(share, SLOWEST_START)  # noqa: S311  as above

    def nobody(self) -> UpstreamsFailed:
        """What to raise when there is none."""
        what = "all upstreams are down" if self.candidates else "no upstream is known"
        return UpstreamsFailed(what, ede_code=EDE_NO_REACHABLE_AUTHORITY)


class InOrder(Chooser):
    """`sequential`: the first that is up."""

    def first(self, folded: bytes, in_flight: int) -> Upstream:
        """As Chooser.first."""
        if not self.active:
            raise self.nobody()
        return self.active[0]

    def fresh(self, folded: bytes, tried: Container[Upstream]) -> Upstream | None:
        """As Chooser.fresh."""
        return self.untried(tried)


class InTurn(Chooser):
    """`round_robin`."""

    def __init__(self, flights: Flights, config: ForwardConfig) -> None:
        Chooser.__init__(self, flights, config)
        self.turn = -1

    def first(self, folded: bytes, in_flight: int) -> Upstream:
        """As Chooser.first."""
        active = self.active
        if not active:
            raise self.nobody()
        for _ in range(len(active)):
            self.turn += 1
            upstream = active[self.turn % len(active)]
            if self.slow_until <= self.flights.now or self.has_risen(upstream):
                break
        return upstream

    def fresh(self, folded: bytes, tried: Container[Upstream]) -> Upstream | None:
        """As Chooser.fresh."""
        for step in range(1, len(self.active) + 1):
            upstream = self.active[(self.turn + step) % len(self.active)]
            if upstream not in tried:
                return upstream
        return None


class ByLatency(Chooser):
    """`latency`: the better of two, by what answers took on average and how many are waited for."""

    def first(self, folded: bytes, in_flight: int) -> Upstream:
        """As Chooser.first."""
        active = self.active
        count = len(active)
        if count < 2:
            return self.draw()
        dice = random.random()  # noqa: S311  as above
        one = int(dice * count)
        other = int(random.random() * (count - 1))  # noqa: S311  as above
        other += other >= one
        if self.slow_until > self.flights.now:
            if not self.has_risen(active[one]):
                return active[other]
            if not self.has_risen(active[other]):
                return active[one]
        if random.random() < EXPLORED:  # noqa: S311  as above
            return active[one]
        return active[one] if _cost(active[one]) <= _cost(active[other]) else active[other]

    def fresh(self, folded: bytes, tried: Container[Upstream]) -> Upstream | None:
        """As Chooser.fresh."""
        one, other = Chooser.fresh(self, folded, tried), Chooser.fresh(self, folded, tried)
        if one is None or other is None:
            return one
        return one if _cost(one) <= _cost(other) else other


def _cost(upstream: Upstream) -> float:
    """What another query there would take, more or less."""
    return (upstream.rtt_ns or UNMEASURED_NS) * (upstream.in_flight + 1)


class ByName(Chooser):
    """`hash`: a name always goes to the same upstream, and moves only when that one goes or has too much to do.

    Consistent hashing with bounded loads: https://arxiv.org/abs/1608.01350.
    """

    def __init__(self, flights: Flights, config: ForwardConfig) -> None:
        Chooser.__init__(self, flights, config)
        self.ring: list[tuple[int, Candidate]] = []  # of all candidates
        self.points: list[int] = []  # of those that are active
        self.owners: list[Candidate] = []
        self.total = 1  # of their weights

    def use(self, candidates: Sequence[Candidate]) -> None:
        """As Chooser.use."""
        Chooser.use(self, candidates)
        points = min(RING, POINTS * len(candidates))
        weights = sum(candidate.weight for candidate in candidates)
        self.ring = []
        for candidate in candidates:
            name = candidate.upstream.url.encode()
            for number in range(max(POINTS_MIN, points * candidate.weight // weights)):
                self.ring.append((_point(b"%d %s" % (number, name)), candidate))
        self.ring.sort(key=_place)

    def look(self) -> None:
        """As Chooser.look."""
        Chooser.look(self)
        active = frozenset(self.active)
        there = [spot for spot in self.ring if spot[1].upstream in active]
        self.points = [point for point, _ in there]
        self.owners = [candidate for _, candidate in there]
        self.total = sum(candidate.weight for candidate in self.candidates if candidate.upstream in active)

    def first(self, folded: bytes, in_flight: int) -> Upstream:
        """As Chooser.first."""
        if len(self.active) < 2:
            return self.draw()
        owners = self.owners
        at = bisect_left(self.points, _point(folded)) % len(owners)
        load = LOAD_BOUND * (in_flight + 1) / self.total  # for weight 1
        passed: set[Upstream] = set()
        while len(passed) < PASSED and len(passed) < len(self.active):
            owner = owners[at]
            upstream = owner.upstream
            if upstream not in passed:
                bound = max(LOAD_FREE, load * owner.weight)
                if upstream.in_flight < bound and self.has_risen(upstream):
                    return upstream
                passed.add(upstream)
            at = (at + 1) % len(owners)
        return min(passed, key=_busyness)

    def fresh(self, folded: bytes, tried: Container[Upstream]) -> Upstream | None:
        """As Chooser.fresh."""
        owners = self.owners
        if not owners:
            return None
        at = bisect_left(self.points, _point(folded))
        for step in range(len(owners)):
            upstream = owners[(at + step) % len(owners)].upstream
            if upstream not in tried:
                return upstream
        return None


def _busyness(upstream: Upstream) -> int:
    return upstream.in_flight


def _point(octets: bytes) -> int:
    """Where on the ring something lies, in every process the same."""
    return int.from_bytes(blake2b(octets, digest_size=7).digest())


def _place(spot: tuple[int, Candidate]) -> int:
    return spot[0]


def chooser_of(config: ForwardConfig, flights: Flights) -> Chooser:
    """For the policy of a stanza; `parallel` draws at random whom it asks."""
    if config.policy == "sequential":
        return InOrder(flights, config)
    if config.policy == "round_robin":
        return InTurn(flights, config)
    if config.policy == "latency":
        return ByLatency(flights, config)
    if config.policy == "hash":
        return ByName(flights, config)
    return Chooser(flights, config)
