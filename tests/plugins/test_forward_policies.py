"""Which upstream is asked first: policies, weights, groups, slow start; alone and by the hundred."""

import random
from collections import Counter
from typing import Any

import pytest
from dnsproxy_forward import Forward
from dnsproxy_forward.stanza import Stanza

from dnsproxy.errors import EDE_NO_REACHABLE_AUTHORITY
from tests.plugins.forwarding import NOERROR, NXDOMAIN, REFUSED, SERVFAIL, A, B, C, configured, counts, forward
from tests.support.offline import Offline, answering, closed, query, reply, silent, slow

POLICIES = ["random", "round_robin", "sequential", "latency", "hash", "weighted", "parallel"]
SHARED = [policy for policy in POLICIES if policy != "sequential"]
MANY = 300


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(7)


def table(address: str, **keys: object) -> Any:
    return {"address": address, **keys}


def tables(*upstreams: object, **keys: object) -> str:
    return forward(**{"to": list(upstreams), **keys})


def answered(offline: Offline, *stanzas: str) -> Offline:
    """All three answer, each its own address."""
    scripts = {name: answering(f"192.0.2.{number}") for number, name in enumerate("ABC", 1)}
    return configured(offline, *stanzas, **scripts)


def ask_many(offline: Offline, number: int, label: str = "") -> list[int]:
    """How often A, B and C, which are equally fast, were asked for so many names, one after the other."""
    offline.network.asked.clear()
    for which in range(number):
        for upstream in offline.upstreams.values():
            upstream.rtt_ns = 0.0
        assert offline.ask(f"{which}{label}.example.org").answers
    return counts(offline)


def work(offline: Offline) -> Stanza:
    assert offline.chain is not None
    (plugin,) = (plugin for plugin in offline.chain.plugins if isinstance(plugin, Forward))
    return plugin.work[0]


def down(offline: Offline, *servers: str) -> None:
    """Those that nobody listens at are found to be down."""
    for server in servers:
        offline.network.scripts[server] = closed
    for number in range(60):
        for upstream in offline.upstreams.values():
            upstream.rtt_ns = 0.0  # none is faster
        offline.ask(f"finding{number}.example.org", run_s=0.001)
        if not any(offline.upstreams[server].up for server in servers):
            return
    raise AssertionError("still up")


# shares


@pytest.mark.parametrize("policy", ["weighted", "random"])
def test_weights_are_shares(policy: str, offline: Offline) -> None:
    answered(offline, tables(table(A, weight=6), table(B, weight=3), C, policy=policy))
    asked = ask_many(offline, 500)
    assert asked == pytest.approx([300, 150, 50], abs=45)


def test_names_are_spread_by_weight_too(offline: Offline) -> None:
    answered(offline, tables(table(A, weight=6), table(B, weight=3), C, policy="hash"))
    assert ask_many(offline, 500) == pytest.approx([300, 150, 50], abs=80)


@pytest.mark.parametrize("policy", SHARED)
def test_each_gets_its_share_of_names(policy: str, offline: Offline) -> None:
    answered(offline, forward(A, B, C, policy=policy))
    asked = ask_many(offline, 300)
    assert min(asked) > 60


# latency


def test_of_two_the_faster_one_is_asked(offline: Offline, monkeypatch: pytest.MonkeyPatch) -> None:
    answered(offline, forward(A, B, policy="latency"))
    for server, rtt_ns in ((A, 1e6), (B, 50e6)):
        offline.upstreams[server].rtt_ns = rtt_ns
    offline.network.scripts[B] = silent
    asked = [offline.start(query(f"{number}.example.org")) for number in range(300)]
    offline.run(0)
    assert counts(offline)[1] < 20, "but now and then the slow one, for it may have become quick"
    assert len(asked) == sum(counts(offline))


def test_one_that_lets_queries_wait_is_asked_less_though_it_was_fast(offline: Offline) -> None:
    answered(offline, forward(A, B, policy="latency"))
    offline.upstreams[A].rtt_ns = offline.upstreams[B].rtt_ns = 2e6
    offline.network.scripts[A] = silent
    for number in range(200):
        offline.start(query(f"{number}.example.org"))
        offline.run(0)
    assert counts(offline)[0] < 10


def test_one_that_has_never_answered_is_tried(offline: Offline) -> None:
    answered(offline, forward(A, B, policy="latency"))
    offline.upstreams[A].rtt_ns = 20e6
    for number in range(20):
        offline.ask(f"{number}.example.org")
    assert offline.upstreams[B].queries > 0


# hash


def by_name(offline: Offline, number: int = 300) -> dict[str, str]:
    """Which upstream each name goes to."""
    found = {}
    for which in range(number):
        offline.network.asked.clear()
        offline.ask(f"name{which}.example.org")
        found[f"name{which}"] = offline.network.asked[0][0]
    return found


def test_a_name_always_goes_to_the_same_upstream_in_whatever_case(offline: Offline) -> None:
    answered(offline, forward(A, B, C, policy="hash"))
    assert by_name(offline, 50) == by_name(offline, 50)
    for name in ("same.example.org", "SAME.example.ORG", "sAmE.Example.oRg"):
        offline.ask(name)
    assert len({server for server, octets in offline.network.asked if b"same" in octets.lower()}) == 1


def test_only_the_names_of_one_that_goes_down_move_and_they_come_back(offline: Offline) -> None:
    answered(offline, forward(A, B, C, policy="hash", slow_start="0s"))
    before = by_name(offline)
    down(offline, A)
    without = by_name(offline)
    assert {name for name in before if before[name] != without[name]} == {name for name in before if before[name] == A}
    offline.network.scripts[A] = answering()
    offline.run(5)
    assert by_name(offline) == before


def test_names_stay_where_they_were_when_another_upstream_is_added(offline: Offline) -> None:
    answered(offline, forward(A, B, policy="hash"))
    before = by_name(offline)
    other = Offline()
    answered(other, forward(A, B, C, policy="hash"))
    after = by_name(other)
    other.close()
    moved = [name for name in before if before[name] != after[name]]
    assert {after[name] for name in moved} == {C}
    assert len(moved) < 150


def test_a_name_that_everybody_asks_for_is_spread_when_it_is_too_much_for_one(offline: Offline) -> None:
    configured(offline, forward(A, B, C, policy="hash"))
    for number in range(300):
        offline.start(query("hot.example.org", id=number), partition=b"%d" % number)
    offline.run(0)
    assert sum(counts(offline)) == 300
    assert max(counts(offline)) <= 1.25 * 100 + 1


def test_a_few_in_flight_are_never_too_much(offline: Offline) -> None:
    configured(offline, forward(A, B, C, policy="hash"))
    for number in range(4):
        offline.start(query("hot.example.org", id=number), partition=b"%d" % number)
    offline.run(0)
    assert sorted(counts(offline)) == [0, 0, 4]


# groups


@pytest.mark.parametrize("policy", POLICIES)
def test_the_next_group_is_asked_only_while_all_of_the_one_before_are_down(policy: str, offline: Offline) -> None:
    body = tables(table(A, group=1), table(B, group=1), table(C, group=2), policy=policy, slow_start="0s")
    answered(offline, body)
    assert ask_many(offline, 40, "a")[2] == 0
    down(offline, A)
    assert ask_many(offline, 20, "b")[2] == 0
    down(offline, B)
    asked = ask_many(offline, 20, "c")
    assert asked == [0, 0, 20]
    offline.network.scripts[B] = answering("192.0.2.2")
    offline.run(4)
    assert ask_many(offline, 20, "d") == [0, 20, 0]


def test_groups_are_taken_by_number_not_by_place(offline: Offline) -> None:
    answered(offline, tables(table(A, group=7), table(B, group=2), C))
    assert ask_many(offline, 20) == [0, 0, 20]


def test_a_first_group_that_goes_down_under_a_query_leaves_it_to_the_next(offline: Offline) -> None:
    answered(offline, tables(table(A, group=1), table(B, group=2), max_attempts=6, timeout="100ms"))
    offline.network.scripts[A] = silent
    asked = offline.ask(run_s=2)
    assert asked.addresses == ["192.0.2.2"]
    assert counts(offline) == [3, 1, 0], "after three timeouts it is down"


# all down


@pytest.mark.parametrize("policy", POLICIES)
def test_all_down_and_spray_tries_as_if_they_were_up(policy: str, offline: Offline) -> None:
    answered(offline, forward(A, B, policy=policy))
    down(offline, A, B)
    offline.network.scripts[A] = offline.network.scripts[B] = answering()
    assert offline.ask("again.example.org").rcode == NOERROR


@pytest.mark.parametrize("to", [[A], [A, B]])
@pytest.mark.parametrize("policy", POLICIES)
def test_all_down_and_failfast_is_servfail_at_once_and_counted(policy: str, to: list[str], offline: Offline) -> None:
    answered(offline, forward(*to, policy=policy, all_down="failfast"))
    down(offline, *to)
    offline.network.asked.clear()
    offline.network.scripts.update(dict.fromkeys(to, answering()))
    before = work(offline).counters.failfast
    asked = offline.ask("again.example.org", use_edns=0)
    assert (asked.rcode, asked.ede, counts(offline)) == (SERVFAIL, EDE_NO_REACHABLE_AUTHORITY, [0, 0, 0])
    assert offline.chain is not None
    assert offline.chain.plugins[0].status()["failfast"] == before + 1  # type: ignore[index]
    assert work(offline).in_flight == 0
    offline.run(4)
    assert offline.ask("later.example.org").rcode == NOERROR


def test_failfast_ends_a_query_under_which_the_last_one_goes_down(offline: Offline) -> None:
    configured(offline, forward(A, all_down="failfast", timeout="100ms", max_attempts=6))
    asked = offline.ask(use_edns=0, run_s=5)
    assert (asked.rcode, asked.ede, asked.at) == (SERVFAIL, EDE_NO_REACHABLE_AUTHORITY, pytest.approx(0.3))


# slow start


@pytest.mark.parametrize("policy", ["random", "weighted", "round_robin", "latency", "hash"])
def test_one_that_is_up_again_gets_its_share_back_slowly(policy: str, offline: Offline) -> None:
    answered(offline, forward(A, B, policy=policy, slow_start="100s"))
    full = ask_many(offline, 200, "full")[0]
    down(offline, A)
    offline.network.scripts[A] = answering()
    while not offline.upstreams[A].up:
        offline.run(0.1)
    risen_at = offline.upstreams[A].risen_at
    shares = []
    for past_s in (0.0, 50.0, 100.0):
        offline.run(risen_at + past_s - offline.flights.now)
        shares.append(ask_many(offline, 200, f"after{past_s}")[0] / full)
    assert shares[0] < 0.15
    assert shares[1] == pytest.approx(0.5, abs=0.2)
    assert shares[2] > 0.75


def test_slow_start_keeps_nobody_waiting_when_it_is_the_only_one(offline: Offline) -> None:
    answered(offline, forward(A, slow_start="100s"))
    down(offline, A)
    offline.network.scripts[A] = answering()
    offline.run(3)
    assert ask_many(offline, 50)[0] == 50


def test_without_slow_start_it_has_its_share_at_once(offline: Offline) -> None:
    answered(offline, forward(A, B, slow_start="0s"))
    down(offline, A)
    offline.network.scripts[A] = answering()
    offline.run(3)
    assert ask_many(offline, 200)[0] > 60


# parallel


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


# by the hundred


@pytest.mark.parametrize("policy", POLICIES)
def test_hundreds_of_upstreams(policy: str, offline: Offline) -> None:
    servers = [f"127.0.{number // 250}.{number % 250 + 1}:5301" for number in range(MANY)]
    offline.configure(forward(*servers, policy=policy, slow_start="0s"))
    offline.network.scripts.update(dict.fromkeys(servers, reply))
    for number in range(MANY):
        assert offline.ask(f"{number}.example.org").answers
    seen = Counter(server for server, _ in offline.network.asked)
    if policy == "sequential":
        assert set(seen) == {servers[0]}
    else:
        assert len(seen) > MANY // 3
        assert max(seen.values()) < 40


@pytest.mark.parametrize("policy", ["random", "weighted", "round_robin", "latency", "hash"])
def test_choosing_looks_at_few_of_hundreds(policy: str, offline: Offline) -> None:
    servers = [f"127.0.{number // 250}.{number % 250 + 1}:5301" for number in range(MANY)]
    offline.configure(tables(*(table(server, weight=1 + at % 3) for at, server in enumerate(servers)), policy=policy))
    chooser = work(offline).chooser
    work(offline).look()
    looked_at: list[int] = []

    class Watched(tuple[Any, ...]):
        __slots__ = ()

        def __getitem__(self, index: Any) -> Any:
            looked_at.append(1)
            return tuple.__getitem__(self, index)

        def __iter__(self) -> Any:
            raise AssertionError("all of them")

    chooser.active = Watched(chooser.active)
    for number in range(300):
        chooser.first(b"\x04%04d\0" % number, 10)
    assert len(looked_at) <= 5 * 300
