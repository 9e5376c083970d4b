"""Writes a run down: Markdown for people, JSON for programs, a picture for both."""

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
from harness.peers.dnsproxy import Dnsproxy
from harness.tables import tables
from harness.verdict import Verdict
from harness.workloads import Saturated, Workload

NOTES = """\
CPU per answered query, of the program under test alone: user and system from /proc/PID/stat (10 ms ticks), total from
schedstat (ns). Medians; a ratio is the median of the rounds' ratios. Client, upstream and collector share the cores,
so queries/s are those of the whole set. Times of answers (p50, p99) from before the query is sent until the kernel has
the answer.\
"""


@dataclass(frozen=True)
class Run:
    """What was measured, how, and what is to be said about it."""

    results: Results
    workloads: Sequence[Workload]
    programs: Sequence[Peer]
    effort: Effort
    remarks: Sequence[str]
    verdicts: Sequence[Verdict]


def markdown(run: Run) -> str:
    """The whole report."""
    facts = [*_facts(run), *run.remarks]
    parts = [
        *tables(run.results, run.workloads, run.programs),
        NOTES.splitlines(),
        [f"- {fact}" for fact in facts],
        [f"- {verdict}" for verdict in run.verdicts],
    ]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def write(folder: Path, run: Run) -> None:
    """`bench.md`, `bench.json` with every sample, and `bench.svg`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.md").write_text(markdown(run))
    document = {
        "machine": machine(),
        "effort": dataclasses.asdict(run.effort),
        "programs": {peer.name: peer.version() for peer in run.programs},
        "samples": [dataclasses.asdict(sample) for sample in run.results.samples],
    }
    (folder / "bench.json").write_text(json.dumps(document, indent=1) + "\n")
    (folder / "bench.svg").write_text(picture(run))


def picture(run: Run) -> str:
    """CPU per query of every program on every saturated workload, as bars of user and system time."""
    groups = [
        chart.Group(workload.title, [bar for peer in run.programs for bar in _bar(run.results, workload, peer)])
        for workload in run.workloads
        if isinstance(workload.load, Saturated) and workload.load.rate is None
    ]
    filled = [group for group in groups if group.bars]
    return chart.bars("CPU per query: user (dark) and system (pale)", "µs", filled, f"{machine()}; less is better")


def _bar(results: Results, workload: Workload, peer: Peer) -> Iterator[chart.Bar]:
    user = results.figure(workload.name, peer.name, "user_us")
    system = results.figure(workload.name, peer.name, "system_us")
    if user and system:
        remark = peer.remark(workload)
        name = f"{peer.name} ({remark})" if remark else peer.name
        yield chart.Bar(name, (user.median, system.median), ours=isinstance(peer, Dnsproxy))


def _facts(run: Run) -> Iterator[str]:
    effort = run.effort
    length = f"{effort.seconds:g} s after {effort.warm_up_s:g} s of warm-up"
    yield f"programs in turn, each a fresh process; rounds: {effort.rounds}, each of {length}"
    yield machine()
    yield "; ".join(f"{peer.name}: {peer.version()}" for peer in run.programs)
