"""Writes a run down: Markdown for people, JSON for programs."""

import dataclasses
import json
import os
import platform
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.figures import Figure, Results
from harness.measure import Effort
from harness.peers import Peer
from harness.peers.coredns import CoreDns
from harness.peers.dnsdist import Dnsdist
from harness.verdict import Verdict
from harness.workloads import Workload

REFERENCES = (Dnsdist.name, CoreDns.name)
HEADINGS = (
    "workload",
    "program",
    "user µs",
    "system µs",
    "total µs (least–greatest)",
    "queries/s",
    "lost",
    "taps got",
    "instructions user + kernel",
    *(f"× {name}" for name in REFERENCES),
)
NOTES = """\
CPU per answered query, of the program under test alone: user and system from /proc/PID/stat (10 ms ticks), total from
schedstat (ns). Medians; a ratio is the median of the rounds' ratios of totals. Client, upstream and collector share
the cores, so queries/s are those of the whole set.\
"""


def markdown(
    results: Results,
    workloads: Sequence[Workload],
    programs: Sequence[Peer],
    effort: Effort,
    remarks: Sequence[str],
    verdicts: Sequence[Verdict],
) -> str:
    """The whole report."""
    rows = [row for workload in workloads for peer in programs for row in _row(results, workload, peer)]
    head = [f"| {' | '.join(HEADINGS)} |", "|" + "---|" * len(HEADINGS)]
    facts = [*_facts(programs, effort), *remarks]
    parts = [head + rows, NOTES.splitlines(), [f"- {fact}" for fact in facts], [f"- {verdict}" for verdict in verdicts]]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def write(folder: Path, text: str, results: Results, effort: Effort, programs: Sequence[Peer]) -> None:
    """`bench.md` and `bench.json`, the latter with every sample."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.md").write_text(text)
    document = {
        "machine": _machine(),
        "effort": dataclasses.asdict(effort),
        "programs": {peer.name: peer.version() for peer in programs},
        "samples": [dataclasses.asdict(sample) for sample in results.samples],
    }
    (folder / "bench.json").write_text(json.dumps(document, indent=1) + "\n")


def _facts(programs: Sequence[Peer], effort: Effort) -> Iterator[str]:
    length = f"{effort.seconds:g} s after {effort.warm_up_s:g} s of warm-up"
    yield f"programs in turn, each a fresh process; rounds: {effort.rounds}, each of {length}"
    yield _machine()
    yield "; ".join(f"{peer.name}: {peer.version()}" for peer in programs)


def _machine() -> str:
    model = next((line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")), "")
    return f"{os.cpu_count()} × {model or platform.machine()}, {platform.system()} {platform.release()}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def _row(results: Results, workload: Workload, peer: Peer) -> Iterator[str]:
    """One line of the table, or none if the program was not measured on that workload."""
    if not results.of(workload.name, peer.name):
        return

    def figure(field: str) -> Figure | None:
        return results.figure(workload.name, peer.name, field)

    remark = peer.remark(workload)
    cells = [
        workload.title,
        f"{peer.name} ({remark})" if remark else peer.name,
        _number(figure("user_us")),
        _number(figure("system_us")),
        _spread(figure("total_us")),
        _number(figure("per_second"), digits=0),
        _share(figure("lost"), digits=2),
        _share(figure("delivered"), digits=1),
        _instructions(figure("instructions_user"), figure("instructions_kernel")),
        *(_ratio(results.ratio(workload.name, peer.name, name)) for name in REFERENCES),
    ]
    yield f"| {' | '.join(cells)} |"


def _number(figure: Figure | None, digits: int = 1) -> str:
    return f"{figure.median:,.{digits}f}".replace(",", " ") if figure else "–"


def _spread(figure: Figure | None) -> str:
    return f"{figure.median:.1f} ({figure.least:.1f}–{figure.greatest:.1f})" if figure else "–"


def _share(figure: Figure | None, digits: int) -> str:
    return f"{figure.median:.{digits}%}" if figure else "–"


def _instructions(user: Figure | None, kernel: Figure | None) -> str:
    return f"{_number(user, 0)} + {_number(kernel, 0)}" if user and kernel else "–"


def _ratio(figure: Figure | None) -> str:
    return f"{figure.median:.2f}" if figure else "–"
