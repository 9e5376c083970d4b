"""The report as SVG and HTML: well-formed, whole, safe, and the same for the same messages."""

import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.report.drawing import Drawing
from dnsproxy.tap.report.html import html
from dnsproxy.tap.report.summary import Summary
from dnsproxy.tap.report.svg import svg
from dnsproxy.tap.tally import Tally
from tests.tap.dialogue import Dialogue
from tests.tap.frames import payload

SVG = "{http://www.w3.org/2000/svg}"
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


def tally_of(*frames: TapFrame) -> Tally:
    tally = Tally()
    tally.add(frames)
    return tally


def document(*frames: TapFrame, title: str = "dns.fstrm") -> ET.Element:
    return ET.fromstring(svg(Summary(tally_of(*frames), 10), title))


def texts(root: ET.Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def test_it_shows_what_there_was() -> None:
    shown = texts(document(*Dialogue().whole(0, 20), *Dialogue("b.test", "AAAA").whole(1000, 40, rcode="SERVFAIL")))
    for text in ("dns.fstrm", "8", "CLIENT_QUERY", "FORWARDER_RESPONSE", "answers with an error", "AAAA", "SERVFAIL"):
        assert text in shown
    assert {"www.example.org.", "b.test.", "192.0.2.7", "198.51.100.1:53", "20 ms", "40 ms"} <= set(shown)


def test_nothing_is_drawn_outside_of_it() -> None:
    root = document(*Dialogue("a-very-long-label-that-goes-on-and-on-and-on." * 4 + "test").whole(0, 20))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for box in root.iter(f"{SVG}rect"):
        if box.attrib.get("class") != "page":
            x, y, wide, high = (float(box.attrib[key]) for key in ("x", "y", "width", "height"))
            assert 0 <= x <= x + wide <= width
            assert 0 <= y <= y + high <= height


def test_of_nothing_it_is_a_picture_too() -> None:
    shown = texts(document())
    assert "no message has a time" in shown
    assert "no message has both times" in shown


@pytest.mark.parametrize(
    ("apart_ms", "mark"),
    [
        (100, "22:13:20"),
        (10_000, "22:13:22"),
        (10 * MINUTE_MS, "22:16"),
        (5 * HOUR_MS, "23:00"),
        (20 * DAY_MS, "2023-11-19"),
    ],
)
def test_the_axis_of_time_has_marks_whatever_time_it_was(apart_ms: int, mark: str) -> None:
    shown = texts(document(Dialogue().asked(0), Dialogue().asked(apart_ms)))
    assert mark in shown


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=20))
def test_any_times_can_be_drawn(times_ms: list[int]) -> None:
    document(*(frame for time_ms in times_ms for frame in Dialogue().whole(time_ms, time_ms % 10_000 + 2)))


def test_a_type_without_queries_has_a_line_of_its_own() -> None:
    assert "RESOLVER_RESPONSE" in texts(document(TapFrame(payload("RESOLVER_RESPONSE"))))


def test_types_that_nobody_knows_are_drawn() -> None:
    assert "of unknown types" in texts(
        document(TapFrame(payload("TOOL_RESPONSE").replace(b"\x08\x0c", b"\x08\x64", 1)))
    )


WICKED = '<script>alert("x")</script>&amp;'


@pytest.mark.parametrize("draw", [svg, html])
def test_whatever_is_in_a_name_is_text(draw: Callable[[Summary, str], str]) -> None:
    tally = tally_of(Dialogue("<b>&\\034.example.org").asked())
    page = draw(Summary(tally, 10), f"{WICKED}\0\x1b[2J.fstrm")
    assert "<script>" not in page
    assert "<b>" not in page
    assert "\x1b" not in page
    assert "\0" not in page


def test_a_picture_of_many_messages_is_small() -> None:
    frames = [
        frame
        for number in range(2000)
        for frame in Dialogue(f"host{number}.example.org", client=f"192.0.2.{number % 250}").whole(number * 1700, 20)
    ]
    assert len(svg(Summary(tally_of(*frames), 10), "dns.fstrm")) < 60_000


def test_a_page_is_whole_and_fetches_nothing() -> None:
    page = html(Summary(tally_of(*Dialogue().whole(0, 20)), 10), "dns.fstrm")
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<svg") == page.count("</svg>") == 1
    assert "<td>www.example.org.<td>4" in page
    assert page.replace("http://www.w3.org/2000/svg", "").count("http") == 0


def test_a_drawing_has_one_path_for_an_area_and_none_for_nothing() -> None:
    drawing = Drawing(100)
    drawing.area([(0, 1), (10.25, 2)], 5, "area a")
    drawing.area([], 5, "area b")
    drawing.line([(0, 0), (1, 1)], "mark")
    assert [path.attrib["d"] for path in ET.fromstring(drawing.document(10, "x")).iter(f"{SVG}path")] == [
        "M0 5L0 1L10.2 2L10.2 5Z",
        "M0 0L1 1",
    ]
