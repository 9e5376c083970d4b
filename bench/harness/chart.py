"""Draws line charts and bar charts as SVG: axes with units, lines named where they end, nothing else."""

import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.sax.saxutils import escape

from harness.scale import Scale, in_words, linear, logarithmic

COLOURS = ("#0b6e99", "#d1495b", "#2e8b57", "#8a5fb0", "#c77d0a", "#555555")
PALE = 0.45  # opacity of a bar's second part
INK, FAINT, GRID = "#222222", "#5f5f5f", "#e3e3e3"
FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
TEXT_PX, TITLE_PX = 13, 16

WIDTH, HEIGHT = 760, 420
LEFT, TOP, BOTTOM = 78, 66, 58  # outside the axes
NAME_GAP, NAME_PX = 16, 7.4  # on the right stand the names of the lines: room between two, and for a letter

BAR_HEIGHT, BAR_GAP, GROUP_GAP = 18, 4, 30
NAMES_WIDTH, VALUES_WIDTH = 230, 90  # beside the bars
OURS, THEIRS = COLOURS[0], "#8a8f98"
OUTLIER = 2  # times the next longest bar: such a one is cut, and its number tells


@dataclass(frozen=True)
class Axis:
    """What it shows, with its unit; logarithmic where values span orders of magnitude."""

    title: str
    logarithmic: bool = False

    def scale(self, values: Iterable[float], start: float, end: float) -> Scale:
        return (logarithmic if self.logarithmic else linear)(values, start, end)


@dataclass(frozen=True)
class Series:
    """A line: its name, its points in the order of x, the number of its colour."""

    name: str
    points: Sequence[tuple[float, float]]
    colour: int = 0
    dashed: bool = False

    @property
    def ink(self) -> str:
        return COLOURS[self.colour % len(COLOURS)]


@dataclass(frozen=True)
class Bar:
    """A bar of parts, one behind the other; `ours` stands out."""

    name: str
    parts: tuple[float, ...]
    ours: bool = False

    @property
    def length(self) -> float:
        return sum(self.parts)


@dataclass(frozen=True)
class Group:
    """Bars under one heading."""

    title: str
    bars: Sequence[Bar]


def lines(title: str, x: Axis, y: Axis, series: Sequence[Series], note: str = "") -> str:
    """A line chart."""
    points = [point for one in series for point in one.points]
    right = WIDTH - 20 - max((len(one.name) for one in series), default=0) * NAME_PX
    across = x.scale([point[0] for point in points], LEFT, right)
    up = y.scale([point[1] for point in points], HEIGHT - BOTTOM, TOP)
    body = [*_head(title, note), *_grid(x, across, y, up)]
    for one in series:
        body += _line(one, across, up)
    return _svg(WIDTH, HEIGHT, title, [*body, *_names(series, right + 10, up)])


def bars(title: str, unit: str, groups: Sequence[Group], note: str = "") -> str:
    """Horizontal bars under headings, all on one scale."""
    longest = longest_shown([bar.length for group in groups for bar in group.bars])
    across = Scale(0, longest, NAMES_WIDTH, WIDTH - VALUES_WIDTH)
    body, y = _head(title, note), float(TOP)
    for group in groups:
        body.append(_text(group.title, 20, y + BAR_HEIGHT, size=TEXT_PX, weight="600"))
        y += GROUP_GAP
        for bar in group.bars:
            body += _bar(bar, across, y, unit)
            y += BAR_HEIGHT + BAR_GAP
        y += BAR_GAP
    return _svg(WIDTH, round(y + 20), title, body)


def longest_shown(lengths: Sequence[float]) -> float:
    """The length that the picture's width stands for: of the longest bar that is not far beyond the rest."""
    if not lengths:
        return 1
    longest = statistics.median_low(lengths)
    for length in sorted(lengths):
        if length > max(longest * OUTLIER, longest):
            break
        longest = max(longest, length)
    return longest


def spread_apart(places: Sequence[float], gap: float, end: float) -> list[float]:
    """The places, moved where two would be nearer than the gap: down, but no further than the end."""
    order = sorted(range(len(places)), key=lambda one: places[one])
    moved = list(places)
    for before, index in pairwise(order):
        moved[index] = max(moved[index], moved[before] + gap)
    for index in reversed(order):
        moved[index] = min(moved[index], end)
        end = moved[index] - gap
    return moved


def _head(title: str, note: str) -> list[str]:
    head = [_text(title, 20, 26, size=TITLE_PX, weight="600")]
    return [*head, _text(note, 20, 45, colour=FAINT, size=TEXT_PX - 1)] if note else head


def _grid(x: Axis, across: Scale, y: Axis, up: Scale) -> Iterator[str]:
    for tick in up.ticks():
        yield _stroke((LEFT, up.at(tick)), (across.end, up.at(tick)))
        yield _text(in_words(tick), LEFT - 8, up.at(tick) + 4, colour=FAINT, anchor="end")
    for tick in across.ticks():
        yield _stroke((across.at(tick), HEIGHT - BOTTOM), (across.at(tick), HEIGHT - BOTTOM + 5))
        yield _text(in_words(tick), across.at(tick), HEIGHT - BOTTOM + 20, colour=FAINT, anchor="middle")
    yield _text(x.title, (across.start + across.end) / 2, HEIGHT - 16, anchor="middle")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    yield _text(y.title, 18, middle, anchor="middle", more=f' transform="rotate(-90 18 {middle:g})"')


def _line(series: Series, across: Scale, up: Scale) -> Iterator[str]:
    places = [(across.at(x), up.at(y)) for x, y in series.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dashes = ' stroke-dasharray="6 4"' if series.dashed else ""
    yield f'<polyline points="{path}" fill="none" stroke="{series.ink}" stroke-width="2"{dashes}/>'
    for (x, y), point in zip(places, series.points, strict=True):
        label = escape(f"{series.name}: {in_words(round(point[0], 3))} → {in_words(round(point[1], 2))}")
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{series.ink}"><title>{label}</title></circle>'


def _names(series: Sequence[Series], x: float, up: Scale) -> Iterator[str]:
    """Each line's name at its last point's height."""
    drawn = [one for one in series if one.points]
    heights = spread_apart([up.at(one.points[-1][1]) for one in drawn], NAME_GAP, up.start - 4)
    for one, height in zip(drawn, heights, strict=True):
        yield _text(one.name, x, height + 4, colour=one.ink)


def _bar(bar: Bar, across: Scale, y: float, unit: str) -> Iterator[str]:
    yield _text(bar.name, NAMES_WIDTH - 8, y + BAR_HEIGHT - 5, anchor="end", size=TEXT_PX - 1)
    colour = OURS if bar.ours else THEIRS
    start = 0.0
    for number, part in enumerate(bar.parts):
        left, right = across.at(start), across.at(start + part)
        opacity = 1 if not number else PALE
        yield (
            f'<rect x="{left:.1f}" y="{y:g}" width="{right - left:.1f}" height="{BAR_HEIGHT}" '
            f'fill="{colour}" fill-opacity="{opacity}"/>'
        )
        start += part
    cut = "→ " if bar.length > across.greatest else ""
    label = f"{cut}{bar.length:.1f} {unit}"
    yield _text(label, across.at(bar.length) + 6, y + BAR_HEIGHT - 5, size=TEXT_PX - 1)


def _stroke(start: tuple[float, float], end: tuple[float, float]) -> str:
    return f'<line x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" stroke="{GRID}"/>'


def _text(
    text: str,
    x: float,
    y: float,
    *,
    colour: str = INK,
    anchor: str = "start",
    size: int = TEXT_PX,
    weight: str = "400",
    more: str = "",
) -> str:
    style = f'fill="{colour}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {style}{more}>{escape(text)}</text>'


def _svg(width: int, height: int, title: str, body: Iterable[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    background = f'<rect width="{width}" height="{height}" fill="#ffffff"/>'
    label = f"<title>{escape(title)}</title>"
    return "\n".join([f'{head} font-family="{FONT}" role="img">', label, background, *body, "</svg>"]) + "\n"
