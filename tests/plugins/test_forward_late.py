"""An attempt that is later than its upstream ever was has another one beside it; labels tell of both."""

import dns.flags
import pytest
from dnsproxy_forward.timing import Lateness

from dnsproxy.upstream.exchange import CANCELLED, Exchange
from tests.plugins.forwarding import SERVFAIL, A, B, C, configured, counts, forward
from tests.plugins.lateness import labels, late, told_of, warm
from tests.support.offline import Offline, answering, closed, query, reply, silent, slow

pytestmark = pytest.mark.usefixtures("seeded")


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


def test_a_truncated_answer_is_better_than_a_bad_one_of_the_one_beside(offline: Offline) -> None:
    late(offline, A=slow(0.3, answering(flags=dns.flags.TC)), B=slow(0.1, answering(rcode=SERVFAIL)))
    asked = offline.ask(run_s=4)
    assert (asked.rcode, asked.answer.flags & dns.flags.TC) == (0, dns.flags.TC)


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


def test_when_all_fail_at_once_the_client_is_told_of_the_last_attempt(offline: Offline) -> None:
    configured(offline, forward(A, B, policy="parallel", max_attempts=2, timeout="500ms"), A=silent, B=silent)
    told = told_of(offline)
    asked = offline.ask(run_s=3)
    last = max((labels for _, labels in told), key=lambda labels: int(str(labels["attempt"])))
    assert [asked.label(name) for name in ("attempt", "attempts", "outcome")] == [2, 2, "timeout"]
    assert asked.label("upstream") == last["upstream"]


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
