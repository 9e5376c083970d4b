"""The most frequent values: exact as long as they fit, never more than there were."""

import pytest

from dnsproxy.tap.frequent import Frequent


def counted(values: list[str], kept: int = 1000) -> Frequent[str]:
    frequent: Frequent[str] = Frequent(kept)
    for value in values:
        frequent.add(value)
    return frequent


def test_the_most_frequent_come_first_and_equals_by_their_text() -> None:
    frequent = counted(["b", "c", "a", "c"])
    assert frequent.top(2, str) == [("c", 2), ("a", 1)]
    assert frequent.is_exact


def test_a_flood_of_others_does_not_push_out_what_comes_often() -> None:
    often = [value for number in range(2000) for value in ("often", f"once{number}")]
    frequent = counted(often, kept=100)
    assert frequent.top(1, str) == [("often", 2000)]
    assert len(frequent.counts()) <= 200
    assert not frequent.is_exact


def test_what_was_forgotten_is_counted_anew_so_that_counts_are_at_least() -> None:
    frequent = counted(["early", *(f"once{number}" for number in range(50)), "early"], kept=10)
    assert dict(frequent.counts())["early"] in {1, 2}


def test_two_files_add_up() -> None:
    frequent = counted(["a", "b"])
    frequent.merge(counted(["b"]))
    assert frequent.top(2, str) == [("b", 2), ("a", 1)]


@pytest.mark.parametrize("kept", [2, 1000])
def test_after_two_files_it_is_exact_only_if_both_were(kept: int) -> None:
    frequent = counted(["a"])
    frequent.merge(counted([str(number) for number in range(10)], kept))
    assert frequent.is_exact is (kept == 1000)
