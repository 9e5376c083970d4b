"""The state of an upstream, without a network and without a clock."""

from math import inf

import pytest

from dnsproxy.upstream.health import SERVFAIL, Health
from dnsproxy.upstream.options import HealthOptions


def health(**options: int) -> Health:
    return Health(HealthOptions(**options), 0.0)  # type: ignore[arg-type]


def fallen(**options: int) -> Health:
    made = health(**options)
    while not made.failed("timeout", 1.0):
        assert made.up
    return made


@pytest.mark.parametrize("fall", [1, 2, 3, 10])
def test_it_is_down_after_so_many_failures_in_a_row(fall: int) -> None:
    made = health(fall=fall)
    assert [made.failed("timeout", 1.0) for _ in range(fall)] == [False] * (fall - 1) + [True]
    assert (made.state, made.up, made.transitions, made.changed_at) == ("down", False, 1, 1.0)
    assert not made.failed("timeout", 2.0), "it is down already"


def test_queries_and_probes_fail_alike() -> None:
    made = health(fall=4)
    made.failed("timeout", 1.0, is_probe=True)
    made.failed("refused", 2.0)
    made.failed("tls_error", 3.0, is_probe=True)
    assert made.failed("timeout", 4.0)
    assert made.reason == "2 timeouts, 1 refused, 1 tls error"


@pytest.mark.parametrize("end", [Health.answered, lambda made: made.probe_answered(1.0)])
def test_an_answer_ends_the_row(end: object) -> None:
    made = health(fall=2)
    made.failed("timeout", 1.0)
    assert made.is_doubtful
    end(made)  # type: ignore[operator]
    assert (made.is_doubtful, made.failures_in_a_row) == (False, 0)
    assert not made.failed("timeout", 2.0)


@pytest.mark.parametrize("rise", [1, 2, 5])
def test_it_is_up_after_so_many_answered_probes_in_a_row(rise: int) -> None:
    made = fallen(rise=rise)
    states = []
    for at in range(2, 2 + rise):
        states.append(made.state)
        assert made.probe_answered(float(at)) == (at == 1 + rise)
    assert states == ["down"] + ["probing"] * (rise - 1)
    assert (made.state, made.risen_at, made.changed_at) == ("up", 1.0 + rise, 1.0 + rise)
    assert (made.transitions, made.failures_in_a_row, made.reason) == (2, 0, "answered")


def test_a_probe_that_fails_begins_the_rise_anew_and_a_query_that_fails_does_not() -> None:
    made = fallen(rise=2)
    made.probe_answered(2.0)
    made.failed("timeout", 2.5)
    assert made.state == "probing"
    made.failed("timeout", 3.0, is_probe=True)
    assert made.state == "down"
    assert not made.probe_answered(4.0)
    assert made.probe_answered(5.0)


def test_answered_queries_do_not_bring_it_up() -> None:
    made = fallen()
    for _ in range(100):
        made.answered()
    assert made.state == "down"
    assert made.is_doubtful


def test_after_it_came_up_the_next_fall_takes_as_many_failures_again() -> None:
    made = fallen(rise=1, fall=3)
    made.probe_answered(2.0)
    assert [made.failed("timeout", 3.0) for _ in range(3)] == [False, False, True]
    assert made.reason == "3 timeouts"


@pytest.mark.parametrize("kind", ["refused", "closed", "tls_error", "send_error"])
def test_what_breaks_at_once_is_one_hint(kind: str) -> None:
    made = health(fall=3)
    for at in (1.0, 2.0):
        assert not any(made.failed(kind, at) for _ in range(50))
    assert made.failures_in_a_row == 2
    assert made.failed(kind, 3.0)


def test_each_silence_counts() -> None:
    made = health(fall=3)
    assert [made.failed("timeout", 1.0) for _ in range(3)] == [False, False, True]


def test_answered_queries_do_not_speak_for_what_probes_are_told() -> None:
    made = health(fall=3)
    made.failed(SERVFAIL, 1.0, is_probe=True)
    made.failed("timeout", 2.0)
    assert (made.failures_in_a_row, made.unanswered) == (2, 1)
    made.answered()
    assert (made.failures_in_a_row, made.unanswered) == (1, 0)
    made.failed(SERVFAIL, 3.0, is_probe=True)
    assert made.failed(SERVFAIL, 4.0, is_probe=True)
    assert made.reason == "3 SERVFAIL"


def test_a_probe_that_is_answered_well_does() -> None:
    made = health(fall=2)
    made.failed(SERVFAIL, 1.0, is_probe=True)
    made.probe_answered(2.0)
    assert not made.failed(SERVFAIL, 3.0, is_probe=True)


def test_a_start_is_no_change() -> None:
    made = health()
    assert (made.state, made.transitions, made.risen_at) == ("up", 0, -inf)
