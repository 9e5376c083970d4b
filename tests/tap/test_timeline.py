"""When messages came, in spans that become longer instead of too many."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.timeline import NS_PER_S, SPANS_KEPT, Timeline

CQ, CR = 5, 6


def of(*seconds: int) -> Timeline:
    timeline = Timeline()
    for second in seconds:
        timeline.add(second * NS_PER_S, CQ)
    return timeline


def test_a_span_is_a_second_at_first_and_empty_ones_are_there() -> None:
    timeline = of(100, 102, 102)
    timeline.add(102 * NS_PER_S + 1, CR)
    assert timeline.spans() == [(100, Counter({CQ: 1})), (101, Counter()), (102, Counter({CQ: 2, CR: 1}))]


def test_of_nothing_there_are_no_spans() -> None:
    assert Timeline().spans() == []


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=50))
def test_however_far_apart_there_are_few_spans_and_nothing_is_lost(seconds: list[int]) -> None:
    timeline = of(*seconds)
    spans = timeline.spans()
    assert len(spans) <= SPANS_KEPT
    assert sum((counts for _, counts in spans), Counter()).total() == len(seconds)
    assert spans[0][0] <= min(seconds) <= max(seconds) < spans[-1][0] + timeline.span_s


@given(st.lists(st.integers(0, 10**6), max_size=20), st.lists(st.integers(0, 10**6), max_size=20))
def test_two_files_add_up(one: list[int], other: list[int]) -> None:
    merged = of(*one)
    merged.merge(of(*other))
    whole = of(*one, *other)
    assert (merged.span_s, merged.spans()) == (whole.span_s, whole.spans())
