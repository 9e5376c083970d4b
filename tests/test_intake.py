"""A query's way in and its answer's way out: who may ask, how much at once, and what bad plugins cannot do."""

import logging
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import dns.flags
import dns.rcode
import pytest

from dnsproxy import config, intake
from dnsproxy.errors import EDE_NO_REACHABLE_AUTHORITY, EDE_OTHER, EDE_PROHIBITED, QueryError, Refused
from dnsproxy.flight import Pending, Waiter
from dnsproxy.intake import FAILURES_LOGGED_PER_S, REFUSALS_PER_S, Intake
from dnsproxy.message import Policy, Query, Response
from dnsproxy.plugin import Observer, Plugin
from tests.support.offline import Asked, Offline, chain_of, query

NOERROR, FORMERR, SERVFAIL, REFUSED = 0, 1, 2, 5
STRANGER = "198.51.100.1"
Behaviour = Callable[[Query], Any]


class Behaving(Plugin):
    """Does what the test says."""

    def __init__(self, stanzas: Any) -> None:
        super().__init__(stanzas)
        self.behave: Behaviour = lambda query: query.respond()
        self.asked = 0

    def handle(self, query: Query) -> Awaitable[Response]:
        self.asked += 1
        answer: Awaitable[Response] = self.behave(query)
        return answer


class Watching(Observer):
    """Keeps what it sees, and raises when told to."""

    def __init__(self, stanzas: Any) -> None:
        super().__init__(stanzas)
        self.queries: list[Query] = []
        self.responses: list[Response] = []
        self.error: type[BaseException] | None = None

    def on_query(self, query: Query) -> None:
        self.queries.append(query)
        self._perhaps_raise()

    def on_response(self, query: Query, response: Response) -> None:
        self.responses.append(response)
        self._perhaps_raise()

    def _perhaps_raise(self) -> None:
        if self.error is not None:
            raise self.error


class World(Offline):
    """A chain of a watching plugin and one that behaves as the test says."""

    def __init__(self, **limits: Any) -> None:
        super().__init__()
        self.intake = Intake(self.flights, config.Limits(**limits))
        chain = self.chain = chain_of(Watching, Behaving)
        self.flights.timers.fifo(chain.deadline_s)
        watching, behaving = chain.plugins
        assert isinstance(watching, Watching)
        assert isinstance(behaving, Behaving)
        self.watching, self.plugin = watching, behaving

    def behaves(self, behave: Behaviour) -> None:
        self.plugin.behave = behave


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()
    assert made.intake.in_flight == 0
    assert {client.in_flight for client in made.intake.clients.values()} <= {0}


class Waits:
    """Answers each query when told to."""

    def __init__(self) -> None:
        self.waiters: list[Waiter] = []

    async def __call__(self, query: Query) -> Response:
        self.waiters.append(Waiter())
        await self.waiters[-1]
        return query.respond()

    def finish(self) -> None:
        while self.waiters:
            self.waiters.pop().set(None)


# answers


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


# bad plugins


@pytest.mark.parametrize(
    "behave",
    [
        lambda query: None,
        lambda query: 7,
        lambda query: Waiter(),
        lambda query: b"wire",
        lambda query: (yield),
        lambda query: Response,
    ],
)
def test_nonsense_is_servfail_and_the_log_names_the_plugin(
    behave: Behaviour, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.behaves(behave)
    asked = world.ask(use_edns=0)
    assert (asked.rcode, asked.ede) == (SERVFAIL, EDE_OTHER)
    (message,) = caplog.messages
    assert "plugin behaving gave" in message
    assert world.intake.failures == 1


def test_a_coroutine_that_returns_nonsense_is_servfail_too(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def nonsense(query: Query) -> Any:
        return "nonsense"

    world.behaves(nonsense)
    assert world.ask().rcode == SERVFAIL
    assert "plugin behaving gave 'nonsense'" in caplog.text


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, CancelledError, GeneratorExit])
@pytest.mark.parametrize("how", ["at once", "in a coroutine", "later"])
def test_whatever_a_plugin_raises_is_servfail_and_the_log_names_it(
    error: type[BaseException], how: str, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def raises(query: Query) -> Response:
        raise error

    async def raises_in_a_coroutine(query: Query) -> Response:
        if how == "later":
            await waits(query)
        return raises(query)

    waits = Waits()
    world.behaves(raises if how == "at once" else raises_in_a_coroutine)
    asked = world.ask(use_edns=0)
    waits.finish()
    world.run(0)
    assert (asked.rcode, asked.ede) == (SERVFAIL, EDE_OTHER)
    assert "plugin behaving failed on www.example.org.:" in caplog.text


@pytest.mark.parametrize("behave", [lambda query: None, lambda query: query.nothing])
def test_a_plugin_that_always_fails_does_not_fill_the_log(
    behave: Behaviour, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.behaves(behave)
    for number in range(500):
        assert world.ask(f"{number}.example.org", run_s=0.01).rcode == SERVFAIL
    assert world.intake.failures == 500
    assert len(caplog.messages) <= FAILURES_LOGGED_PER_S * 6


@pytest.mark.parametrize("wire", [None, "x" * 40, 7, b"", b"\x12\x34\x81\x80", b"\0" * 11, [1, 2]])
def test_a_response_that_is_no_message_is_servfail(wire: Any, world: World) -> None:
    world.behaves(lambda query: Response(wire))
    assert world.ask().rcode == SERVFAIL


@pytest.mark.parametrize("protocol", ["UDP", "TCP"])
def test_a_response_longer_than_a_message_may_be_never_leaves(protocol: str, world: World) -> None:
    world.behaves(lambda query: Response(query.respond().wire + b"\0" * 65_536))
    asked = world.ask(protocol=protocol)
    assert asked.rcode == (SERVFAIL if protocol == "TCP" else NOERROR)
    assert len(asked.answers[0]) <= 512


def test_taps_are_told_why_an_answer_is_not_the_upstreams(world: World) -> None:
    def refuses(query: Query) -> Response:
        raise Refused("not today", policy=Policy(type="hours", rule=b"\xffsunday"))

    world.behaves(refuses)
    assert world.ask().rcode == REFUSED
    world.start(query(), client=STRANGER)
    policies = [response.policy for response in world.watching.responses]
    assert [(policy.type, policy.rule) for policy in policies if policy] == [
        ("hours", b"\xffsunday"),
        ("allow", b"allow"),
    ]
    rules = [query.metadata["policy/rule"] for query in world.watching.queries]
    assert rules == ["\\xffsunday", "allow"]
    world.behaves(lambda query: query.respond())
    assert world.ask().rcode == NOERROR
    assert "policy/rule" not in world.watching.queries[-1].metadata


def test_an_error_that_knows_its_answer_is_no_failure(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def refuses(query: Query) -> Response:
        raise Refused("not here", ede_code=EDE_PROHIBITED)

    def strange(query: Query) -> Response:
        raise QueryError("bad cookie", rcode=23)

    world.behaves(refuses)
    asked = world.ask(use_edns=0)
    assert (asked.rcode, asked.ede) == (REFUSED, EDE_PROHIBITED)
    world.behaves(strange)
    assert world.ask(use_edns=0).rcode == 23
    assert world.ask().rcode == SERVFAIL, "an extended rcode cannot be told without EDNS"
    assert (caplog.messages, world.intake.failures) == ([], 0)


def test_a_plugin_that_never_answers_is_servfail_at_the_deadline_and_named_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.behaves(Waits())
    asked = [world.start(query(f"{number}.example.org", use_edns=0)) for number in range(3)]
    world.run(10)
    for one in asked:
        assert (one.rcode, one.ede) == (SERVFAIL, EDE_NO_REACHABLE_AUTHORITY)
        assert one.at == pytest.approx(4.55)
    assert len(caplog.messages) == 1
    assert "plugin behaving gave no answer" in caplog.text


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_an_observer_that_raises_changes_nothing_and_is_logged_once(
    error: type[BaseException], world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.watching.error = error
    for _ in range(3):
        assert world.ask().rcode == NOERROR
    assert world.start(query(qtype="AXFR")).rcode == REFUSED
    assert world.start(query(), client=STRANGER).rcode == REFUSED
    assert len(caplog.messages) == 2, "once for queries, once for responses"
    assert all("plugin watching failed while watching" in message for message in caplog.messages)


# who may ask


def test_strangers_are_refused_over_tcp_and_over_udp_at_a_small_rate(world: World) -> None:
    over_tcp = [world.start(query(use_edns=0), client=STRANGER, protocol="TCP") for _ in range(100)]
    assert {(one.rcode, one.ede) for one in over_tcp} == {(REFUSED, EDE_PROHIBITED)}
    over_udp = [world.start(query(), client=STRANGER) for _ in range(100)]
    assert [len(one.answers) for one in over_udp].count(1) == REFUSALS_PER_S
    assert [one.drops for one in over_udp].count(["not_allowed"]) == 100 - REFUSALS_PER_S
    world.run(0.5)
    over_udp = [world.start(query(), client=STRANGER) for _ in range(100)]
    assert [len(one.answers) for one in over_udp].count(1) == REFUSALS_PER_S / 2
    assert world.plugin.asked == 0
    assert len(world.watching.queries) == len(world.watching.responses) == 100 + REFUSALS_PER_S * 1.5


def test_those_who_may_ask_are_not_disturbed_by_strangers(world: World) -> None:
    for number in range(50):
        world.start(query(), client=f"198.51.100.{number}")
        assert world.ask(client="192.0.2.9").rcode == NOERROR


def test_a_mapped_address_is_the_ipv4_client_that_it_is(world: World) -> None:
    assert world.ask(client="::ffff:192.0.2.9").rcode == NOERROR
    assert world.ask(client="::ffff:198.51.100.1").rcode == REFUSED


def test_who_may_ask_is_looked_up_again_when_the_chains_are_others(world: World) -> None:
    assert world.ask().rcode == NOERROR
    world.intake.forget_chains()
    world.chain = chain_of(Behaving, allow=("203.0.113.0/24",))
    assert world.ask().rcode == REFUSED
    assert world.ask(client="203.0.113.7").rcode == NOERROR


# limits


def in_flight(world: World, number: int, client: str = "192.0.2.7") -> list[Asked]:
    return [world.start(query(f"{which}.example.org", use_edns=0), client=client) for which in range(number)]


def test_queries_in_flight_are_bounded_in_all() -> None:
    world, waits = World(queries=3), Waits()
    world.behaves(waits)
    asked = in_flight(world, 5)
    assert [one.rcode for one in asked[3:]] == [REFUSED] * 2
    assert {one.ede for one in asked[3:]} == {EDE_OTHER}
    assert world.intake.refused["queries"] == 2
    policies = [response.policy for response in world.watching.responses]
    assert [(policy.type, policy.rule) for policy in policies if policy] == [("limits", b"queries")] * 2
    waits.finish()
    world.run(0)
    assert [one.rcode for one in asked[:3]] == [NOERROR] * 3
    assert in_flight(world, 1)[0].answers == []
    world.close()


def test_queries_in_flight_are_bounded_for_each_client() -> None:
    world, waits = World(queries_per_client=2), Waits()
    world.behaves(waits)
    greedy, modest = in_flight(world, 4), in_flight(world, 1, "192.0.2.8")
    assert [len(one.answers) for one in greedy] == [0, 0, 1, 1]
    assert world.intake.refused["queries_per_client"] == 2
    waits.finish()
    world.run(0)
    assert modest[0].rcode == NOERROR
    assert [one.rcode for one in greedy] == [NOERROR, NOERROR, REFUSED, REFUSED]


def test_limits_may_change(world: World) -> None:
    waits = Waits()
    world.behaves(waits)
    world.intake.limit(config.Limits(queries=1))
    assert [len(one.answers) for one in in_flight(world, 3)] == [0, 1, 1]
    waits.finish()
    world.run(0)


def test_idle_clients_are_forgotten_when_there_are_too_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "CLIENTS", 10)
    waits = Waits()
    world.behaves(waits)
    busy = in_flight(world, 1, "192.0.2.1")
    world.behaves(lambda query: query.respond())
    for number in range(2, 100):
        world.ask(client=f"192.0.2.{number}")
        assert len(world.intake.clients) <= 10
    assert any(client.in_flight for client in world.intake.clients.values())
    waits.finish()
    world.run(0)
    assert busy[0].rcode == NOERROR


def test_connections_are_counted_in_all_and_for_each_client() -> None:
    counted = World(tcp_connections=3, tcp_connections_per_client=2).intake
    one, other = (counted.client_of(b"\2\0\0\0" + bytes((192, 0, 2, last)) + b"\0" * 20) for last in (1, 2))
    assert [counted.admit_connection(one) for _ in range(3)] == [True, True, False]
    assert [counted.admit_connection(other) for _ in range(2)] == [True, False]
    assert counted.refused == {
        "queries": 0,
        "queries_per_client": 0,
        "tcp_connections": 1,
        "tcp_connections_per_client": 1,
    }
    counted.release_connection(one)
    assert counted.admit_connection(other)
    assert counted.connections == 3


def test_nothing_is_logged_when_nothing_is_wrong(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world.ask()
    world.start(query(), client=STRANGER)
    assert caplog.messages == []
