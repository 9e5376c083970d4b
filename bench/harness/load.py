"""Puts a workload's load on a program: saturating, evenly paced, or held by the upstream."""

from pathlib import Path

from harness import dnsperf, pacing
from harness.outcome import Outcome
from harness.workloads import Held, Paced, Workload


def warm_up(workload: Workload, port: int, file: Path, seconds: float) -> None:
    """The same load for a while; before that a cache is filled, by asking each question once."""
    if workload.cache_octets:
        dnsperf.once(port, file)
    run(workload, port, file, seconds)


def run(workload: Workload, port: int, file: Path, seconds: float) -> Outcome:
    """For that many seconds; a wave of held queries takes what it takes."""
    load = workload.load
    if isinstance(load, Paced):
        return pacing.run(load, port, file, seconds)
    if isinstance(load, Held):
        return pacing.wave(load, port, file)
    return dnsperf.run(load, port, workload.questions, file, seconds)
