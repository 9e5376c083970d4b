"""The tables of `top`."""

import io

from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dnsproxy.tap.screen import BLOCKS, screen, sparkline
from dnsproxy.tap.window import Recent, Whole, Window
from tests.tap.dialogue import Dialogue

NOW = 1_700_000_000.0


def shown(window: Window, width: int = 110) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    with console.capture() as captured:
        console.print(screen(window, "dns.fstrm", NOW))
    return captured.get()


def test_it_shows_what_is_going_on() -> None:
    window = Whole()
    window.add([*Dialogue().whole(0, 20), *Dialogue("b.test", "AAAA").whole(1000, 40, rcode="SERVFAIL")])
    text = shown(window)
    assert "8 messages   7.7 per second   50 % with an error   0 damaged" in text
    for line in ("CLIENT_QUERY 2 1.9", "FORWARDER_RESPONSE 18 ms 38 ms 38 ms 38 ms"):
        assert line in " ".join(text.split())
    for word in ("dns.fstrm", "www.example.org.", "192.0.2.7", "198.51.100.1:53", "SERVFAIL", "AAAA"):
        assert word in text


def test_of_nothing_it_is_a_screen_too() -> None:
    assert "0 messages" in shown(Recent(0.0))


def test_a_narrow_terminal_cuts_names_not_numbers() -> None:
    window = Whole()
    window.add(Dialogue("a-long-label-in-front-of.example.org").whole(0, 20))
    text = shown(window, width=90)
    assert max(map(len, text.splitlines())) <= 90
    assert "…" in text
    assert "20 ms" in text


def test_nothing_in_a_name_moves_the_cursor() -> None:
    window = Whole()
    window.add([Dialogue("[red]\\027[2J.example.org").asked()])
    text = shown(window)
    assert "\x1b" not in text
    assert "[red]" in text


@given(st.lists(st.floats(0, 1e6), max_size=50))
def test_a_sparkline_has_a_character_for_each_amount(amounts: list[float]) -> None:
    line = sparkline(amounts)
    assert len(line) == len(amounts)
    assert set(line) <= set(BLOCKS)


def test_a_sparkline_is_highest_where_most_is_and_empty_where_nothing_is() -> None:
    assert sparkline([0, 1, 50, 100]) == " ▁▄█"
    assert sparkline([0, 0]) == "  "
