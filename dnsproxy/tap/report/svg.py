"""The report as a picture: how much came when, what took how long, and what was most frequent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dnsproxy.tap.report.amounts import cut, grouped
from dnsproxy.tap.report.drawing import Drawing
from dnsproxy.tap.report.latency_plot import draw_latencies
from dnsproxy.tap.report.summary import Summary
from dnsproxy.tap.report.tiles import tiles
from dnsproxy.tap.report.time_plot import draw_timeline

WIDTH: Final = 960
MARGIN: Final = 24
GAP: Final = 14  # between panels
PLOT_HEIGHT: Final = 190
ROW: Final = 21  # of a list
HEADING: Final = 30  # above a list's rows
SHORT_LIST: Final = 6  # rows of record types, rcodes, protocols
CHARACTER: Final = 6.6  # width of the widest usual ones, in pixels

Rows = Sequence[tuple[str, int]]


def svg(summary: Summary, title: str) -> str:
    """An SVG document of its own; `title` names what was read."""
    drawing = Drawing(WIDTH)
    inside = WIDTH - 2 * MARGIN
    y = _draw_head(drawing, summary, title)
    _panel(drawing, MARGIN, y, inside, PLOT_HEIGHT)
    draw_timeline(drawing, summary.tally, (MARGIN, y, inside, PLOT_HEIGHT))
    y += PLOT_HEIGHT + GAP
    _panel(drawing, MARGIN, y, inside, PLOT_HEIGHT)
    draw_latencies(drawing, summary.tally, (MARGIN, y, inside, PLOT_HEIGHT))
    y += PLOT_HEIGHT + GAP
    y = _draw_lists(
        drawing,
        y,
        [
            ("Record types", summary.qtypes[:SHORT_LIST]),
            ("Response codes", summary.rcodes[:SHORT_LIST]),
            ("Protocols", summary.protocols[:SHORT_LIST]),
        ],
    )
    y = _draw_lists(
        drawing, y, [("Names", summary.names), ("Clients", summary.clients), ("Upstreams", summary.upstreams)]
    )
    return drawing.document(y + MARGIN - GAP, title)


def _draw_head(drawing: Drawing, summary: Summary, title: str) -> float:
    """Title and tiles; where the next thing goes."""
    drawing.text(MARGIN, 34, cut(title, 90), "head")
    drawing.text(WIDTH - MARGIN, 34, _when(summary), "dim end")
    y, width = 48.0, (WIDTH - 2 * MARGIN + GAP) / len(tiles(summary))
    for number, (value, meaning) in enumerate(tiles(summary)):
        x = MARGIN + number * width
        _panel(drawing, x, y, width - GAP, 58)
        drawing.text(x + 10, y + 28, value, "big")
        drawing.text(x + 10, y + 47, meaning, "dim")
    return y + 58 + GAP


def _when(summary: Summary) -> str:
    """`2026-11-21 10:00:00 – 10:30:00 UTC`."""
    if summary.first is None or summary.last is None:
        return ""
    start, end = (text[:19].replace("T", " ") for text in (summary.first, summary.last))
    return f"{start} – {end.removeprefix(start[:11])} UTC"


def _draw_lists(drawing: Drawing, y: float, lists: Sequence[tuple[str, Rows]]) -> float:
    width = (WIDTH - 2 * MARGIN + GAP) / len(lists)
    height = HEADING + ROW * max(len(rows) for _, rows in lists) + 8
    for number, (heading, rows) in enumerate(lists):
        x = MARGIN + number * width
        _panel(drawing, x, y, width - GAP, height)
        drawing.text(x + 10, y + 20, heading, "head")
        _draw_rows(drawing, x + 8, y + HEADING, width - GAP - 16, rows)
    return y + height + GAP


def _draw_rows(drawing: Drawing, x: float, y: float, width: float, rows: Rows) -> None:
    most = max((count for _, count in rows), default=1)
    for number, (value, count) in enumerate(rows):
        top, amount = y + number * ROW, grouped(count)
        drawing.box(x, top, max(width * count / most, 1), ROW - 3, "bar")
        room = int((width - 20 - len(amount) * CHARACTER) / CHARACTER)
        drawing.text(x + 5, top + 13, cut(value, room), hint=value if len(value) > room else "")
        drawing.text(x + width - 5, top + 13, amount, "dim end")


def _panel(drawing: Drawing, x: float, y: float, width: float, height: float) -> None:
    drawing.box(x, y, width, height, "panel")
