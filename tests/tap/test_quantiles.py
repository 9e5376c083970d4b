"""Quantiles: the nearest rank, exactly, and nearly so when there are too many values."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap import quantiles
from dnsproxy.tap.quantiles import Quantiles

SHARES = (0.5, 0.9, 0.99)


def nearest_rank(values: list[int], share: float) -> int:
    """By definition."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


@given(st.lists(st.integers(0, 10**12), min_size=1))
def test_a_quantile_is_the_value_that_so_large_a_part_does_not_exceed(values: list[int]) -> None:
    found = Quantiles(values)
    assert found.at(*SHARES) == [nearest_rank(values, share) for share in SHARES]
    assert (found.count, found.maximum) == (len(values), max(values))


def test_of_nothing_all_are_0() -> None:
    assert Quantiles().at(*SHARES) == [0, 0, 0]


def test_what_took_less_than_no_time_took_none() -> None:
    assert Quantiles([-5, 3]).at(0.5, 1.0) == [0, 3]


def test_too_many_values_are_right_to_a_thousandth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantiles, "DIFFERENT_KEPT", 1000)
    chance = random.Random(1)
    values = [int(chance.lognormvariate(16, 2)) for _ in range(20_000)]
    for found, share in zip(Quantiles(values).at(*SHARES), SHARES, strict=True):
        assert found == pytest.approx(nearest_rank(values, share), rel=0.001)


def test_memory_is_bounded_by_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantiles, "DIFFERENT_KEPT", 1000)
    found = Quantiles(range(0, 10_000_000, 100))
    assert len(found.counts()) < 20_000
    assert found.count == 100_000


@given(st.lists(st.integers(0, 10**9)), st.lists(st.integers(0, 10**9)))
def test_those_of_two_files_are_those_of_both(one: list[int], other: list[int]) -> None:
    merged = Quantiles(one)
    merged.merge(Quantiles(other))
    assert merged.at(*SHARES) == Quantiles(one + other).at(*SHARES)
    assert (merged.count, merged.maximum) == (len(one + other), max(one + other, default=0))


def test_a_rounded_one_takes_others_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantiles, "DIFFERENT_KEPT", 100)
    merged = Quantiles([10_000_019])
    merged.merge(Quantiles(range(200)))
    merged.add(20_000_003)
    assert merged.at(1.0)[0] == pytest.approx(20_000_003, rel=0.001)
    assert merged.count == 202
