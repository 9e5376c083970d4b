"""The policy `parallel`: several upstreams are asked at once, and the first good answer wins."""

import pytest

from tests.plugins.forwarding import NOERROR, NXDOMAIN, REFUSED, SERVFAIL, A, B, C, configured, counts, forward
from tests.plugins.policies import answered, work
from tests.support.offline import Offline, answering, closed, query, silent, slow

pytestmark = pytest.mark.usefixtures("seeded")


def test_parallel_asks_so_many_at_once_and_the_first_good_answer_wins(offline: Offline) -> None:
    configured(
        offline,
        forward(A, B, C, policy="parallel", parallel_width=3),
        A=slow(0.3, answering("192.0.2.1")),
        B=slow(0.1, answering("192.0.2.2")),
        C=slow(0.2, answering("192.0.2.3")),
    )
    asked = offline.ask(run_s=1)
    assert (asked.addresses, asked.at, counts(offline)) == (["192.0.2.2"], pytest.approx(0.1), [1, 1, 1])
    labels = [asked.label(name) for name in ("upstream", "attempts", "outcome")]
    assert labels == [B, 3, "answered"]
    assert {upstream.in_flight for upstream in offline.upstreams.values()} == {0}


@pytest.mark.parametrize(("width", "expected"), [(None, 2), (2, 2), (3, 3), (16, 3)])
def test_parallel_is_as_wide_as_it_says(width: int | None, expected: int, offline: Offline) -> None:
    keys = {} if width is None else {"parallel_width": width}
    answered(offline, forward(A, B, C, policy="parallel", **keys))
    for number in range(20):
        offline.network.asked.clear()
        offline.ask(f"{number}.example.org")
        assert sorted(counts(offline), reverse=True)[:expected] == [1] * expected
        assert sum(counts(offline)) == expected


@pytest.mark.parametrize("rcode", [NOERROR, NXDOMAIN])
@pytest.mark.parametrize("bad", [SERVFAIL, 5, 1])
def test_parallel_waits_for_a_better_answer_than_a_bad_one(bad: int, rcode: int, offline: Offline) -> None:
    configured(
        offline,
        forward(A, B, policy="parallel"),
        A=answering(rcode=bad),
        B=slow(0.2, answering("192.0.2.2", rcode=rcode)),
    )
    asked = offline.ask(run_s=1)
    assert (asked.rcode, asked.at, asked.label("upstream")) == (rcode, pytest.approx(0.2), B)


def raced(offline: Offline) -> Offline:
    """A and B in a race; so far both have answered within a millisecond."""
    answered(offline, forward(A, B, policy="parallel"))
    for upstream in offline.upstreams.values():
        upstream.rtt_ns, upstream.rttvar_ns = 1e6, 1e5
    return offline


def test_a_late_one_of_a_race_may_still_win_it(offline: Offline) -> None:
    raced(offline).network.scripts.update({A: slow(0.4, answering()), B: silent})
    for number in range(4):
        started = offline.flights.now
        asked = offline.ask(f"{number}.example.org", run_s=0.45)
        assert (asked.addresses, asked.at - started) == (["192.0.2.1"], pytest.approx(0.4))


def test_a_race_waits_for_a_late_answer_rather_than_give_a_bad_one(offline: Offline) -> None:
    raced(offline).network.scripts.update({A: answering(rcode=SERVFAIL), B: slow(0.8, answering("192.0.2.2"))})
    for number in range(6):
        assert offline.ask(f"{number}.example.org", run_s=3).addresses == ["192.0.2.2"], "whoever was asked first"


def test_a_race_of_a_bad_answer_and_none_ends_with_the_bad_one(offline: Offline) -> None:
    raced(offline).network.scripts.update({A: answering(rcode=SERVFAIL), B: silent})
    asked = offline.ask(run_s=5)
    assert (asked.rcode, asked.at, counts(offline)) == (SERVFAIL, pytest.approx(2.0), [1, 1, 0])


def test_parallel_gives_a_bad_answer_when_there_is_none_better(offline: Offline) -> None:
    configured(
        offline, forward(A, B, policy="parallel"), A=answering(rcode=SERVFAIL), B=slow(0.1, answering(rcode=REFUSED))
    )
    asked = offline.ask(run_s=1)
    assert (asked.rcode, asked.at) == (REFUSED, pytest.approx(0.1))
    configured(other := Offline(), forward(A, B, policy="parallel"), A=answering(rcode=SERVFAIL), B=closed)
    assert other.ask(run_s=1).rcode == SERVFAIL
    other.close()


def test_parallel_goes_on_when_all_of_the_first_have_failed(offline: Offline) -> None:
    answered(offline, forward(A, B, C, policy="parallel"))
    offline.network.scripts.update({A: closed, B: closed})
    for number in range(3):
        assert offline.ask(f"{number}.example.org", run_s=0.01).addresses == ["192.0.2.3"]


def test_parallel_shares_answers_too(offline: Offline) -> None:
    configured(offline, forward(A, B, policy="parallel"), A=slow(0.1, answering()), B=silent)
    asked = [offline.start(query(id=number)) for number in range(3)]
    offline.run(1)
    assert [one.addresses for one in asked] == [["192.0.2.1"]] * 3
    assert counts(offline) == [1, 1, 0]
    assert (work(offline).in_flight, work(offline).leaders) == (0, ({}, {}))


def test_a_silent_one_in_a_race_that_another_wins_is_found_to_be_down_all_the_same(offline: Offline) -> None:
    configured(offline, forward(A, B, policy="parallel"), A=answering())
    for number in range(3):
        assert offline.ask(f"{number}.example.org").answers
    offline.run(2.0)
    assert not offline.upstreams[B].up
    assert offline.upstreams[A].up
