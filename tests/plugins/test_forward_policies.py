"""Which upstream is asked first: policies, weights, groups, slow start; alone and by the hundred."""

from collections import Counter
from typing import Any

import pytest

from dnsproxy.errors import EDE_NO_REACHABLE_AUTHORITY
from tests.plugins.forwarding import NOERROR, SERVFAIL, A, B, C, configured, counts, forward
from tests.plugins.policies import POLICIES, answered, ask_many, down, table, tables, work
from tests.support.offline import Offline, answering, query, reply, silent

pytestmark = pytest.mark.usefixtures("seeded")
SHARED = [policy for policy in POLICIES if policy != "sequential"]
MANY = 300


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
