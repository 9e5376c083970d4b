"""When messages are sent: at once, as they followed one another, or so many in a second."""

from collections.abc import Iterable

import pytest

from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.pace import Due, Pace, at_rate, in_real_time
from tests.tap.frames import SECOND, payload


class Clock:
    """Sleeping is all that takes time; `took` is what was sent when."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.took: list[tuple[float, list[bytes]]] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def send(self, frames: list[TapFrame]) -> None:
        self.took.append((round(self.now - 1000.0, 3), [frame.extra or b"" for frame in frames]))


def at(*seconds: float | None) -> list[TapFrame]:
    """Messages of these times, told apart by their order."""
    times = [None if each is None else (SECOND + int(each), round(each % 1 * 10**9)) for each in seconds]
    return [TapFrame(payload(extra=b"%d" % number, query_time=time)) for number, time in enumerate(times)]


def sent(due: Due, batches: Iterable[list[TapFrame]]) -> list[tuple[float, list[bytes]]]:
    clock = Clock()
    pace = Pace(due, clock, clock.sleep)
    for batch in batches:
        pace.send(batch, clock.send)
    return clock.took


def test_real_time_is_that_of_the_messages() -> None:
    frames = at(10, 10, 10.5, 12)
    expected = [(0.0, [b"0", b"1"]), (0.5, [b"2"]), (2.0, [b"3"])]
    assert sent(in_real_time(), [frames]) == expected
    assert sent(in_real_time(), [frames[:1], frames[1:3], frames[3:]]) == [
        (0.0, [b"0"]),
        (0.0, [b"1"]),
        *expected[1:],
    ]


def test_ten_times_the_speed_takes_a_tenth_of_the_time() -> None:
    assert sent(in_real_time(10), [at(0, 20, 40)]) == [(0.0, [b"0"]), (2.0, [b"1"]), (4.0, [b"2"])]


def test_a_message_from_before_or_without_a_time_waits_for_nothing() -> None:
    assert sent(in_real_time(), [at(None, 10, 5, None, 11)]) == [(0.0, [b"0", b"1", b"2", b"3"]), (1.0, [b"4"])]


@pytest.mark.parametrize("rate", [2, 0.5])
def test_a_rate_is_the_same_time_between_any_two(rate: float) -> None:
    assert sent(at_rate(rate), [at(0, 0), at(0)]) == [(0.0, [b"0"]), (1 / rate, [b"1"]), (2 / rate, [b"0"])]


def test_who_was_late_catches_up() -> None:
    clock = Clock()
    pace = Pace(at_rate(10), clock, clock.sleep)
    pace.send(at(0), clock.send)
    clock.now += 1  # the collector took its time
    pace.send(at(0, 0, 0), clock.send)
    assert clock.took[1:] == [(1.0, [b"0", b"1", b"2"])]
