"""Measures CPU per query, answer times and memory of this proxy and its peers, in turn; says whether bars are held."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from harness import counters, report, verdict
from harness.campaign import Campaign, Entry, Failure, end_on_signals, say, scratch
from harness.errors import BenchError
from harness.figures import Results
from harness.options import comparison, effort, peers, proxies, with_twins
from harness.peers import Peer
from harness.peers.dnsproxy import Dnsproxy
from harness.workloads import EVERYONE, WORKLOADS, Workload

COULD_NOT_MEASURE = 2


def main() -> int:
    """0: every bar that could be judged is held; 1: one is broken; 2: nothing could be measured."""
    end_on_signals()
    chosen = comparison().parse_args()
    try:
        with scratch() as folder:
            return _run(chosen, folder)
    except BenchError as exc:
        print(f"bench: {exc}", file=sys.stderr)
        return COULD_NOT_MEASURE


def _run(chosen: argparse.Namespace, folder: Path) -> int:
    ours, remarks = _builds(chosen, folder)
    theirs, missing = peers(chosen.peer or EVERYONE, folder)
    remarks += missing
    workloads = [workload for workload in WORKLOADS if not chosen.only or workload.name in chosen.only]
    entries = [Entry(workload, _programs(workload, ours, theirs, remarks)) for workload in workloads]
    counts_instructions = counters.counts_instructions()
    if not counts_instructions:
        remarks.append("instructions are not counted: perf is missing or this machine has no counters for them")
    for remark in remarks:
        say(remark)
    how = effort(chosen)
    campaign = Campaign(how, folder, count_instructions=counts_instructions)
    results = Results(list(campaign.measure(entries)))
    verdicts = verdict.judge(results, [verdict.Build(proxy.name, proxy.build) for proxy in ours])
    verdicts += [_failed(failure, ours) for failure in campaign.failures]
    run = report.Run(results, workloads, [*ours, *theirs], how, remarks, verdicts)
    print(report.markdown(run))
    if chosen.write:
        report.write(chosen.write, run)
    return int(any(one.held is False for one in verdicts))


def _builds(chosen: argparse.Namespace, folder: Path) -> tuple[list[Dnsproxy], list[str]]:
    if chosen.peers_only:
        return [], []
    builds = proxies(chosen.proxy)
    return (builds, []) if chosen.one_build else with_twins(builds, folder / "twin")


def _programs(workload: Workload, ours: Sequence[Dnsproxy], theirs: Sequence[Peer], remarks: list[str]) -> list[Peer]:
    """Who is measured on a workload; adds a remark for each build of ours that cannot be."""
    programs: list[Peer] = []
    for proxy in ours:
        lack = proxy.lacks(workload)
        if lack:
            remarks.append(f"{workload.title} is skipped: {lack}")
        elif workload.both_builds or not proxy.python_path:
            programs.append(proxy)
    return [*programs, *(peer for peer in theirs if peer.name in workload.peers)]


def _failed(failure: Failure, ours: Sequence[Dnsproxy]) -> verdict.Verdict:
    """A program of ours that cannot be measured has broken a bar; a peer only leaves a gap."""
    return verdict.Verdict(False if failure.program in {proxy.name for proxy in ours} else None, str(failure))


if __name__ == "__main__":
    sys.exit(main())
