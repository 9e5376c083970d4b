"""Measures how cost grows with taps, latency, cache, plugins, workers, message size and load; draws it."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from harness import growth_report, options, sweeps
from harness.campaign import Campaign, Entry, end_on_signals, say, scratch
from harness.errors import BenchError
from harness.figures import Results
from harness.growth_report import Growth
from harness.measure import Effort
from harness.peers import Peer
from harness.peers.dnsproxy import Dnsproxy
from harness.sample import Sample
from harness.sweeps import Sweep, thinned
from harness.workloads import COREDNS, DNSDIST

COULD_NOT_MEASURE = 2
LOST_AT_MOST = 0.01  # of the queries, before a figure gets a remark
ROUNDS, SECONDS, WARM_UP_S = 1, 2.0, 0.5  # about ten minutes for everything


def main() -> int:
    """0: drawn; 1: a program of ours could not be measured somewhere; 2: nothing could be."""
    end_on_signals()
    chosen = _parser().parse_args()
    try:
        with scratch() as folder:
            return _run(chosen, folder)
    except BenchError as exc:
        print(f"growth: {exc}", file=sys.stderr)
        return COULD_NOT_MEASURE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    options.add_common(parser, SECONDS)
    names = [sweep.name for sweep in sweeps.sweeps()]
    parser.add_argument("--only", action="append", choices=names, help="one thing varied (repeatable); default: all")
    parser.add_argument("--no-peers", action="store_true", help="this project's proxy alone")
    parser.add_argument("--rounds", type=options.positive, default=ROUNDS, help=f"default {ROUNDS}")
    parser.add_argument("--write", type=Path, default=options.RESULTS, metavar="DIR", help=f"default {options.RESULTS}")
    return parser


def _run(chosen: argparse.Namespace, folder: Path) -> int:
    ours = options.proxies(chosen.proxy)
    theirs, remarks = options.peers(() if chosen.no_peers else (DNSDIST, COREDNS), folder)
    varied = [sweep for sweep in sweeps.sweeps() if not chosen.only or sweep.name in chosen.only]
    if chosen.quick:
        varied = [thinned(sweep) for sweep in varied]
    effort = Effort(chosen.rounds, chosen.seconds or (1.0 if chosen.quick else SECONDS), WARM_UP_S)
    campaign = Campaign(effort, folder)
    samples = list(campaign.measure(list(_entries(varied, ours, theirs, remarks))))
    remarks += [str(failure) for failure in campaign.failures]
    remarks += [*_unsound(samples), *_without_workers(samples, varied)]
    growth = Growth(varied, [*ours, *theirs], Results(samples), effort, remarks)
    print(growth_report.markdown(growth))
    growth_report.write(chosen.write, growth)
    say(f"written to {chosen.write}")
    return int(any(failure.program in {proxy.name for proxy in ours} for failure in campaign.failures))


def _entries(
    varied: Sequence[Sweep], ours: Sequence[Dnsproxy], theirs: Sequence[Peer], remarks: list[str]
) -> Iterator[Entry]:
    """Every point of every sweep; adds a remark for each sweep that a build of ours cannot do."""
    for sweep in varied:
        lacks = {proxy.name: proxy.lacks(sweep.points[-1].workload) for proxy in ours}
        remarks += [f"{sweep.title}: skipped: {lack}" for lack in lacks.values() if lack]
        able = [proxy for proxy in ours if not lacks[proxy.name]]
        for point in sweep.points:
            yield Entry(point.workload, [*able, *(peer for peer in theirs if peer.name in point.workload.peers)])


def _unsound(samples: Sequence[Sample]) -> Iterator[str]:
    """A line for each point that measured something else than answers."""
    for sample in samples:
        if sample.lost > LOST_AT_MOST or sample.noerror < 1 - LOST_AT_MOST:
            yield f"{sample.program}, {sample.workload}: {sample.lost:.1%} lost, {sample.noerror:.1%} NOERROR"


def _without_workers(samples: Sequence[Sample], varied: Sequence[Sweep]) -> Iterator[str]:
    """A line if the number of processes did not follow `workers`."""
    workers = {point.workload.name: point.workload.workers for sweep in varied for point in sweep.points}
    short = {sample.program for sample in samples if sample.processes < workers[sample.workload]}
    yield from (f"{program} runs fewer processes than `workers` says: those figures are of fewer" for program in short)


if __name__ == "__main__":
    sys.exit(main())
