"""The tables of a report: one for each kind of load, a line for each program on each workload."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from harness.figures import Figure, Results
from harness.peers import Peer
from harness.workloads import COREDNS, DNSDIST, Held, Paced, Saturated, Workload

REFERENCES = (DNSDIST, COREDNS)


@dataclass(frozen=True)
class Line:
    """One program on one workload."""

    results: Results
    workload: Workload
    peer: Peer

    def figure(self, field: str) -> Figure | None:
        return self.results.figure(self.workload.name, self.peer.name, field)

    def ratio(self, reference: str, field: str) -> Figure | None:
        return self.results.ratio(self.workload.name, self.peer.name, reference, field)

    @property
    def program(self) -> str:
        remark = self.peer.remark(self.workload)
        return f"{self.peer.name} ({remark})" if remark else self.peer.name


Column = tuple[str, Callable[[Line], str]]


def number(field: str, digits: int = 1) -> Callable[[Line], str]:
    """The median of a field."""
    return lambda line: _number(line.figure(field), digits)


def spread(field: str, digits: int = 1) -> Callable[[Line], str]:
    """Median, least and greatest."""
    return lambda line: _spread(line.figure(field), digits)


def share(field: str, digits: int) -> Callable[[Line], str]:
    """A share of 1 as a percentage."""
    return lambda line: _share(line.figure(field), digits)


def times(reference: str, field: str) -> Callable[[Line], str]:
    """A multiple of a peer's figure."""
    return lambda line: _ratio(line.ratio(reference, field))


def _instructions(line: Line) -> str:
    user, kernel = line.figure("instructions_user"), line.figure("instructions_kernel")
    return f"{_number(user, 0)} + {_number(kernel, 0)}" if user and kernel else "–"


WHO: tuple[Column, ...] = (("workload", lambda line: line.workload.title), ("program", lambda line: line.program))
SATURATED: tuple[Column, ...] = (
    *WHO,
    ("user µs", number("user_us")),
    ("system µs", number("system_us")),
    ("total µs (least–greatest)", spread("total_us")),
    ("queries/s", number("per_second", 0)),
    ("lost", share("lost", 2)),
    ("upstream asked", share("asked", 0)),
    ("taps got", share("delivered", 1)),
    ("taps dropped", number("dropped", 0)),
    ("instructions user + kernel", _instructions),
    *((f"× {name}", times(name, "total_us")) for name in REFERENCES),
)
PACED: tuple[Column, ...] = (
    *WHO,
    ("p50 µs", spread("p50_us", 0)),
    *((f"× {name}", times(name, "p50_us")) for name in REFERENCES),
    ("p99 µs", spread("p99_us", 0)),
    *((f"× {name}", times(name, "p99_us")) for name in REFERENCES),
    ("CPU µs", spread("total_us")),
    *((f"× {name}", times(name, "total_us")) for name in REFERENCES),
    ("queries/s", number("per_second", 0)),
    ("lost", share("lost", 2)),
)
HELD: tuple[Column, ...] = (
    *WHO,
    ("resident MiB", spread("peak_mib")),
    ("in flight at once", number("most_waiting", 0)),
    ("lost", share("lost", 2)),
    ("CPU µs", number("total_us")),
)
BY_LOAD: tuple[tuple[type, tuple[Column, ...]], ...] = ((Saturated, SATURATED), (Paced, PACED), (Held, HELD))


def tables(results: Results, workloads: Sequence[Workload], peers: Sequence[Peer]) -> Iterator[list[str]]:
    """Markdown, a list of lines for each table that has a line."""
    for kind, columns in BY_LOAD:
        lines = [
            Line(results, workload, peer)
            for workload in workloads
            if isinstance(workload.load, kind)
            for peer in peers
            if results.of(workload.name, peer.name)
        ]
        if lines:
            yield _table(lines, columns)


def _table(lines: Sequence[Line], columns: Sequence[Column]) -> list[str]:
    """Columns in which nobody has a figure are left out."""
    cells = [[cell(line) for line in lines] for _title, cell in columns]
    kept = [index for index, column in enumerate(cells) if set(column) != {"–"}]
    head = markdown_row([columns[index][0] for index in kept])
    rows = [markdown_row([cells[index][row] for index in kept]) for row in range(len(lines))]
    return [head, "|" + "---|" * len(kept), *rows]


def markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(figure: Figure | None, digits: int = 1) -> str:
    return f"{figure.median:,.{digits}f}".replace(",", " ") if figure else "–"


def _spread(figure: Figure | None, digits: int) -> str:
    if figure is None:
        return "–"
    return f"{figure.median:.{digits}f} ({figure.least:.{digits}f}–{figure.greatest:.{digits}f})"


def _share(figure: Figure | None, digits: int) -> str:
    return f"{abs(figure.median):.{digits}%}" if figure else "–"


def _ratio(figure: Figure | None) -> str:
    return f"{figure.median:.2f}" if figure else "–"
