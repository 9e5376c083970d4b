"""Who may ask, and how much at once."""

import pytest

from dnsproxy import config, intake
from dnsproxy.errors import EDE_OTHER, EDE_PROHIBITED
from dnsproxy.intake import REFUSALS_PER_S
from tests.intake.world import NOERROR, REFUSED, STRANGER, Behaving, Waits, World
from tests.support.offline import Asked, chain_of, query

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
