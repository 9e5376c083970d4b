"""What `top` counts: the last while of what comes, and all of what is in files."""

from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.window import COLUMNS, HALF_S, Recent, Whole
from tests.tap.dialogue import Dialogue

CQ = 5


def queries(number: int) -> list[TapFrame]:
    return [Dialogue(port=port).asked(port) for port in range(number)]


def test_rates_are_those_of_the_last_interval() -> None:
    window = Recent(100.0)
    window.add(queries(10))
    window.turn(102.0)
    assert (window.rate(), window.rate(CQ), window.rate(6)) == (5.0, 5.0, 0.0)
    window.turn(103.0)
    assert window.rate() == 0.0
    assert window.amounts() == [0.0] * (COLUMNS - 2) + [5.0, 0.0]
    assert window.frames == 10


def test_what_came_longer_ago_than_a_while_is_forgotten_but_not_the_total() -> None:
    window = Recent(0.0)
    window.add(queries(10))
    window.turn(HALF_S)
    window.add(queries(1))
    assert window.tally().frames == 11
    window.turn(2 * HALF_S)
    assert window.tally().frames == 1
    window.turn(3 * HALF_S)
    assert window.tally().frames == 0
    assert window.frames == 11


def test_an_interval_without_time_is_no_trouble() -> None:
    window = Recent(0.0)
    window.add(queries(1))
    window.turn(0.0)
    assert window.rate() == 1000.0


def test_of_files_all_is_shown_and_rates_are_by_the_messages_times() -> None:
    window = Whole()
    window.add([Dialogue().asked(0), Dialogue().asked(1000), Dialogue().asked(4000)])
    assert (window.frames, window.tally().frames) == (3, 3)
    assert (window.rate(), window.rate(CQ), window.rate(6)) == (0.75, 0.75, 0.0)
    amounts = window.amounts()
    assert (len(amounts), sum(amounts), amounts[0]) == (COLUMNS, 3.0, 1.0)


def test_of_nothing_there_is_nothing() -> None:
    window = Whole()
    assert (window.frames, window.rate(), sum(window.amounts())) == (0, 0.0, 0.0)
