"""Measures CPU per query of this proxy and its peers, in turn, and says whether the bars are held."""

import argparse
import itertools
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from harness import counters, programs, report, upstream, verdict
from harness.children import Children
from harness.errors import BenchError
from harness.figures import Results
from harness.measure import Bench, Effort, Sample, measure
from harness.options import PEERS, effort, parser, proxies
from harness.peers import Peer
from harness.workloads import WORKLOADS, Workload

COULD_NOT_MEASURE = 2


def main() -> int:
    """0: every bar that could be judged is held; 1: one is broken; 2: nothing could be measured."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)  # as an exception, so that every child is ended on the way out
    chosen = parser().parse_args()
    try:
        return _run(chosen)
    except BenchError as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return COULD_NOT_MEASURE


def _end(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _run(chosen: argparse.Namespace) -> int:
    ours = proxies(chosen)
    theirs, remarks = _peers()
    everyone: list[Peer] = [*ours, *theirs]
    workloads = [workload for workload in WORKLOADS if not chosen.only or workload.name in chosen.only]
    counts_instructions = counters.counts_instructions()
    if not counts_instructions:
        remarks.append("instructions are not counted: perf is missing or this machine has no counters for them")
    for remark in remarks:
        _say(remark)
    how = effort(chosen)
    results = Results(list(_measure_all(workloads, everyone, how, counts_instructions)))
    verdicts = verdict.judge(results, ours)
    text = report.markdown(results, workloads, everyone, how, remarks, verdicts)
    print(text)
    if chosen.write:
        report.write(chosen.write, text, results, how, everyone)
    return int(any(one.held is False for one in verdicts))


def _peers() -> tuple[list[Peer], list[str]]:
    """The peers on this machine, and a line for each one that is not."""
    found: list[Peer] = []
    missing = []
    for program, build in PEERS.items():
        path = programs.find(program)
        if path:
            found.append(build(path))
        else:
            missing.append(programs.how_to_get(program))
    return found, missing


def _measure_all(
    workloads: Sequence[Workload], peers: Sequence[Peer], how: Effort, counts_instructions: bool
) -> Iterator[Sample]:
    """Round by round all programs of a workload in turn, so that a change of the machine's mood meets them all."""
    with tempfile.TemporaryDirectory(prefix="dnsproxy-bench-") as name, Children(Path(name)) as children:
        bench = Bench(Path(name), upstream.start(children, Path(name)), how, counts_instructions)
        plan = list(itertools.product(workloads, range(how.rounds), peers))
        for number, (workload, round_, peer) in enumerate(plan, 1):
            sample = measure(bench, peer, workload)
            _say(
                f"[{number}/{len(plan)}] {workload.title}, round {round_ + 1}, {peer.name}: "
                f"{sample.total_us:.1f} µs, {sample.per_second:.0f} queries/s"
            )
            yield sample


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
