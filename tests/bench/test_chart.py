"""Pictures: valid SVG, nothing unescaped, nothing on top of another."""

from xml.etree import ElementTree as ET

from harness import chart
from harness.chart import Axis, Bar, Group, Series, longest_shown, spread_apart

SVG = "{http://www.w3.org/2000/svg}"


def texts(svg: str) -> list[str]:
    """Every text of a picture, which must be well-formed."""
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter(f"{SVG}text")]


def test_a_line_chart_names_its_axes_and_lines() -> None:
    series = [Series("ours", [(0, 1), (8, 20)]), Series("theirs", [(0, 2), (8, 70)], colour=1, dashed=True)]
    svg = chart.lines("Cost", Axis("taps"), Axis("CPU per query, µs"), series, "a machine")
    assert {"Cost", "taps", "CPU per query, µs", "ours", "theirs", "a machine", "0", "80"} <= set(texts(svg))
    assert len(list(ET.fromstring(svg).iter(f"{SVG}circle"))) == 4
    assert svg.count("stroke-dasharray") == 1


def test_names_from_outside_are_escaped() -> None:
    nasty = '<script>&"quoted"'
    svg = chart.lines(nasty, Axis(nasty), Axis(nasty), [Series(nasty, [(1, 1)])], nasty)
    assert "<script>" not in svg
    assert texts(svg).count(nasty) == 5
    assert nasty in texts(chart.bars(nasty, nasty, [Group(nasty, [Bar(nasty, (1.0,))])], nasty))


def test_a_chart_without_points_is_still_a_picture() -> None:
    assert "x" in texts(chart.lines("t", Axis("x", logarithmic=True), Axis("y"), [Series("nobody", [])]))
    assert texts(chart.bars("t", "µs", [])) == ["t"]


def test_bars_show_their_lengths_and_ours_stand_out() -> None:
    svg = chart.bars("t", "µs", [Group("forward", [Bar("ours", (3.0, 6.0), ours=True), Bar("theirs", (2.0, 9.0))])])
    assert {"forward", "ours", "9.0 µs", "theirs", "11.0 µs"} <= set(texts(svg))
    assert svg.count(chart.OURS) == 2
    assert svg.count(chart.THEIRS) == 2


def test_a_bar_far_beyond_the_rest_is_cut_and_says_so() -> None:
    group = Group("forward", [Bar("a", (10.0,)), Bar("b", (12.0,)), Bar("c", (450.0,))])
    assert "→ 450.0 µs" in texts(chart.bars("t", "µs", [group]))


def test_the_longest_bar_shown_is_not_an_outlier() -> None:
    assert longest_shown([6, 8, 10, 12, 24, 47, 450]) == 47
    assert longest_shown([6, 8, 10]) == 10
    assert longest_shown([1, 1, 1, 30, 60]) == 1
    assert longest_shown([]) == 1


def test_names_that_would_touch_are_moved_apart_in_their_order() -> None:
    assert spread_apart([100, 102, 50], 16, 400) == [100, 116, 50]
    assert spread_apart([398, 399, 50], 16, 400) == [384, 400, 50]
    assert spread_apart([], 16, 400) == []
