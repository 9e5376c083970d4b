"""Forward at work, without a network: who is asked, how often, for how long, and who shares an answer."""

import logging
from typing import Any

import dns.flags
import dns.rcode
import pytest
from dnsproxy_forward.stanza import COUNTED

from dnsproxy.errors import EDE_NETWORK_ERROR, EDE_NO_REACHABLE_AUTHORITY
from tests.plugins.forwarding import (
    NOERROR,
    NXDOMAIN,
    REFUSED,
    SERVFAIL,
    A,
    B,
    C,
    configured,
    counts,
    forward,
    together,
)
from tests.support.offline import Offline, Script, answering, closed, query, reply, silent, slow

# one upstream


def test_the_client_gets_the_upstreams_answer_as_its_own(offline: Offline) -> None:
    configured(offline, forward(A), A=answering())
    asked = offline.ask("WWW.Example.org", id=7)
    assert asked.addresses == ["192.0.2.1"]
    assert asked.answer.id == 7
    assert asked.answer.question[0].name.to_text() == "WWW.Example.org."
    labels = [asked.label(name) for name in ("upstream", "attempt", "attempts", "outcome", "zone")]
    assert labels == [A, 1, 1, "answered", "."]
    assert offline.intake.in_flight == 0


def test_what_is_sent_is_what_the_client_sent_but_for_the_id(offline: Offline) -> None:
    configured(offline, forward(A), A=answering())
    octets = query("MiXeD.example.org", want_dnssec=True, payload=1400)
    asked = offline.start(octets)
    offline.run(0)
    ((_, sent),) = offline.network.asked
    assert sent[2:] == octets[2:]
    assert asked.answers


def test_a_silent_upstream_is_asked_twice_and_then_it_is_servfail(offline: Offline) -> None:
    configured(offline, forward(A))
    asked = offline.ask(use_edns=0, run_s=5)
    assert (asked.rcode, asked.ede, asked.at) == (SERVFAIL, EDE_NO_REACHABLE_AUTHORITY, pytest.approx(4.0))
    assert counts(offline) == [2, 0, 0]
    assert (asked.label("outcome"), asked.label("attempts")) == ("timeout", 2)


def test_a_closed_port_is_servfail_at_once(offline: Offline) -> None:
    configured(offline, forward(A, B), A=closed, B=closed)
    asked = offline.ask(use_edns=0)
    assert (asked.rcode, asked.ede, asked.at) == (SERVFAIL, EDE_NETWORK_ERROR, 0.0)
    assert counts(offline) == [2, 2, 0]


def test_an_upstream_that_answers_the_second_time_is_in_time(offline: Offline) -> None:
    answers = iter([None, "later"])
    configured(offline, forward(A), A=lambda octets: reply(octets) if next(answers) else None)
    asked = offline.ask(run_s=5)
    assert (asked.addresses, asked.at) == (["192.0.2.1"], pytest.approx(2.0))
    assert (asked.label("attempt"), asked.label("outcome")) == (2, "answered")


@pytest.mark.parametrize(
    ("keys", "attempts", "at"),
    [
        ({"max_attempts": 1}, 1, 2.0),
        ({"max_attempts": 5, "timeout": "500ms"}, 5, 2.5),
        ({"deadline": "3s"}, 2, 3.0),
        ({"deadline": "1s"}, 1, 1.0),
        ({"timeout": "100ms"}, 4, 0.4),
    ],
)
def test_attempts_and_time_are_bounded(keys: dict[str, Any], attempts: int, at: float, offline: Offline) -> None:
    configured(offline, forward(A, B, **keys))
    asked = offline.ask(run_s=6)
    assert asked.rcode == SERVFAIL
    assert asked.at == pytest.approx(at, abs=0.06)
    assert asked.label("attempts") == attempts


# several


def test_another_one_is_asked_before_the_same_one_again(offline: Offline) -> None:
    configured(offline, forward(A, B, C, timeout="100ms"))
    offline.ask(run_s=1)
    assert counts(offline) == [2, 2, 2]


def test_sequential_asks_the_first_that_is_up(offline: Offline) -> None:
    configured(offline, forward(A, B, policy="sequential"), A=answering(), B=answering("192.0.2.2"))
    for number in range(10):
        assert offline.ask(f"{number}.example.org").addresses == ["192.0.2.1"]
    offline.network.scripts[A] = closed
    for number in range(10):
        assert offline.ask(f"{number}.down.example.org", run_s=0.01).addresses == ["192.0.2.2"]
    assert counts(offline)[0] == 10 + 3, "after three failures it is passed over"


def test_round_robin_takes_turns_and_begins_with_the_first(offline: Offline) -> None:
    configured(offline, forward(A, B, C, policy="round_robin"), A=answering(), B=answering(), C=answering())
    for number in range(9):
        offline.ask(f"{number}.example.org")
    assert [server for server, _ in offline.network.asked] == [A, B, C] * 3


def test_random_asks_them_all(offline: Offline) -> None:
    configured(offline, forward(A, B, C), A=answering(), B=answering(), C=answering())
    for number in range(150):
        offline.ask(f"{number}.example.org")
    assert min(counts(offline)) > 20


def test_one_that_is_down_is_passed_over_until_it_answers_a_probe(offline: Offline) -> None:
    configured(offline, forward(A, B, policy="round_robin"), A=closed, B=answering("192.0.2.2"))
    for number in range(20):
        assert offline.ask(f"{number}.example.org", run_s=0.001).addresses == ["192.0.2.2"]
    assert counts(offline)[0] == 3
    offline.network.scripts[A] = answering()
    offline.run(2 + 5)  # found, and given its share back slowly
    offline.network.asked.clear()
    for number in range(20):
        assert offline.ask(f"{number}.up.example.org").answers
    assert counts(offline) == [10, 10, 0]


def test_when_all_are_down_they_are_asked_all_the_same(offline: Offline) -> None:
    configured(offline, forward(A, B, timeout="100ms"))
    for number in range(5):
        offline.ask(f"{number}.example.org", run_s=1)
    assert not any(upstream.up for upstream in offline.upstreams.values())
    offline.network.scripts[A] = offline.network.scripts[B] = answering()
    assert offline.ask("again.example.org").rcode == NOERROR


# rcodes


@pytest.mark.parametrize("rcode", [SERVFAIL, REFUSED, NXDOMAIN])
def test_without_failover_an_rcode_is_the_answer(rcode: int, offline: Offline) -> None:
    configured(offline, forward(A, B, policy="sequential"), A=answering(rcode=rcode), B=answering())
    assert offline.ask().rcode == rcode
    assert counts(offline) == [1, 0, 0]


def test_failover_asks_the_next_one_and_in_the_end_the_last_answer_stands(offline: Offline) -> None:
    configured(
        offline,
        forward(A, B, C, policy="sequential", failover=["SERVFAIL", "REFUSED"]),
        A=answering(rcode=SERVFAIL),
        B=answering(rcode=REFUSED),
        C=answering("192.0.2.3"),
    )
    assert offline.ask().addresses == ["192.0.2.3"]
    offline.network.scripts[C] = answering(rcode=SERVFAIL)
    assert offline.ask("other.example.org").rcode == SERVFAIL
    assert counts(offline) == [2, 2, 2], "each once"


def test_an_answer_that_asked_for_failover_is_better_than_none(offline: Offline) -> None:
    configured(
        offline, forward(A, B, policy="sequential", failover=["REFUSED"], max_attempts=2), A=answering(rcode=REFUSED)
    )
    asked = offline.ask(run_s=5)
    assert (asked.rcode, asked.ede) == (REFUSED, None)


# truncation


def test_a_truncated_answer_is_fetched_by_tcp_as_the_second_attempt(offline: Offline) -> None:
    configured(offline, forward(A, max_attempts=1), A=answering(flags=dns.flags.TC))
    offline.network.scripts[f"tcp://{A}"] = answering("192.0.2.99")
    asked = offline.ask()
    assert asked.addresses == ["192.0.2.99"]
    assert not asked.answer.flags & dns.flags.TC
    assert (asked.label("attempts"), asked.label("outcome")) == (2, "answered")


@pytest.mark.parametrize("tcp", [closed, silent])
def test_when_tcp_fails_the_client_gets_the_truncated_answer(tcp: Script, offline: Offline) -> None:
    configured(offline, forward(A), A=answering(flags=dns.flags.TC))
    offline.network.scripts[f"tcp://{A}"] = tcp
    asked = offline.ask(run_s=5)
    assert asked.answer.flags & dns.flags.TC
    assert sum(b"\3www" in octets for _, octets in offline.network.asked) == 2


def test_truncation_over_a_stream_is_passed_on(offline: Offline) -> None:
    configured(offline, forward(A))
    offline.network.scripts[f"tcp://{A}"] = answering(flags=dns.flags.TC)
    assert offline.ask(protocol="TCP").answer.flags & dns.flags.TC
    assert len(offline.network.asked) == 1


def test_many_wrong_replies_turn_to_tcp(offline: Offline) -> None:
    configured(offline, forward(A, max_attempts=1), A=lambda octets: [reply(octets).replace(b"www", b"wwx")] * 30)
    offline.network.scripts[f"tcp://{A}"] = answering("192.0.2.99")
    assert offline.ask().addresses == ["192.0.2.99"]


@pytest.mark.parametrize(
    ("to", "keys", "asked_by"),
    [
        (A, {}, {"UDP": A, "TCP": f"tcp://{A}", "DOT": f"tcp://{A}"}),
        (f"udp://{A}", {}, {"UDP": A, "TCP": A}),
        (f"tcp://{A}", {}, {"UDP": f"tcp://{A}", "TCP": f"tcp://{A}"}),
        (A, {"force_tcp": True}, {"UDP": f"tcp://{A}", "TCP": f"tcp://{A}"}),
        (A, {"prefer_udp": True}, {"UDP": A, "TCP": A}),
        (f"tcp://{A}", {"prefer_udp": True}, {"UDP": f"tcp://{A}"}),
    ],
)
def test_how_an_upstream_is_asked(to: str, keys: dict[str, Any], asked_by: dict[str, str], offline: Offline) -> None:
    configured(offline, forward(to, **keys), A=answering())
    offline.network.scripts[f"tcp://{A}"] = answering()
    for protocol, expected in asked_by.items():
        offline.network.asked.clear()
        assert offline.ask(protocol=protocol).answers
        assert [server for server, _ in offline.network.asked] == [expected]


# which stanza


def test_the_most_specific_from_wins_and_except_leaves_names_out(offline: Offline) -> None:
    configured(
        offline,
        forward(A),
        forward(B, from_=["example.org", "10.0.0.0/8"], except_=["private.example.org"]),
        forward(C, from_="deep.example.org"),
        A=answering(),
        B=answering("192.0.2.2"),
        C=answering("192.0.2.3"),
    )
    expected = {
        "www.example.net": 1,
        "example.org": 2,
        "WWW.EXAMPLE.ORG": 2,
        "notexample.org": 1,
        "deep.example.org": 3,
        "x.y.deep.example.org": 3,
        "private.example.org": 1,
        "www.private.example.org": 1,
        "4.3.2.10.in-addr.arpa": 2,
        "4.3.2.11.in-addr.arpa": 1,
        ".": 1,
    }
    found = {name: offline.ask(name).addresses for name in expected}
    assert found == {name: [f"192.0.2.{number}"] for name, number in expected.items()}


def test_names_that_no_stanza_takes_go_on_in_the_chain(offline: Offline) -> None:
    configured(offline, forward(A, from_="example.org", except_="no.example.org"), A=answering())
    assert offline.ask("www.example.net").rcode == REFUSED
    assert offline.ask("www.no.example.org").rcode == REFUSED
    assert counts(offline) == [0, 0, 0]


def test_the_matched_zone_is_told_as_it_stands_in_from(offline: Offline) -> None:
    configured(offline, forward(A, from_=["org", "Example.org"]), A=answering())
    assert offline.ask("www.example.org").label("zone") == "example.org."
    assert offline.ask("www.example2.org").label("zone") == "org."


def test_next_asks_the_next_matching_stanza_and_the_last_answer_stands(offline: Offline) -> None:
    configured(
        offline,
        forward(A, from_="example.org", next=["NXDOMAIN", "SERVFAIL"]),
        forward(B, from_="example.org", next=["NXDOMAIN"]),
        forward(C),
        A=answering(rcode=NXDOMAIN),
        B=answering(rcode=NXDOMAIN),
        C=answering("192.0.2.3"),
    )
    asked = offline.ask()
    assert (asked.addresses, counts(offline)) == (["192.0.2.3"], [1, 1, 1])
    assert (asked.label("attempts"), asked.label("zone")) == (3, ".")
    offline.network.scripts[C] = answering(rcode=NXDOMAIN)
    assert offline.ask("gone.example.org").rcode == NXDOMAIN
    offline.network.scripts[A] = answering(rcode=REFUSED)
    assert offline.ask("refused.example.org").rcode == REFUSED
    offline.network.scripts[A] = closed
    assert offline.ask("closed.example.org", run_s=0.1).rcode == NXDOMAIN, "no upstream is a SERVFAIL of ours"


def test_next_stays_within_the_deadline_of_each_stanza(offline: Offline) -> None:
    configured(
        offline,
        forward(A, from_="example.org", next=["NXDOMAIN"]),
        forward(B, deadline="1s"),
        A=slow(0.9, answering(rcode=NXDOMAIN)),
    )
    asked = offline.ask(run_s=6)
    assert (asked.rcode, asked.at) == (SERVFAIL, pytest.approx(1.0, abs=0.06))


# limits


def test_beyond_max_concurrent_queries_are_refused_and_counted(offline: Offline) -> None:
    configured(offline, forward(A, max_concurrent=3), A=slow(0.5, answering()))
    asked = [offline.start(query(f"{number}.example.org")) for number in range(5)]
    offline.run(1)
    assert sorted(one.rcode for one in asked) == [NOERROR] * 3 + [REFUSED] * 2
    assert [one.at for one in asked if one.rcode == REFUSED] == [0.0, 0.0]
    (plugin,) = offline.chain.plugins if offline.chain else []
    assert plugin.status() == {**dict.fromkeys(COUNTED, 0), "refused_max_concurrent": 2}
    assert offline.ask(run_s=1).rcode == NOERROR


def test_each_stanza_has_a_bound_of_its_own(offline: Offline) -> None:
    later = slow(0.5, answering())
    stanzas = forward(A, max_concurrent=2), forward(A, from_="example.net", max_concurrent=1), forward(B, from_="test")
    configured(offline, *stanzas, A=later, B=later)
    names = [f"{number}.{zone}" for zone in ("example.org", "example.net", "test") for number in range(4)]
    asked = [offline.start(query(name)) for name in names]
    offline.run(1)
    refused = [name for name, one in zip(names, asked, strict=True) if one.rcode == REFUSED]
    assert refused == ["2.example.org", "3.example.org", "1.example.net", "2.example.net", "3.example.net"]


def test_followers_count_among_the_concurrent_too(offline: Offline) -> None:
    configured(offline, forward(A, max_concurrent=3), A=slow(0.5, answering()))
    asked = together(offline, 5)
    offline.run(1)
    assert sorted(one.rcode for one in asked) == [NOERROR] * 3 + [REFUSED] * 2
    (plugin,) = offline.chain.plugins if offline.chain else []
    assert plugin.status() == {**dict.fromkeys(COUNTED, 0), "refused_max_concurrent": 2, "coalesced": 2}


@pytest.mark.parametrize(
    "script", [silent, closed, answering(), answering(rcode=SERVFAIL), answering(flags=dns.flags.TC)]
)
def test_whatever_comes_of_them_no_query_stays_in_flight(script: Script, offline: Offline) -> None:
    configured(offline, forward(A, B, failover=["SERVFAIL"], max_concurrent=100), A=script, B=script)
    asked = [offline.start(query(f"{number % 4}.example.org", id=number)) for number in range(12)]
    offline.run(10)
    assert all(len(one.answers) == 1 for one in asked)
    assert offline.intake.in_flight == 0
    assert {client.in_flight for client in offline.intake.clients.values()} == {0}
    for upstream in offline.upstreams.values():
        assert upstream.in_flight == 0 or not upstream.up, "but for a probe"
    (plugin,) = offline.chain.plugins if offline.chain else []
    for stanza_at_work in plugin.work:  # type: ignore[attr-defined]
        assert stanza_at_work.in_flight == 0
        assert stanza_at_work.leaders == ({}, {})


def test_no_upstream_is_known_yet(offline: Offline, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    configured(offline, forward("resolver.example.net"))
    asked = offline.ask(use_edns=0)
    assert (asked.rcode, asked.ede) == (SERVFAIL, EDE_NO_REACHABLE_AUTHORITY)
    assert caplog.messages == []
