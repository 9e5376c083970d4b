"""Measures a list of workloads, round by round and all programs in turn, and tells how far it is."""

import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from harness import programs, upstream
from harness.children import Children
from harness.errors import BenchError
from harness.measure import Bench, Effort, measure
from harness.peers import Peer
from harness.sample import Sample
from harness.workloads import Workload


@dataclass(frozen=True)
class Entry:
    """A workload and the programs that it is measured on."""

    workload: Workload
    programs: Sequence[Peer]


@dataclass(frozen=True)
class Failure:
    """A program that could not be measured on a workload, and why."""

    workload: Workload
    program: str
    reason: str

    def __str__(self) -> str:
        return f"{self.program}, {self.workload.title}: could not be measured: {self.reason}"


def end_on_signals() -> None:
    """SIGTERM and SIGINT become an exception, so that every child is ended on the way out."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)


def _end(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for everything that a run writes."""
    with tempfile.TemporaryDirectory(prefix="dnsproxy-bench-") as name:
        yield Path(name)


class Campaign:
    """Measures entries; `failures` grows while it does."""

    def __init__(self, effort: Effort, folder: Path, *, count_instructions: bool = False) -> None:
        self.effort = effort
        self.folder = folder
        self.count_instructions = count_instructions
        self.failures: list[Failure] = []

    def measure(self, entries: Sequence[Entry]) -> Iterator[Sample]:
        """Round by round all programs of a workload in turn, so that a change of the machine's mood meets them all."""
        programs.require("dnsperf")
        plan = [
            (entry.workload, round_, program)
            for entry in entries
            for round_ in range(self.effort.rounds)
            for program in entry.programs
        ]
        with Children(self.folder) as children:
            nsd = upstream.start(children, self.folder)
            bench = Bench(self.folder, nsd, self.effort, self.count_instructions)
            for number, (workload, round_, program) in enumerate(plan, 1):
                say(f"[{number}/{len(plan)}] {workload.title}, round {round_ + 1}, {program.name}: ", end="")
                yield from self._measure_one(bench, program, workload)

    def _measure_one(self, bench: Bench, program: Peer, workload: Workload) -> Iterator[Sample]:
        """One sample, or none and a failure; a program that failed on a workload is not tried there again."""
        if any((failure.workload, failure.program) == (workload, program.name) for failure in self.failures):
            say("failed before")
            return
        try:
            sample = measure(bench, program, workload)
        except BenchError as exc:
            say(f"failed: {exc}")
            self.failures.append(Failure(workload, program.name, str(exc)))
            return
        say(_in_short(sample))
        yield sample


def _in_short(sample: Sample) -> str:
    words = [f"{sample.total_us:.1f} µs", f"{sample.per_second:.0f} queries/s"]
    if sample.p50_us is not None:
        words += [f"p50 {sample.p50_us:.0f} µs", f"p99 {sample.p99_us:.0f} µs"]
    if sample.most_waiting is not None:
        words += [f"{sample.most_waiting} in flight", f"{sample.peak_mib:.0f} MiB"]
    return ", ".join(words)


def say(line: str, end: str = "\n") -> None:
    """Progress, on standard error: the report alone goes to standard output."""
    print(line, file=sys.stderr, flush=True, end=end)
