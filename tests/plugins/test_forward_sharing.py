"""Answers that are shared: whose question is asked, who follows, and what becomes of them when it fails."""

from collections.abc import Awaitable
from typing import Any

import dns.edns
import dns.flags
import dns.rcode
import pytest

from dnsproxy.flight import first_of
from dnsproxy.message import Query, Response
from dnsproxy.plugin import Plugin
from tests.plugins.forwarding import NXDOMAIN, SERVFAIL, A, B, configured, counts, forward, together
from tests.support.offline import Offline, answering, closed, query, slow


def test_identical_questions_in_flight_are_asked_once(offline: Offline) -> None:
    configured(offline, forward(A), A=slow(0.1, answering()))
    asked = [
        offline.start(query(name, id=number)) for number, name in enumerate(("www.example.org", "WWW.example.ORG"))
    ]
    offline.run(1)
    assert counts(offline) == [1, 0, 0]
    for number, one in enumerate(asked):
        assert (one.answer.id, one.addresses, one.label("upstream")) == (number, ["192.0.2.1"], A)
        assert one.answers[0][12:].startswith(one.query.qname)
    assert offline.ask(run_s=1).answers
    assert counts(offline) == [2, 0, 0], "and again when the answer has been given"


@pytest.mark.parametrize(
    "other",
    [
        query("www.example.net"),
        query(qtype="AAAA"),
        query(rdclass="CH"),
        query(flags=0),
        query(flags=dns.flags.RD | dns.flags.CD),
        query(use_edns=0),
        query(want_dnssec=True),
    ],
    ids=["name", "type", "class", "RD", "CD", "EDNS", "DO"],
)
def test_questions_that_may_have_other_answers_are_asked_by_themselves(other: bytes, offline: Offline) -> None:
    configured(offline, forward(A), A=slow(0.1, answering()))
    asked = [offline.start(query()), offline.start(other)]
    offline.run(1)
    assert counts(offline) == [2, 0, 0]
    assert all(one.answers for one in asked)


def test_other_partitions_and_client_subnets_share_nothing(offline: Offline) -> None:
    configured(offline, forward(A), A=slow(0.1, answering()))
    for partition in (b"", b"kids", b"kids", b"staff"):
        offline.start(query(), partition=partition)
    subnet = dns.edns.ECSOption("192.0.2.0", 24)
    for _ in range(2):
        offline.start(query(use_edns=0, options=[subnet]))
    offline.run(1)
    assert counts(offline) == [3 + 2, 0, 0]


def test_when_the_leader_gets_no_answer_every_follower_still_gets_one_in_its_own_time(offline: Offline) -> None:
    configured(offline, forward(A))
    leader = offline.start(query())
    offline.run(1)
    followers = together(offline, 3)
    offline.run(10)
    assert leader.at == pytest.approx(4.0)
    assert [one.rcode for one in followers] == [SERVFAIL] * 3
    assert [one.at for one in followers] == pytest.approx([5.5] * 3, abs=0.06)
    assert counts(offline)[0] <= 4


def test_a_follower_leads_when_its_leader_has_failed_and_the_others_follow_it(offline: Offline) -> None:
    configured(offline, forward(A, deadline="2s"))
    leader = offline.start(query())
    offline.run(1.5)
    followers = together(offline, 3)
    offline.network.scripts[A] = slow(0.2, answering())
    offline.run(5)
    assert leader.rcode == SERVFAIL
    assert [one.addresses for one in followers] == [["192.0.2.1"]] * 3
    assert counts(offline) == [2, 0, 0]


def test_followers_of_a_leader_whom_all_refused_are_told_so_at_once(offline: Offline) -> None:
    configured(offline, forward(A), A=slow(0.1, closed))
    asked = together(offline, 3)
    offline.run(1)
    assert [one.rcode for one in asked] == [SERVFAIL] * 3
    assert max(one.at for one in asked) < 0.5
    assert counts(offline)[0] == 2


def test_a_follower_that_leads_has_only_the_time_that_is_left_to_it(offline: Offline) -> None:
    configured(offline, forward(A, from_="example.org", deadline="2100ms"), forward(B, deadline="20s"))
    offline.start(query())
    offline.run(1)
    follower = offline.start(query())
    offline.run(10)
    assert follower.rcode == SERVFAIL
    assert follower.at == pytest.approx(3.1, abs=0.06), "though another stanza would wait longer"


class Hasty(Plugin):
    """Asks the rest of the chain and does not wait for the answer."""

    how = "drop"

    def handle(self, query: Query) -> Awaitable[Response]:
        if not query.name.startswith("hasty"):
            return self.next(query)
        answer: Any = self.next(query)
        return self.leave(query, answer) if self.how != "drop" else query.respond(dns.rcode.NXDOMAIN)

    async def leave(self, query: Query, answer: Any) -> Response:
        await first_of(answer, until=0.05)
        if self.how == "cancel":
            answer.cancel()
        return query.respond(dns.rcode.NXDOMAIN)


@pytest.mark.parametrize("cache", ["", "[cache]\n"], ids=["alone", "behind a cache"])
@pytest.mark.parametrize("how", ["drop", "leave", "cancel"])
def test_an_answer_that_nobody_waits_for_any_more_keeps_no_later_question_waiting(
    how: str, cache: str, offline: Offline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hasty, "how", how)
    configured(offline, cache, forward(A, max_concurrent=2), A=slow(0.2, answering()))
    assert offline.chain is not None
    rest = offline.chain.handler
    hasty = Hasty([])
    hasty.next = rest
    offline.chain.handler = hasty.handle
    for number in range(5):
        assert offline.ask(f"hasty{number}.example.org", run_s=0.5).rcode == NXDOMAIN
    offline.chain.handler = rest
    for number in range(5):
        assert offline.ask(f"hasty{number}.example.org", run_s=0.5).addresses == ["192.0.2.1"]
