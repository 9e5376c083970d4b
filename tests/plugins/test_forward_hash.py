"""The policy `hash`: a name always goes to the same upstream, unless that is down or has too much to do."""

import pytest

from tests.plugins.forwarding import A, B, C, configured, counts, forward
from tests.plugins.policies import answered, down
from tests.support.offline import Offline, answering, query

pytestmark = pytest.mark.usefixtures("seeded")


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
