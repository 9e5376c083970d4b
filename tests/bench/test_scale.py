"""Axes: round ends, round ticks, the right places."""

import pytest
from harness.scale import in_words, linear, logarithmic, round_down, round_up
from hypothesis import given
from hypothesis import strategies as st

POSITIVE = st.floats(min_value=1e-6, max_value=1e9)


def test_a_linear_axis_begins_at_nothing_and_ends_beyond_the_greatest_value() -> None:
    scale = linear([3, 47], 0, 100)
    assert scale.ticks() == [0, 10, 20, 30, 40, 50]
    assert (scale.at(0), scale.at(25), scale.at(50)) == (0, 50, 100)


def test_a_value_at_a_tick_needs_no_tick_beyond() -> None:
    assert linear([20], 0, 1).ticks() == [0, 5, 10, 15, 20]


def test_an_axis_may_run_upwards() -> None:
    scale = linear([10], 400, 0)
    assert scale.at(10) == 0
    assert scale.at(0) == 400


def test_a_logarithmic_axis_over_many_decades_has_powers_of_ten() -> None:
    scale = logarithmic([100, 87_000], 0, 90)
    assert scale.ticks() == [100, 1_000, 10_000, 100_000]
    assert scale.at(1_000) == pytest.approx(30)


def test_a_logarithmic_axis_over_few_decades_has_finer_ticks() -> None:
    assert logarithmic([110, 800], 0, 1).ticks() == [100, 200, 500, 1_000]


def test_nothing_to_show_still_has_an_axis() -> None:
    assert linear([], 0, 1).ticks()[0] == 0
    assert len(logarithmic([], 0, 1).ticks()) > 1
    assert len(logarithmic([5], 0, 1).ticks()) > 1


@given(POSITIVE)
def test_rounding_goes_the_right_way(value: float) -> None:
    assert round_down(value) <= value * (1 + 1e-6)
    assert round_up(value) >= value * (1 - 1e-6)
    assert round_up(value) <= value * 2.5 * (1 + 1e-6)


@given(st.lists(POSITIVE, min_size=1, max_size=20))
def test_all_values_are_inside_and_the_ticks_go_up(values: list[float]) -> None:
    for scale in (linear(values, 0, 100), logarithmic(values, 0, 100)):
        assert all(scale.least <= value * (1 + 1e-6) and value <= scale.greatest * (1 + 1e-6) for value in values)
        assert all(0 <= scale.at(value) <= 100 + 1e-6 for value in values)
        ticks = scale.ticks()
        assert 2 <= len(ticks) <= 17
        assert ticks == sorted(set(ticks))


def test_labels_have_no_digits_that_say_nothing() -> None:
    assert [in_words(value) for value in (0.0, 0.5, 10.0, 1_000_000.0)] == ["0", "0.5", "10", "1 000 000"]
