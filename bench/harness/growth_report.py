"""Writes down how cost grows: a table and pictures for each thing varied."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import chart
from harness.figures import Results
from harness.machine import machine
from harness.measure import Effort
from harness.peers import Peer
from harness.sweeps import Picture, Point, Sweep
from harness.tables import markdown_row

COLUMNS = (
    ("CPU µs", "total_us", 1),
    ("queries/s", "per_second", 0),
    ("p50 µs", "p50_us", 0),
    ("p99 µs", "p99_us", 0),
    ("resident MiB", "peak_mib", 1),
    ("processes", "processes", 0),
)
HEAD = """\
# How cost grows

CPU per query of the program under test alone, user and system; medians of {rounds} rounds of {seconds:g} s.
{machine}; {programs}.
"""


@dataclass(frozen=True)
class Growth:
    """What was varied, on which programs, and what came of it."""

    sweeps: Sequence[Sweep]
    programs: Sequence[Peer]
    results: Results
    effort: Effort
    remarks: Sequence[str]


def write(folder: Path, growth: Growth) -> None:
    """`growth.md`, `growth.json` and the pictures that the former shows."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "growth.md").write_text(markdown(growth))
    for sweep in growth.sweeps:
        for picture in sweep.pictures:
            (folder / file_name(sweep, picture)).write_text(drawing(growth, sweep, picture))
    document = {
        "machine": machine(),
        "effort": dataclasses.asdict(growth.effort),
        "programs": {peer.name: peer.version() for peer in growth.programs},
        "samples": [dataclasses.asdict(sample) for sample in growth.results.samples],
    }
    (folder / "growth.json").write_text(json.dumps(document, indent=1) + "\n")


def markdown(growth: Growth) -> str:
    """Tables, and links to the pictures beside the file."""
    programs = "; ".join(f"{peer.name}: {peer.version()}" for peer in growth.programs)
    effort = growth.effort
    head = HEAD.format(rounds=effort.rounds, seconds=effort.seconds, machine=machine(), programs=programs)
    parts = [head, *(f"- {remark}" for remark in growth.remarks)]
    for sweep in growth.sweeps:
        pictures = [f"![{picture.title}]({file_name(sweep, picture)})" for picture in sweep.pictures]
        parts += [f"\n## {sweep.axis.title}: {sweep.title}\n", *table(growth, sweep), "", *pictures]
    return "\n".join(parts) + "\n"


def table(growth: Growth, sweep: Sweep) -> list[str]:
    """A line for each program at each value; columns in which nobody has a figure are left out."""
    rows = [
        (point, peer)
        for peer in growth.programs
        for point in sweep.points
        if growth.results.of(point.workload.name, peer.name)
    ]
    columns = [
        (title, [_cell(growth.results, *row, field, digits) for row in rows]) for title, field, digits in COLUMNS
    ]
    kept = [(title, cells) for title, cells in columns if set(cells) != {"–"}]
    head = [sweep.axis.title, "program", *(title for title, _cells in kept)]
    lines = [
        markdown_row(
            [
                _value(growth.results, point, peer),
                f"{peer.name}{point.series}",
                *(cells[index] for _title, cells in kept),
            ]
        )
        for index, (point, peer) in enumerate(rows)
    ]
    return [markdown_row(head), "|" + "---|" * len(head), *lines]


def drawing(growth: Growth, sweep: Sweep, picture: Picture) -> str:
    """One line for each program, kind and field; a program keeps its colour in all pictures but those of kinds."""
    series = [one for one in _lines(growth, sweep, picture) if one.points]
    return chart.lines(f"{picture.title}: {sweep.title}", sweep.axis, picture.axis, series, machine())


def file_name(sweep: Sweep, picture: Picture) -> str:
    return f"growth-{sweep.name}-{picture.suffix}.svg"


def _lines(growth: Growth, sweep: Sweep, picture: Picture) -> Iterator[chart.Series]:
    kinds = list(dict.fromkeys(point.series for point in sweep.points))
    for colour, (peer, kind) in enumerate((peer, kind) for peer in growth.programs for kind in kinds):
        points = [point for point in sweep.points if point.series == kind]
        for number, (field, words) in enumerate(picture.fields):
            places = (_place(growth.results, point, peer, field) for point in points)
            drawn = [place for place in places if place]
            yield chart.Series(f"{peer.name}{kind}{words}", drawn, colour, dashed=number > 0)


def _place(results: Results, point: Point, peer: Peer, field: str) -> tuple[float, float] | None:
    value = results.figure(point.workload.name, peer.name, field)
    x = _x(results, point, peer)
    return (x, value.median) if value and x is not None else None


def _x(results: Results, point: Point, peer: Peer) -> float | None:
    if point.x is not None:
        return point.x
    reached = results.figure(point.workload.name, peer.name, "per_second")
    return reached.median if reached else None


def _value(results: Results, point: Point, peer: Peer) -> str:
    x = _x(results, point, peer)
    return f"{x:,.10g}".replace(",", " ") if point.x is not None else f"{x:,.0f} (saturated)".replace(",", " ")


def _cell(results: Results, point: Point, peer: Peer, field: str, digits: int) -> str:
    figure = results.figure(point.workload.name, peer.name, field)
    return f"{figure.median:,.{digits}f}".replace(",", " ") if figure else "–"
