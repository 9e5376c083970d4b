"""What taps cost a query, measured on the proxy's own path in this process: bounds loose enough for a busy machine."""

import importlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dnsproxy import COMPILED
from tests.support.documents import ROOT
from tests.support.toml import dnstap

BATCH = 64  # as many as a tap writes at once here
TURNS, WARM_UP_TURNS = 16, 40  # batches in a repeat; before the first, so that names and codes are known
REPEATS = 60  # at most, until the bound holds: the least disturbed one of each counts
TAPS = 4  # several, so that their cost stands out
SAMPLED_SHARE = 0.05  # of what full taps cost …
NOISE_NS = 500  # … and what a busy machine adds; alone a sampled tap costs a query 0.35 µs, a full one 2.8
ANONYMIZING_NS = 2_000  # for each message
SLOWNESS = 1.0 if COMPILED else 2.5  # the bounds are those of the compiled build
MESSAGES = 4  # of a query

Costs = dict[str, float]
Measure = Callable[[dict[str, str], Callable[[Costs], bool]], Costs]


@pytest.fixture
def measure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Measure]:
    """Nanoseconds per query of each of these configurations, measured in turn until they are as they should be."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    stage = importlib.import_module("harness.stage").Stage
    stages: dict[str, Any] = {}

    def measure(plugins: dict[str, str], holds: Callable[[Costs], bool]) -> Costs:
        stages.update({name: stage(text, BATCH) for name, text in plugins.items()})
        for one in stages.values():
            repeat(one, WARM_UP_TURNS)
        best = dict.fromkeys(plugins, float("inf"))
        for _ in range(REPEATS):
            best = {name: min(best[name], repeat(stages[name], TURNS)) for name in plugins}
            if holds(best):
                break
        return best

    yield measure
    for one in stages.values():
        one.close()


def repeat(stage: Any, turns: int) -> float:
    """One stretch of queries: the processor's nanoseconds per query, whatever else the machine does."""
    began = time.thread_time_ns()
    for _ in range(turns):
        stage.turn()
    return (time.thread_time_ns() - began) / turns / BATCH


def taps(folder: Path, count: int = TAPS, **keys: object) -> str:
    return "".join(dnstap(to=f"unix://{folder}/cost{number}.sock", **keys) for number in range(count))


def test_a_sample_of_one_in_a_hundred_costs_a_twentieth_of_full_taps(measure: Measure, tmp_path: Path) -> None:
    def holds(cost: Costs) -> bool:
        full, sampled = cost["full"] - cost["none"], cost["sampled"] - cost["none"]
        return full > 0 and sampled <= SAMPLED_SHARE * full + NOISE_NS * SLOWNESS

    cost = measure({"none": "", "full": taps(tmp_path), "sampled": taps(tmp_path, sample=0.01)}, holds)
    assert holds(cost), cost


def test_selections_that_turn_everything_away_cost_little(measure: Measure, tmp_path: Path) -> None:
    def holds(cost: Costs) -> bool:
        full, elsewhere = cost["full"] - cost["none"], cost["elsewhere"] - cost["none"]
        return full > 0 and elsewhere <= 0.5 * full + NOISE_NS * SLOWNESS

    elsewhere = taps(tmp_path, zones=["elsewhere.example.org"])
    cost = measure({"none": "", "full": taps(tmp_path), "elsewhere": elsewhere}, holds)
    assert holds(cost), cost


def test_anonymizing_costs_microseconds(measure: Measure, tmp_path: Path) -> None:
    def holds(cost: Costs) -> bool:
        return (cost["anonymous"] - cost["full"]) / MESSAGES <= ANONYMIZING_NS * SLOWNESS

    prefixes = {"ipv4": 24, "ipv6": 56}
    cost = measure({"full": taps(tmp_path, 1), "anonymous": taps(tmp_path, 1, anonymize=prefixes)}, holds)
    assert holds(cost), cost
