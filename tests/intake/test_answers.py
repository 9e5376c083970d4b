"""A query's way in and its answer's way out: what observers see of both, and what never reaches the chain."""

import logging
from typing import Any

import dns.flags
import dns.rcode
import pytest

from dnsproxy.flight import Pending
from dnsproxy.message import Policy, Query, Response
from tests.intake.world import FORMERR, NOERROR, REFUSED, STRANGER, Behaviour, World
from tests.support.offline import query


async def in_a_coroutine(query: Query) -> Response:
    return query.respond()


class Later(Pending):
    """Answers when it is done."""

    def __init__(self, query: Query) -> None:
        super().__init__()
        self.query = query

    def conclude(self) -> Any:
        return self.query.respond()


def done_already(query: Query) -> Later:
    answer = Later(query)
    answer.set(None)
    return answer


@pytest.mark.parametrize("behave", [lambda query: query.respond(), in_a_coroutine, done_already, Later])
def test_an_answer_may_be_given_at_once_or_in_any_other_way(behave: Behaviour, world: World) -> None:
    given: list[Any] = []

    def remember(query: Query) -> Any:
        given.append(behave(query))
        return given[-1]

    world.behaves(remember)
    asked = world.ask(id=7)
    if behave is Later:
        assert asked.answers == []
        given[0].set(None)
        world.run(0)
    assert (asked.rcode, asked.answer.id) == (NOERROR, 7)
    assert [response.wire for response in world.watching.responses] == asked.answers


def test_observers_see_exactly_what_the_client_sends_and_gets(world: World) -> None:
    policy = Policy(rule=b"x")

    def behave(query: Query) -> Response:
        octets = bytearray(query.respond().wire)
        octets[0:2] = b"\0\0"
        octets[3] |= 0x20
        return Response(bytes(octets), policy)

    world.behaves(behave)
    asked = world.ask("WWW.example.org", id=7)
    (seen,) = world.watching.queries
    assert seen is asked.query
    (shown,) = world.watching.responses
    assert shown.wire == asked.answers[0]
    assert shown.policy is policy
    assert not asked.answer.flags & dns.flags.AD
    assert asked.answer.id == 7


FAULTS = [
    (query()[:12], FORMERR),
    (query(qtype="AXFR"), REFUSED),
    (query()[:2] + b"\x11\0" + query()[4:], dns.rcode.NOTIMP),
    (query(use_edns=1), dns.rcode.BADVERS),
]


@pytest.mark.parametrize(("octets", "rcode"), FAULTS)
def test_what_cannot_be_asked_is_answered_without_the_chain(octets: bytes, rcode: int, world: World) -> None:
    asked = world.start(octets)
    assert asked.rcode == rcode
    assert world.plugin.asked == 0
    assert (len(world.watching.queries), len(world.watching.responses)) == (1, 1)


def test_nothing_is_logged_when_nothing_is_wrong(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world.ask()
    world.start(query(), client=STRANGER)
    assert caplog.messages == []
