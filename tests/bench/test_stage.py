"""The in-process path that `bench/steps.py` measures: it must keep up with the proxy's own modules."""

from collections.abc import Callable, Iterator

import pytest
from harness.stage import FINISH, JOIN, MATCH, SEND_ANSWERS, SEND_QUERIES, STEPS, TAKE_IN, WRITE, Ledger, Stage

Run = Callable[[str], dict[str, int]]

TAP = '[[dnstap]]\nsocket = "unix:///nowhere/tap.sock"\nfull = true\n'


@pytest.fixture(params=[1, 8])
def batch(request: pytest.FixtureRequest) -> int:
    size: int = request.param
    return size


@pytest.fixture
def run(batch: int) -> Iterator[Run]:
    """What each step took with these plugins beside forward."""
    stages: list[Stage] = []

    def run(plugins: str) -> dict[str, int]:
        stages.append(Stage(plugins, batch))
        for _ in range(2 * 64 // batch):
            stages[-1].turn()
        return stages[-1].ledger.spent

    yield run
    for stage in stages:
        stage.close()


def test_forwarding_spends_on_every_step_but_the_taps(run: Run) -> None:
    spent = run("")
    assert {step for step in STEPS if not spent[step]} == {JOIN, WRITE}


def test_taps_are_written(run: Run) -> None:
    spent = run(TAP)
    assert all(spent[step] for step in (TAKE_IN, MATCH, FINISH, JOIN, WRITE))


def test_a_step_within_a_step_is_not_counted_twice() -> None:
    ledger = Ledger()
    ledger.spend(TAKE_IN, lambda: ledger.spend(SEND_QUERIES, lambda: sum(range(200_000))))
    assert 0 < ledger.spent[TAKE_IN] < ledger.spent[SEND_QUERIES]
    ledger.clear()
    assert not any(ledger.spent.values())


def test_a_cache_hit_asks_nobody() -> None:
    stage = Stage('[cache]\nsize = "1MiB"\n', 50)
    try:
        for _ in range(20):  # every name once
            stage.turn()
        stage.ledger.clear()
        stage.turn()
        assert stage.ledger.spent[SEND_QUERIES] == 0
        assert stage.ledger.spent[SEND_ANSWERS] > 0
    finally:
        stage.close()
