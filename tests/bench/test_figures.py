"""Medians, spreads and ratios."""

import pytest
from harness.figures import Figure, Results
from harness.workloads import FORWARD, PACED_500

from tests.bench.samples import sample


def test_a_figure_is_the_median_with_its_extremes() -> None:
    assert Figure.of([3.0, 1.0, 2.0]) == Figure(2.0, 1.0, 3.0)


def test_rounds_of_other_programs_and_workloads_are_left_out() -> None:
    results = Results([sample(FORWARD, "a", 10), sample(FORWARD, "b", 99), sample(PACED_500, "a", 99)])
    assert results.figure("forward", "a", "total_us") == Figure(10, 10, 10)


def test_what_was_not_measured_has_no_figure() -> None:
    results = Results([sample(FORWARD, "a")])
    assert results.figure("forward", "a", "p50_us") is None
    assert results.figure("forward", "nobody", "total_us") is None
    assert results.ratio("forward", "a", "nobody") is None
    assert results.ratio("forward", "a", "a", "p50_us") is None


def test_a_ratio_is_taken_between_neighbours_in_time() -> None:
    """The machine got three times slower in the second round, for both alike."""
    ours = [sample(FORWARD, "a", total_us) for total_us in (10, 30, 11)]
    theirs = [sample(FORWARD, "b", total_us) for total_us in (20, 60, 22)]
    assert Results([*ours, *theirs]).ratio("forward", "a", "b") == Figure(0.5, 0.5, 0.5)


def test_a_ratio_of_any_field() -> None:
    results = Results([sample(FORWARD, "a", per_second=90.0), sample(FORWARD, "b", per_second=60.0)])
    ratio = results.ratio("forward", "a", "b", "per_second")
    assert ratio is not None
    assert ratio.median == pytest.approx(1.5)
