"""Hedges: a second upstream beside one that is slow, and their budget."""

import random
from collections import deque
from typing import Any

import pytest
from dnsproxy_forward.hedging import Hedging
from dnsproxy_forward.timing import Percentile
from dnsproxy_forward.words import Hedge

from dnsproxy.upstream.upstream import Changes
from tests.plugins.forwarding import NXDOMAIN, SERVFAIL, A, B, C, configured, counts, forward
from tests.plugins.lateness import labels, status, warm
from tests.support.offline import Asked, Offline, Script, answering, query, reply, silent, slow

pytestmark = pytest.mark.usefixtures("seeded")
HEDGED: dict[str, Any] = {"policy": "sequential", "hedge": "30ms"}


def test_a_second_upstream_is_asked_when_the_first_has_taken_that_long(offline: Offline) -> None:
    configured(offline, forward(A, B, **HEDGED), A=answering(), B=answering("192.0.2.2"))
    warm(offline)
    offline.network.scripts[A] = slow(0.2, answering())
    started = offline.flights.now
    asked = offline.ask(run_s=1)
    assert (asked.addresses, asked.at - started) == (["192.0.2.2"], pytest.approx(0.03))
    assert (labels(asked), counts(offline)) == ([B, 2, 2, "answered"], [1, 1, 0])
    assert (status(offline)["hedges"], status(offline)["hedges_won"]) == (1, 1)


def test_an_answer_in_time_needs_no_hedge(offline: Offline) -> None:
    configured(offline, forward(A, B, **HEDGED), A=slow(0.029, answering()), B=answering())
    warm(offline)
    for number in range(20):
        offline.ask(f"{number}.example.org", run_s=0.1)
    assert counts(offline) == [20, 0, 0]
    assert status(offline)["hedges"] == 0


def test_the_first_may_still_win(offline: Offline) -> None:
    configured(offline, forward(A, B, **HEDGED), A=answering(), B=slow(0.2, answering("192.0.2.2")))
    warm(offline)
    offline.network.scripts[A] = slow(0.05, answering())
    asked = offline.ask(run_s=1)
    assert labels(asked) == [A, 1, 2, "answered"]
    assert asked.label("rtt") is not None
    assert (status(offline)["hedges"], status(offline)["hedges_won"]) == (1, 0)


def test_with_one_upstream_there_is_no_hedge(offline: Offline) -> None:
    configured(offline, forward(A, hedge="30ms"), A=slow(0.2, answering()))
    warm(offline, 30)
    assert offline.ask(run_s=1).answers
    assert counts(offline) == [1, 0, 0]


def test_a_hedge_goes_to_nobody_who_is_down(offline: Offline) -> None:
    configured(offline, forward(A, B, C, **HEDGED), A=answering(), C=answering("192.0.2.3"))
    warm(offline)
    offline.upstreams[B].up = False
    Changes.number += 1
    offline.network.scripts[A] = silent
    assert offline.ask(run_s=1).addresses == ["192.0.2.3"]
    assert counts(offline) == [1, 0, 1]


@pytest.mark.parametrize(("rcode", "wins"), [(NXDOMAIN, True), (SERVFAIL, False)])
def test_a_hedge_wins_with_a_good_answer_only(rcode: int, wins: bool, offline: Offline) -> None:
    configured(offline, forward(A, B, **HEDGED), A=answering(), B=answering(rcode=rcode))
    warm(offline)
    offline.network.scripts[A] = slow(0.1, answering())
    assert labels(offline.ask(run_s=1))[0] == (B if wins else A)


def test_hedges_stay_under_a_tenth_of_the_queries(offline: Offline) -> None:
    configured(offline, forward(A, B, **HEDGED), A=slow(0.1, answering()), B=answering())
    for number in range(200):
        offline.ask(f"{number}.example.org", run_s=0.2)
        assert status(offline)["hedges"] <= 0.1 * (number + 1)
    assert status(offline)["hedges"] >= 15
    assert counts(offline)[1] == status(offline)["hedges"]


def test_a_percentile_hedges_no_query_before_there_are_enough_samples(offline: Offline) -> None:
    configured(offline, forward(A, B, policy="sequential", hedge="p95"), A=slow(0.02, answering()), B=answering())
    warm(offline, 20)
    offline.network.scripts[A] = slow(0.2, answering())
    offline.ask(run_s=0.3)
    assert counts(offline) == [1, 0, 0]
    offline.network.scripts[A] = slow(0.02, answering())
    for number in range(100):
        offline.ask(f"more{number}.example.org", run_s=0.03)
    offline.network.asked.clear()
    offline.network.scripts[A] = slow(0.2, answering())
    assert offline.ask("late.example.org", run_s=0.3).answers
    assert counts(offline) == [1, 1, 0]


@pytest.mark.parametrize("percent", [50, 90, 95, 99])
def test_a_percentile_is_right_to_some_percent_and_follows_change(percent: int) -> None:
    drawn = random.Random(11)
    percentile = Percentile(percent)
    for scale in (0.002, 0.05):
        times = [scale * drawn.paretovariate(1.5) for _ in range(8000)]
        for seconds in times:
            percentile.add(seconds)
        recent = sorted(times[-2000:])
        assert percentile.value_s == pytest.approx(recent[percent * 20], rel=0.35)
        assert percentile.samples < 2048


def test_a_percentile_is_on_average_neither_early_nor_late() -> None:
    ratios = []
    for step in range(40):
        scale, percentile = 0.01 * 1.001**step, Percentile(95)
        for number in range(992):  # evenly between one and two times the scale; not quite as many as are halved
            percentile.add(scale * (1 + number * 607 % 992 / 992))
        assert percentile.value_s is not None
        ratios.append(percentile.value_s / (1.95 * scale))
    assert sum(ratios) / len(ratios) == pytest.approx(1, abs=0.01)


def test_tokens_of_hedges_are_saved_within_a_bound() -> None:
    hedging = Hedging(Hedge(seconds=0.01))
    for _ in range(100_000):
        hedging.after_s()
    assert sum(hedging.may() for _ in range(1000)) <= 20


QUERIES = 1000


def pareto(drawn: random.Random, alpha: float = 1.3, scale_s: float = 0.002) -> Script:
    """Answers whose times have a heavy tail, a lost one now and then."""

    def script(octets: bytes) -> Any:
        return [(min(scale_s * drawn.paretovariate(alpha), 10.0), reply(octets))]

    return script


def taken(offline: Offline, number: int) -> list[float]:
    """What so many queries took, made one every 5 ms."""
    waiting: deque[tuple[float, Asked]] = deque()
    for which in range(number):
        waiting.append((offline.flights.now, offline.start(query(f"{which}.example.org"))))
        offline.run(0.005)
    offline.run(5)
    return sorted(asked.at - began for began, asked in waiting)


def test_a_heavy_tail_is_cut_by_half_with_a_tenth_more_queries(offline: Offline) -> None:
    drawn = random.Random(5)
    plain = sorted(min(0.002 * drawn.paretovariate(1.3), 10.0) for _ in range(20_000))
    configured(
        offline, forward(A, B, C, policy="latency", hedge="p95"), A=pareto(drawn), B=pareto(drawn), C=pareto(drawn)
    )
    times = taken(offline, QUERIES)
    asked = sum(counts(offline))
    assert times[int(0.99 * len(times))] <= 0.5 * plain[int(0.99 * len(plain))]
    assert QUERIES < asked <= 1.1 * QUERIES
    assert status(offline)["hedges"] <= 0.1 * QUERIES
    assert times[-1] <= 4.6
