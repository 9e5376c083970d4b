"""Numbers, durations and shares as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.report.amounts import cut, duration, grouped, rate, share, step


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (999, "999 ns"),
        (1_000, "1 µs"),
        (240_400, "240 µs"),
        (1_543_211, "1.5 ms"),
        (36_440_000, "36.4 ms"),
        (2_000_000_000, "2 s"),
        (90 * 10**9, "1.5 min"),
        (3 * 3600 * 10**9, "3 h"),
        (90 * 3600 * 10**9, "3.8 d"),
    ],
)
def test_a_duration_has_two_or_three_digits_and_its_unit(nanoseconds: int, text: str) -> None:
    assert duration(nanoseconds) == text


def test_thousands_are_apart() -> None:
    assert [grouped(number) for number in (0, 999, 1000, 1234567)] == ["0", "999", "1 000", "1 234 567"]


def test_rates_and_shares_have_as_many_digits_as_say_something() -> None:
    assert [rate(number) for number in (0, 0.254, 8.13, 99.96, 350.4, 12345.6)] == [
        "0",
        "0.25",
        "8.1",
        "100",
        "350",
        "12 346",
    ]
    assert [share(part, 1000) for part in (0, 1, 18, 126, 1000)] == ["0 %", "0.1 %", "1.8 %", "12.6 %", "100 %"]
    assert share(0, 0) == "0 %"


@given(st.floats(1e-6, 1e12), st.integers(2, 10))
def test_marks_are_round_and_not_too_many(most: float, steps: int) -> None:
    distance = step(most, steps)
    assert distance * steps >= most * 0.999
    assert f"{distance:.0e}"[0] in "125"


def test_marks_of_nothing_are_at_1() -> None:
    assert step(0, 5) == 1.0


def test_a_long_name_is_cut_in_the_middle() -> None:
    assert cut("www.example.org.", 20) == "www.example.org."
    assert cut("a-very-long-name.example.org.", 15) == "a-very-…le.org."
    assert len(cut("x" * 300, 16)) == 16
