"""Compares two recordings of the same client queries, side by side, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

from dnsproxy.tap.answers import say_the_same
from dnsproxy.tap.joined import Joined
from dnsproxy.tap.quantiles import Quantiles

WAITING_MAX: Final = 200_000  # queries of one side without a partner on the other; the oldest counts as missing there
OCTETS_MAX: Final = 128 << 20  # of their responses

Question = tuple[bytes, int | None, int | None]  # lower-cased name, type, class


@dataclass(frozen=True, eq=False, slots=True)
class Asked:
    """One client query of a recording; `wire` is the response, None where there was none."""

    question: Question
    time_ns: int
    latency_ns: int | None
    wire: bytes | None

    @property
    def size(self) -> int:
        """Octets that it takes to keep it, roughly."""
        return len(self.question[0]) + len(self.wire or b"")


@dataclass(frozen=True)
class Difference:
    """Both sides of a query that went otherwise; None is the side on which it is missing."""

    a: Asked | None
    b: Asked | None

    @property
    def asked(self) -> Asked:
        """The query on a side that has it."""
        asked = self.a or self.b
        assert asked is not None
        return asked


@dataclass
class Side:
    """What is known of one recording."""

    queries: int = 0
    missing: int = 0  # queries of the other side
    latencies: Quantiles = field(default_factory=Quantiles)


class Comparison:
    """Compares while it is iterated: gives differences; afterwards the sides, `same` and `different` are complete.

    Queries are paired by name, type and class, the first with the first, the second with the second, and so on.
    """

    def __init__(self) -> None:
        self.a, self.b = Side(), Side()
        self.same = 0
        self.different = 0
        self._waiting_a, self._waiting_b = _Waiting(), _Waiting()

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs but latency."""
        return not (self.different or self.a.missing or self.b.missing)

    def differences(self, a: Iterable[Joined], b: Iterable[Joined]) -> Iterator[Difference]:
        """Read both recordings, in equal steps."""
        for one, other in zip_longest(a, b):
            asked = _count(self.a, one)
            if asked is not None:
                yield from self._meet_a(asked)
            asked = _count(self.b, other)
            if asked is not None:
                yield from self._meet_b(asked)
        for asked in self._waiting_a.all():
            yield self._is_missing_in_b(asked)
        for asked in self._waiting_b.all():
            yield self._is_missing_in_a(asked)

    def _meet_a(self, asked: Asked) -> Iterator[Difference]:
        partner = self._waiting_b.take(asked.question)
        if partner is not None:
            yield from self._compare(asked, partner)
        else:
            yield from map(self._is_missing_in_b, self._waiting_a.add(asked))

    def _meet_b(self, asked: Asked) -> Iterator[Difference]:
        partner = self._waiting_a.take(asked.question)
        if partner is not None:
            yield from self._compare(partner, asked)
        else:
            yield from map(self._is_missing_in_a, self._waiting_b.add(asked))

    def _compare(self, a: Asked, b: Asked) -> Iterator[Difference]:
        if say_the_same(a.wire, b.wire):
            self.same += 1
        else:
            self.different += 1
            yield Difference(a, b)

    def _is_missing_in_a(self, asked: Asked) -> Difference:
        self.a.missing += 1
        return Difference(None, asked)

    def _is_missing_in_b(self, asked: Asked) -> Difference:
        self.b.missing += 1
        return Difference(asked, None)


def _count(side: Side, joined: Joined | None) -> Asked | None:
    """What a side asked; None where it has come to its end, or has no question to be paired by."""
    client = None if joined is None else joined.client
    if joined is None or client is None or client.qname is None:
        return None
    side.queries += 1
    if joined.latency_ns is not None:
        side.latencies.add(joined.latency_ns)
    question = client.qname.lower(), client.qtype, client.qclass
    return Asked(
        question, joined.start_ns, joined.latency_ns, None if joined.response is None else joined.response.wire
    )


class _Waiting:
    """Queries that wait for their partner, in the order of their coming."""

    def __init__(self) -> None:
        self._all: dict[Asked, None] = {}
        self._by_question: dict[Question, deque[Asked]] = {}
        self._octets = 0

    def add(self, asked: Asked) -> list[Asked]:
        """One more; those that are too many now."""
        self._all[asked] = None
        self._by_question.setdefault(asked.question, deque()).append(asked)
        self._octets += asked.size
        given_up = []
        while len(self._all) > WAITING_MAX or self._octets > OCTETS_MAX:
            oldest = self.take(next(iter(self._all)).question)
            assert oldest is not None
            given_up.append(oldest)
        return given_up

    def take(self, question: Question) -> Asked | None:
        """The oldest that asked so; it waits no longer."""
        waiting = self._by_question.get(question)
        if waiting is None:
            return None
        asked = waiting.popleft()
        if not waiting:
            del self._by_question[question]
        del self._all[asked]
        self._octets -= asked.size
        return asked

    def all(self) -> list[Asked]:
        """Those that still wait."""
        return list(self._all)
