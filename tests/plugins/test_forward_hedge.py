"""A second upstream beside a first that is late: hedges and their budget, adaptive timeouts, labels of both."""

import random
from collections import deque
from typing import Any

import dns.flags
import pytest
from dnsproxy_forward.hedging import Hedging
from dnsproxy_forward.timing import Lateness, Percentile
from dnsproxy_forward.words import Hedge

from dnsproxy.plugin import Tap
from dnsproxy.upstream.exchange import CANCELLED, Exchange
from tests.plugins.forwarding import NXDOMAIN, SERVFAIL, A, B, C, configured, counts, forward
from tests.support.offline import Asked, Offline, Script, answering, closed, query, reply, silent, slow

HEDGED: dict[str, Any] = {"policy": "sequential", "hedge": "30ms"}


class Told(Tap):
    """Remembers every FORWARDER_* message with the labels that a template would show then."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, object]]] = []

    def wants(self, kind: int) -> bool:
        return True

    def forwarder_query(self, event: Any) -> None:
        self.told.append(("query", self.labels(event)))

    def forwarder_response(self, event: Any) -> None:
        self.told.append(("response", self.labels(event)))

    def labels(self, event: Any) -> dict[str, object]:
        return {label.removeprefix("forward/"): value for label, value in event.query.metadata.items()}


def told_of(offline: Offline) -> list[tuple[str, dict[str, object]]]:
    from dnsproxy.upstream.taps import Taps

    tap = Told()
    assert offline.chain is not None
    for stanza in offline.chain.plugins[-1].work:  # type: ignore[attr-defined]
        stanza.taps = Taps.among([tap])
    return tap.told


def status(offline: Offline) -> dict[str, Any]:
    assert offline.chain is not None
    return offline.chain.plugins[-1].status() or {}


def warm(offline: Offline, number: int = 100) -> None:
    """So many queries that are answered at once: what answers take is known then."""
    for which in range(number):
        offline.ask(f"warm{which}.example.org", run_s=0.001)
    offline.network.asked.clear()


def late(offline: Offline, **scripts: Script) -> Offline:
    """A and B answered quickly so far; A has just become what the script says."""
    configured(offline, forward(A, B, policy="sequential"), A=slow(0.002, answering()), B=answering("192.0.2.2"))
    warm(offline, 5)
    offline.upstreams[B].rtt_ns, offline.upstreams[B].rttvar_ns = 2e6, 1e5
    offline.network.scripts.update({{"A": A, "B": B}[name]: script for name, script in scripts.items()})
    return offline


def labels(asked: Asked) -> list[object]:
    return [asked.label(name) for name in ("upstream", "attempt", "attempts", "outcome")]


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(7)


# hedges


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
    from dnsproxy.upstream.upstream import Changes

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


# what is late


def test_an_attempt_that_is_late_has_another_one_beside_it(offline: Offline) -> None:
    late(offline, A=silent)
    started = offline.flights.now
    asked = offline.ask(run_s=3)
    assert (asked.addresses, asked.at - started) == (["192.0.2.2"], pytest.approx(0.25))
    assert (labels(asked), counts(offline)) == ([B, 2, 2, "answered"], [1, 1, 0])


def test_failover_that_meets_silence_goes_on_to_the_next_one(offline: Offline) -> None:
    keys = {"policy": "sequential", "failover": ["SERVFAIL"]}
    configured(offline, forward(A, B, C, **keys), B=answering(), C=answering("192.0.2.3"))
    offline.network.scripts[A] = answering(rcode=SERVFAIL)
    warm(offline, 5)
    offline.upstreams[B].rtt_ns, offline.upstreams[B].rttvar_ns = 2e6, 1e5
    offline.network.scripts[B] = silent
    started = offline.flights.now
    asked = offline.ask(run_s=3)
    assert (asked.addresses, asked.at - started) == (["192.0.2.3"], pytest.approx(0.25))


def test_failover_in_vain_gives_the_answer_there_is_when_all_have_been_tried(offline: Offline) -> None:
    configured(offline, forward(A, B, policy="sequential", failover=["SERVFAIL"]), A=answering(rcode=SERVFAIL))
    started = offline.flights.now
    asked = offline.ask(run_s=5)
    assert (asked.rcode, asked.at - started, counts(offline)) == (SERVFAIL, pytest.approx(2.0), [1, 1, 0])


def test_a_late_answer_still_wins_over_silence(offline: Offline) -> None:
    late(offline, A=slow(1.0, answering()), B=silent)
    started = offline.flights.now
    asked = offline.ask(run_s=3)
    assert (labels(asked), asked.at - started) == ([A, 1, 2, "answered"], pytest.approx(1.0))


def test_a_late_attempt_counts_as_timeout_when_it_has_truly_had_none(offline: Offline) -> None:
    late(offline, A=silent)
    for number in range(3):
        assert offline.ask(f"{number}.example.org", run_s=0.3).answers
    assert (offline.upstreams[A].up, offline.upstreams[A].timeouts, offline.upstreams[A].in_flight) == (True, 0, 3)
    offline.run(1.8)
    assert (offline.upstreams[A].up, offline.upstreams[A].timeouts) == (False, 3)


def test_an_answer_that_nobody_waits_for_any_more_says_how_the_upstream_does(offline: Offline) -> None:
    late(offline, A=slow(0.6, answering()))
    before = offline.upstreams[A].rtt_ns
    told = told_of(offline)
    asked = offline.ask(run_s=0.3)
    upstream = offline.upstreams[A]
    responses = upstream.responses
    offline.run(1)
    assert (upstream.in_flight, upstream.timeouts, upstream.failures, upstream.mismatches) == (0, 0, 0, 0)
    assert upstream.responses == responses, "what is not tapped is not counted"
    assert [kind for kind, _ in told] == ["query", "query", "response"]
    assert upstream.rtt_ns != before
    assert labels(asked) == [B, 2, 2, "answered"], "and the query's labels stay"


def test_a_late_upstream_is_given_longer_when_it_always_takes_long(offline: Offline) -> None:
    configured(offline, forward(A, B, policy="sequential"), A=slow(0.4, answering()), B=answering())
    for number in range(10):
        offline.upstreams[A].rtt_ns, offline.upstreams[A].rttvar_ns = 0.4e9, 1e6
        offline.ask(f"{number}.example.org", run_s=0.5)
    assert counts(offline) == [10, 0, 0]


@pytest.mark.parametrize("to", [[A], [A, B]])
def test_with_nobody_else_who_is_up_or_nothing_known_an_attempt_has_the_whole_timeout(
    to: list[str], offline: Offline
) -> None:
    configured(offline, forward(*to, policy="sequential"), A=answering(), B=closed)
    if len(to) == 1:
        warm(offline, 5)
    offline.network.scripts[A] = silent
    asked = offline.ask(run_s=1.9)
    assert (asked.answers, counts(offline)[0]) == ([], 1)


def test_wrong_replies_get_no_further_query_to_guess(offline: Offline) -> None:
    late(offline, A=lambda octets: [(0.01, reply(octets).replace(b"www", b"wwx"))])
    asked = offline.ask(run_s=1.9)
    assert (asked.answers, counts(offline)) == ([], [1, 0, 0])
    offline.run(1)
    assert asked.addresses == ["192.0.2.2"]


def test_many_wrong_replies_still_turn_to_tcp(offline: Offline) -> None:
    late(offline, A=lambda octets: [reply(octets).replace(b"www", b"wwx")] * 30)
    offline.network.scripts[f"tcp://{A}"] = answering("192.0.2.99")
    assert offline.ask().addresses == ["192.0.2.99"]


def test_all_measured_and_then_silent_every_attempt_is_made_within_the_deadline(offline: Offline) -> None:
    late(offline, A=silent, B=silent)
    started = offline.flights.now
    asked = offline.ask(run_s=5)
    assert (asked.rcode, asked.at - started) == (SERVFAIL, pytest.approx(4.5, abs=0.06))
    assert (asked.label("attempts"), asked.label("outcome")) == (4, "timeout")
    assert {upstream.in_flight for upstream in offline.upstreams.values() if upstream.up} <= {0}


def test_one_beside_that_is_refused_leaves_the_late_one_its_time(offline: Offline) -> None:
    late(offline, A=slow(1.0, answering()), B=closed)
    assert labels(offline.ask(run_s=3)) == [A, 1, 2, "answered"]


def test_a_truncated_answer_of_the_one_beside_is_fetched_by_tcp(offline: Offline) -> None:
    late(offline, A=silent, B=answering(flags=dns.flags.TC))
    offline.network.scripts[f"tcp://{B}"] = answering("192.0.2.99")
    asked = offline.ask(run_s=1)
    assert (asked.addresses, labels(asked)) == (["192.0.2.99"], [B, 3, 3, "answered"])


def test_followers_get_the_answer_of_the_one_beside(offline: Offline) -> None:
    late(offline, A=silent)
    asked = [offline.start(query(id=number)) for number in range(3)]
    offline.run(1)
    assert [one.addresses for one in asked] == [["192.0.2.2"]] * 3
    assert [labels(one) for one in asked] == [[B, 2, 2, "answered"]] * 3


@pytest.mark.parametrize("cache", ["", "[cache]\n"], ids=["alone", "behind a cache"])
def test_a_late_attempt_behind_a_cache_is_helped_too(cache: str, offline: Offline) -> None:
    configured(offline, cache, forward(A, B, policy="sequential"), A=answering(), B=answering("192.0.2.2"))
    warm(offline, 5)
    offline.network.scripts[A] = silent
    asked = offline.ask(run_s=1)
    assert asked.addresses == ["192.0.2.2"]
    assert offline.intake.in_flight == 0


# labels


def test_each_message_has_the_labels_of_its_own_attempt(offline: Offline) -> None:
    scripts = {"A": slow(0.3, answering(rcode=SERVFAIL)), "B": slow(0.1, answering("192.0.2.2"))}
    configured(offline, forward(A, B, C, policy="parallel", parallel_width=3), **scripts, C=slow(0.05, closed))
    told = told_of(offline)
    asked = offline.ask(run_s=1)
    seen = {(kind, label["upstream"]): label for kind, label in told}
    assert [kind for kind, _ in told] == ["query", "query", "query", "response"]
    assert sorted(int(str(label["attempt"])) for kind, label in told if kind == "query") == [1, 2, 3]
    assert all("outcome" not in label for kind, label in told if kind == "query")
    assert seen["response", B]["attempt"] == seen["query", B]["attempt"] == asked.label("attempt")
    assert (asked.label("upstream"), asked.label("outcome"), asked.label("attempts")) == (B, "answered", 3)


def test_a_bad_answer_that_comes_first_is_told_as_what_it_is(offline: Offline) -> None:
    configured(
        offline, forward(A, B, policy="parallel"), A=slow(0.1, answering(rcode=SERVFAIL)), B=slow(0.2, answering())
    )
    told = told_of(offline)
    asked = offline.ask(run_s=1)
    responses = [label for kind, label in told if kind == "response"]
    assert [label["upstream"] for label in responses] == [A, B]
    assert [label["outcome"] for label in responses] == ["answered"] * 2
    assert asked.label("upstream") == B


# an exchange that is left


def test_an_exchange_that_was_not_sent_yet_is_cancelled_when_it_is_left(offline: Offline) -> None:
    configured(offline, forward(A), A=silent)
    offline.ask()
    upstream = offline.upstreams[A]
    exchange = Exchange(offline.start(query("left.example.org")).query, upstream, 1, (b"\0", "."), None)
    upstream.in_flight += 1
    exchange.timer = None
    exchange.leave()
    assert (exchange.done, exchange.outcome) == (True, CANCELLED)
    exchange.leave()
    assert exchange.outcome == CANCELLED


@pytest.mark.parametrize(
    ("average_s", "deviation_s", "late_s"),
    [(0.0, 0.0, 2.0), (0.001, 0.0, 0.25), (0.1, 0.05, 0.3536), (0.3, 0.1, 0.7071), (1.0, 1.0, 2.0)],
)
def test_when_an_attempt_is_late(average_s: float, deviation_s: float, late_s: float, offline: Offline) -> None:
    configured(offline, forward(A))
    upstream = offline.upstreams[A]
    upstream.rtt_ns, upstream.rttvar_ns = average_s * 1e9, deviation_s * 1e9
    assert Lateness(2.0).of(upstream) == pytest.approx(late_s, rel=0.001)
    assert Lateness(0.1).of(upstream) == 0.1


# on time

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
