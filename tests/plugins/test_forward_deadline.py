"""An answer in time whatever upstreams do: black holes, refusals, certificates that will not do, `next` and NODATA."""

import random
from typing import Any

import dns.message
import dns.rrset
import pytest
from dnsproxy_forward.nodata import has_no_data

from dnsproxy.errors import EDE_NETWORK_ERROR, EDE_NO_REACHABLE_AUTHORITY
from dnsproxy.shape import shape_of
from dnsproxy.upstream.exchange import TLS_ERROR, Exchange
from tests.plugins.forwarding import NOERROR, NXDOMAIN, SERVFAIL, A, B, C, configured, counts, forward, together
from tests.support.offline import Offline, Script, answering, closed, query, reply, silent, slow

POLICIES = ["random", "sequential", "latency", "hash", "parallel"]
HARD_S = 4.6


def with_records(*records: str) -> Script:
    """A server that answers NOERROR with these."""

    def script(octets: bytes) -> bytes:
        response = dns.message.make_response(dns.message.from_wire(octets), recursion_available=True)
        for record in records:
            owner, ttl, rdclass, rdtype, data = record.split(maxsplit=4)
            response.answer.append(dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, data))
        return response.to_wire()

    return script


nodata = with_records()


# black holes


@pytest.mark.parametrize("hedge", [None, "p95"])
@pytest.mark.parametrize("measured", [False, True], ids=["from the start", "after they answered"])
@pytest.mark.parametrize("policy", POLICIES)
def test_all_black_holed_every_client_has_its_servfail_in_time(
    policy: str, measured: bool, hedge: str | None, offline: Offline
) -> None:
    random.seed(3)
    keys: dict[str, Any] = {} if hedge is None else {"hedge": hedge}
    configured(offline, forward(A, B, C, policy=policy, **keys), A=answering(), B=answering(), C=answering())
    for number in range(80 if measured else 0):
        offline.ask(f"before{number}.example.org", run_s=0.001)
    offline.network.scripts.update(dict.fromkeys((A, B, C), silent))
    asked = []
    for number in range(20):
        asked.append((offline.flights.now, offline.start(query(f"{number}.example.org", use_edns=0))))
        offline.run(0.3)
    offline.run(5)
    assert max(one.at - began for began, one in asked) <= HARD_S
    assert {one.rcode for _, one in asked} == {SERVFAIL}
    assert {one.ede for _, one in asked} == {EDE_NO_REACHABLE_AUTHORITY}
    assert offline.intake.in_flight == 0


def test_followers_of_black_holed_questions_have_their_own_time(offline: Offline) -> None:
    configured(offline, forward(A, B))
    asked = []
    for number in range(8):
        asked.append((offline.flights.now, offline.start(query(id=number))))
        offline.run(0.5)
    offline.run(10)
    assert max(one.at - began for began, one in asked) <= HARD_S


@pytest.mark.parametrize("others", [closed, silent, slow(0.1, closed)])
def test_one_that_answers_is_found_among_those_that_do_not(others: Script, offline: Offline) -> None:
    configured(offline, forward(A, B, C, max_attempts=6), A=others, B=others, C=answering("192.0.2.3"))
    asked = offline.ask(run_s=5)
    assert asked.addresses == ["192.0.2.3"]


# why it failed


def refusing(offline: Offline, monkeypatch: pytest.MonkeyPatch, outcomes: dict[str, str]) -> None:
    """Every exchange with an upstream fails at once, in its way."""
    for server, outcome in outcomes.items():
        upstream = offline.upstreams[server]

        class Pool:
            open_connections = 0

            def __init__(self, outcome: str) -> None:
                self.outcome = outcome

            def send(self, exchange: Exchange) -> None:
                offline.network.asked.append((exchange.upstream.name, exchange.query.wire))
                exchange.failed(self.outcome)

            def close(self) -> None:
                return

        monkeypatch.setattr(upstream, "tcp", Pool(outcome))


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ({A: TLS_ERROR, B: TLS_ERROR}, EDE_NO_REACHABLE_AUTHORITY),
        ({A: TLS_ERROR, B: "refused"}, EDE_NO_REACHABLE_AUTHORITY),
        ({A: "closed", B: "timeout"}, EDE_NO_REACHABLE_AUTHORITY),
        ({A: "closed", B: "refused"}, EDE_NETWORK_ERROR),
    ],
)
def test_the_extended_error_says_whether_anybody_could_be_reached(
    outcomes: dict[str, str], code: int, offline: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(offline, forward(A, B, force_tcp=True))
    refusing(offline, monkeypatch, outcomes)
    asked = offline.ask(use_edns=0)
    assert (asked.rcode, asked.ede, asked.at) == (SERVFAIL, code, 0.0)


def test_followers_of_a_leader_whose_certificates_were_refused_are_told_so_at_once(
    offline: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(offline, forward(A, B, force_tcp=True, failover=["SERVFAIL"]))
    offline.network.scripts[f"tcp://{A}"] = offline.network.scripts[f"tcp://{B}"] = silent
    asked = together(offline, 5)
    offline.run(0)
    assert len(offline.network.asked) == 1
    refusing(offline, monkeypatch, {A: TLS_ERROR, B: TLS_ERROR})
    for timer in list(offline.flights.timers.fifos.values()):
        for thing in list(timer):
            if isinstance(thing, Exchange):
                thing.failed(TLS_ERROR)
    offline.run(0)
    assert [one.rcode for one in asked] == [SERVFAIL] * 5
    assert len(offline.network.asked) <= 4


# next


@pytest.mark.parametrize(
    ("script", "goes_on"),
    [
        (nodata, True),
        (with_records("www.example.org. 300 IN AAAA 2001:db8::1"), True),
        (with_records("www.example.org. 300 IN A 192.0.2.1"), False),
        (with_records("www.example.org. 300 IN CNAME other.example.org."), False),
        (answering(rcode=NXDOMAIN), False),
        (answering(rcode=SERVFAIL), False),
    ],
)
def test_next_on_nodata_asks_the_next_stanza_when_there_is_nothing_of_that_type(
    script: Script, goes_on: bool, offline: Offline
) -> None:
    configured(
        offline, forward(A, from_="example.org", next_on_nodata=True), forward(B), A=script, B=answering("192.0.2.2")
    )
    asked = offline.ask()
    assert counts(offline) == [1, int(goes_on), 0]
    assert (asked.rcode == NOERROR and asked.addresses == ["192.0.2.2"]) is goes_on


def test_without_next_on_nodata_nodata_is_the_answer(offline: Offline) -> None:
    configured(offline, forward(A, from_="example.org", next=["NXDOMAIN"]), forward(B), A=nodata, B=answering())
    assert offline.ask().answers
    assert counts(offline) == [1, 0, 0]


def test_next_and_next_on_nodata_go_together_and_the_last_answer_stands(offline: Offline) -> None:
    keys: dict[str, Any] = {"from_": "example.org", "next_on_nodata": True, "next": ["NXDOMAIN"]}
    configured(offline, forward(A, **keys), forward(B, **keys), forward(C), A=nodata, B=answering(rcode=3), C=nodata)
    asked = offline.ask()
    assert (asked.rcode, counts(offline), asked.label("attempts")) == (NOERROR, [1, 1, 1], 3)


def test_what_is_truncated_or_cannot_be_read_is_no_nodata() -> None:
    octets = query()
    shape = shape_of(octets)
    empty = nodata(octets)
    assert has_no_data(empty, shape)
    assert not has_no_data(empty[:2] + bytes((empty[2] | 2,)) + empty[3:], shape)
    assert not has_no_data(empty[:6] + b"\0\1" + empty[8:], shape)
    assert not has_no_data(reply(octets), shape)
    any_type = query(qtype="ANY")
    assert not has_no_data(with_records("www.example.org. 300 IN AAAA 2001:db8::1")(any_type), shape_of(any_type))
