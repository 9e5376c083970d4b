"""A world for each test, in which nothing is in flight at the end."""

from collections.abc import Iterator

import pytest

from tests.intake.world import World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()
    assert made.intake.in_flight == 0
    assert {client.in_flight for client in made.intake.clients.values()} <= {0}
