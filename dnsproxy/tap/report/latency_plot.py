"""How long responses took, as a plot over a logarithmic axis, and as a table beside it."""

from __future__ import annotations

import math
from typing import Final

from dnsproxy.tap.frame import TYPE_NAMES
from dnsproxy.tap.quantiles import Quantiles
from dnsproxy.tap.report.amounts import duration, grouped
from dnsproxy.tap.report.drawing import COLOURS, Drawing
from dnsproxy.tap.report.summary import SHARES
from dnsproxy.tap.report.time_plot import BOTTOM, TOP, Frame
from dnsproxy.tap.tally import Tally

BINS_PER_DECADE: Final = 16
SHORTEST_NS: Final = 1_000  # to the left of it all is the same
TABLE: Final = 424  # width of the table, in pixels
COLUMNS: Final = (240, 298, 356, 414)  # of the table: where p50, p90, p99 and the maximum end
ROW: Final = 24

Bins = dict[int, int]  # how many responses fell into which bin


def draw_latencies(drawing: Drawing, tally: Tally, frame: Frame) -> None:
    """Draw both into a panel."""
    left, top, width, height = frame
    drawing.text(left + 10, top + 20, "What responses took", "head")
    shown = sorted(tally.latencies.items(), key=lambda item: -item[1].count)[: len(COLOURS)]
    shown.sort()
    if not shown:
        drawing.text(left + width / 2, top + height / 2, "no message has both times", "dim middle")
        return
    _draw_plot(drawing, shown, (left, top, width - TABLE, height))
    _draw_table(drawing, shown, left + width - TABLE, top)


def _draw_plot(drawing: Drawing, shown: list[tuple[int, Quantiles]], frame: Frame) -> None:
    left, top, width, height = frame
    binned = [_binned(latencies) for _, latencies in shown]
    first = min(min(bins) for bins in binned) // BINS_PER_DECADE * BINS_PER_DECADE
    last = -(-(max(max(bins) for bins in binned) + 1) // BINS_PER_DECADE) * BINS_PER_DECADE
    start, end, floor, ceiling = left + 24, left + width - 12, top + height - BOTTOM, top + TOP
    pitch = (end - start) / (last - first)
    for number in range(first, last + 1, BINS_PER_DECADE):
        x = start + (number - first) * pitch
        drawing.line([(x, ceiling), (x, floor)], "mark")
        drawing.text(x, floor + 17, duration(10 ** (number / BINS_PER_DECADE)), "dim middle")
    for style, bins in zip(COLOURS, binned, strict=False):
        most = max(bins.values())
        points = [
            (start + (number - first + 0.5) * pitch, floor - (floor - ceiling) * bins.get(number, 0) / most)
            for number in range(max(min(bins) - 1, first), min(max(bins) + 2, last))
        ]
        drawing.area(points, floor, f"area {style}")


def _draw_table(drawing: Drawing, shown: list[tuple[int, Quantiles]], left: float, top: float) -> None:
    for end, heading in zip(COLUMNS, ("half", "90 %", "99 %", "longest"), strict=True):
        drawing.text(left + end, top + 52, heading, "dim end")
    for number, (style, (type, latencies)) in enumerate(zip(COLOURS, shown, strict=False)):
        y = top + 52 + ROW * (number + 1)
        drawing.box(left, y - 10, 11, 11, style)
        name = TYPE_NAMES.get(type, "of unknown types")
        drawing.text(left + 17, y, name, hint=f"{grouped(latencies.count)} messages")
        for end, value in zip(COLUMNS, (*latencies.at(*SHARES), latencies.maximum), strict=True):
            drawing.text(left + end, y, duration(value), "end")


def _binned(latencies: Quantiles) -> Bins:
    bins: Bins = {}
    for value, count in latencies.counts():
        number = math.floor(BINS_PER_DECADE * math.log10(max(value, SHORTEST_NS)))
        bins[number] = bins.get(number, 0) + count
    return bins
