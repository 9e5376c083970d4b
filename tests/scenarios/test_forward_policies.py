"""Policies, hedges and late attempts as their users and taps see them."""

import time

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import ask, exchange
from tests.support.collector import Collector
from tests.support.load import ask_many
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

LONG = {"timeout": "2s", "deadline": "4500ms"}


def test_weights_of_tables_are_shares(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    to = f'[{{address = "{upstream.address}", weight = 9}}, "{second_upstream.address}"]'
    proxy = start_proxy(f'[[forward]]\nto = {to}\npolicy = "weighted"\n')
    ask_many(proxy.port, 300)
    assert 10 <= len(second_upstream.seen) <= 60


def test_a_second_group_is_asked_only_while_the_first_is_down(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    to = f'[{{address = "{upstream.address}", group = 1}}, {{address = "{second_upstream.address}", group = 2}}]'
    proxy = start_proxy(f"[[forward]]\nto = {to}\n")
    ask_many(proxy.port, 50)
    assert not second_upstream.seen
    upstream.close_port()
    for number in range(10):
        exchange(wire.query(f"finding{number}.example.org"), proxy.port)
    assert wire.addresses(ask(wire.query("second.example.org"), proxy.port)) == ["192.0.2.2"]
    upstream.open_port()
    proxy.wait_for_status(lambda status: all(one["state"] == "up" for one in status["upstreams"]), "both up")
    assert wire.addresses(ask(wire.query("first.example.org"), proxy.port)) == ["192.0.2.1"]


def test_failfast_answers_at_once_and_counts(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    upstream.close_port()
    proxy = start_proxy(forward(upstream, all_down="failfast", **LONG))
    for number in range(5):
        exchange(wire.query(f"finding{number}.example.org"), proxy.port)
    answer = ask(wire.query("down.example.org", edns=True), proxy.port)
    error = wire.ede(answer)
    assert error is not None
    assert error[0] == 22
    assert proxy.status()["plugins"]["forward"]["failfast"] >= 1


def test_a_race_is_tapped_as_it_was_and_its_loser_is_not_waited_for(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.default = behaviours.delay(300)
    extra = "{/forward/upstream} {/forward/attempt} {/forward/attempts} {/forward/outcome}"
    body = forward(upstream, second_upstream, policy="parallel", **LONG) + dnstap(to=collector, extra=extra)
    proxy = start_proxy(body)
    started = time.monotonic()
    assert wire.addresses(ask(wire.query("race.example.org"), proxy.port)) == ["192.0.2.2"]
    assert time.monotonic() - started < 0.25
    proxy.wait_for_status(lambda status: all(not one["in_flight"] for one in status["upstreams"]), "both are over")
    collector.wait_for(5)
    time.sleep(0.05)
    told = [(message.type, (message.extra or "").split()) for message in collector.messages]
    assert len(told) == 5, "CLIENT_* and of FORWARDER_* two queries and one response"
    asked = [words for kind, words in told if kind == "FQ"]
    assert {words[0] for words in asked} == {upstream.address, second_upstream.address}
    assert [words[1] for words in asked] == ["1", "2"]
    (won,) = [words for kind, words in told if kind == "FR"]
    (final,) = [words for kind, words in told if kind == "CR"]
    assert won[0] == final[0] == second_upstream.address
    assert (won[1], won[3]) == (final[1], final[3])
    assert final[2:] == ["2", "answered"]


def test_in_a_race_over_tcp_each_query_has_the_labels_of_its_own_attempt(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.default = second_upstream.default = behaviours.delay(50)
    tap = dnstap(to=collector, extra="{/forward/upstream}")
    proxy = start_proxy(tap + forward(upstream, second_upstream, policy="parallel", force_tcp=True, **LONG))
    exchange(wire.query("race.example.org"), proxy.port)
    asked = collector.wait_for(2, "FQ")
    assert len({one.response_port for one in asked}) == 2
    assert [one.extra for one in asked] == [f"{one.response_address}:{one.response_port}" for one in asked]


def test_one_that_has_become_silent_costs_a_quarter_of_a_second_until_it_is_down(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    proxy = start_proxy(forward(upstream, second_upstream, policy="sequential", **LONG))
    ask_many(proxy.port, 20)
    upstream.default = behaviours.drop
    for number in range(3):
        started = time.monotonic()
        assert wire.addresses(ask(wire.query(f"late{number}.example.org"), proxy.port)) == ["192.0.2.2"]
        assert 0.25 <= time.monotonic() - started < 0.6
    proxy.wait_for_status(lambda status: status["upstreams"][0]["state"] != "up", "the silent one is down")
