"""How many messages came when, as a plot: queries by who asked, and answers with an error."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from dnsproxy.tap.frame import TYPE_NAMES
from dnsproxy.tap.report.amounts import rate, step
from dnsproxy.tap.report.drawing import COLOURS, Drawing, Point
from dnsproxy.tap.tally import Tally
from dnsproxy.tap.timeline import Timeline
from dnsproxy.tap.times import FOUR_CENTURIES

COLUMNS: Final = 230  # as many as can be told apart, and the file stays small
LEFT, RIGHT, TOP, BOTTOM = 58, 14, 38, 26  # room round the plot
CHARACTER: Final = 7.6  # width of one in a legend, in pixels
DAY_S: Final = 86_400
MARKS_S: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)
MOST_MARKS: Final = 8

Frame = tuple[float, float, float, float]  # left, top, width, height
Series = list[float]  # a value for each column


def draw_timeline(drawing: Drawing, tally: Tally, frame: Frame) -> None:
    """Draw it into a panel."""
    left, top, width, height = frame
    drawing.text(left + 10, top + 20, "Per second", "head")
    spans = tally.timeline.spans()
    if not spans:
        drawing.text(left + width / 2, top + height / 2, "no message has a time", "dim middle")
        return
    plot = _Plot(frame, spans[0][0], spans[-1][0] + tally.timeline.span_s, tally.timeline.span_s)
    lines = _lines(tally, plot)
    plot.most = max(value for _, _, series in lines for value in series)
    plot.draw_marks(drawing)
    x = left + 100.0
    for name, style, series in lines:
        drawing.area(plot.points(series), plot.floor, f"area {style}")
        drawing.box(x, top + 10, 11, 11, style)
        drawing.text(x + 17, top + 20, name, "dim")
        x += 40 + CHARACTER * len(name)


class _Plot:
    """Where things go: columns of equal time from left to right, and `most` at the top."""

    def __init__(self, frame: Frame, start_s: int, end_s: int, span_s: int) -> None:
        left, top, width, height = frame
        self.start_s = start_s
        self.column_s = -(-(end_s - start_s) // span_s // COLUMNS) * span_s
        self.columns = -(-(end_s - start_s) // self.column_s)
        self.most = 1.0
        self.floor = top + height - BOTTOM
        self._left, self._right, self._ceiling = left + LEFT, left + width - RIGHT, top + TOP

    def series(self, timeline: Timeline, count: Callable[[Counter[int]], int]) -> Series:
        """Messages per second in each column."""
        series = [0.0] * self.columns
        for second, counts in timeline.spans():
            column = min(max(second - self.start_s, 0) // self.column_s, self.columns - 1)
            series[column] += count(counts) / self.column_s
        return series

    def points(self, series: Series) -> list[Point]:
        """Values as points in the middle of their columns, the first and last at the edges."""
        points = [(self._x((number + 0.5) * self.column_s), self._y(value)) for number, value in enumerate(series)]
        return [(self._left, points[0][1]), *points, (self._right, points[-1][1])]

    def draw_marks(self, drawing: Drawing) -> None:
        """Lines and numbers at both axes."""
        height = step(self.most, 6)
        for number in range(int(self.most / height) + 1):
            y = self._y(number * height)
            drawing.line([(self._left, y), (self._right, y)], "mark")
            drawing.text(self._left - 8, y + 4, rate(number * height), "dim end")
        every_s = self._mark_s()
        first = -(-self.start_s // every_s) * every_s
        for second in range(first, self.start_s + self.columns * self.column_s + 1, every_s):
            drawing.text(self._x(second - self.start_s), self.floor + 17, _clock(second, every_s), "dim middle")

    def _mark_s(self) -> int:
        total_s = self.columns * self.column_s
        fitting = next((each for each in MARKS_S if total_s // each <= MOST_MARKS), 0)
        return fitting or max(int(step(total_s / DAY_S, MOST_MARKS)), 1) * DAY_S

    def _x(self, seconds: float) -> float:
        return self._left + (self._right - self._left) * seconds / (self.columns * self.column_s)

    def _y(self, value: float) -> float:
        return self.floor - (self.floor - self._ceiling) * value / self.most


def _lines(tally: Tally, plot: _Plot) -> list[tuple[str, str, Series]]:
    """Name, style and values of each line: queries, responses of whose type there are no queries, and errors."""
    totals: Counter[int] = Counter()
    for _, counts in tally.timeline.spans():
        totals.update(counts)
    shown = [type for type, _ in totals.most_common() if type & 1 or type - 1 not in totals][: len(COLOURS)]
    lines = []
    for style, type in zip(COLOURS, sorted(shown), strict=False):
        series = plot.series(tally.timeline, lambda counts, type=type: counts[type])  # type: ignore[misc]
        lines.append((TYPE_NAMES.get(type, "of unknown types"), style, series))
    if tally.errors.spans():
        lines.append(("answers with an error", "bad", plot.series(tally.errors, Counter.total)))
    return lines


def _clock(second: int, every_s: int) -> str:
    moment = time.gmtime(second % FOUR_CENTURIES)
    if every_s >= DAY_S:
        return f"{moment.tm_year}-{moment.tm_mon:02}-{moment.tm_mday:02}"
    clock = f"{moment.tm_hour:02}:{moment.tm_min:02}"
    return clock if every_s >= 60 else f"{clock}:{moment.tm_sec:02}"
