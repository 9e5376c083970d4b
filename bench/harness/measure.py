"""One measurement: a fresh process of one program, warmed up, under load for a while, and what that cost."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import load, upstream
from harness.children import Children
from harness.collector import Arrived, Collector
from harness.counters import CpuTime, InstructionCounter, Instructions, cpu_time, family, peak_mib
from harness.delayed_upstream import DelayedUpstream
from harness.encrypted_upstream import EncryptedUpstream
from harness.loopback import free_port, wait_for_answer
from harness.outcome import Outcome
from harness.peers import Peer, Site, TapCount
from harness.sample import Sample
from harness.upstream import PROBE, Upstream
from harness.workloads import UDP, Workload

SETTLE_S = 0.2  # until the last answers are through
SETTLE_TAPS_S = 1.1  # dnsdist's library writes what is queued a second later at the latest


@dataclass(frozen=True)
class Effort:
    """How long to measure."""

    rounds: int
    seconds: float
    warm_up_s: float


@dataclass(frozen=True)
class Bench:
    """What all measurements of a run share."""

    folder: Path
    upstream: Upstream
    effort: Effort
    count_instructions: bool = False


@dataclass(frozen=True)
class Reading:
    """Every counter at one moment."""

    cpu: CpuTime
    asked: int | None
    arrived: list[Arrived]
    tap_counts: list[TapCount] | None


class Stand:
    """A program that runs and answers, with its upstream and its collector."""

    def __init__(self, peer: Peer, site: Site, pid: int, upstream: Upstream, collector: Collector) -> None:
        self.peer = peer
        self.site = site
        self.pid = pid
        self.upstream = upstream
        self.collector = collector

    def read(self) -> Reading:
        cpu = cpu_time(self.pid)  # first: asking for the rest is work too
        counts = self.peer.tap_counts(self.site) if self.site.workload.taps else None
        return Reading(cpu, self.upstream.asked(), self.collector.arrived(), counts)


def measure(bench: Bench, peer: Peer, workload: Workload) -> Sample:
    """Raises BenchError when the program does not start, answer or go on."""
    settle_s = SETTLE_TAPS_S if workload.taps else SETTLE_S
    questions = upstream.question_file(bench.folder, workload.questions)
    with running(bench, peer, workload) as stand:
        load.warm_up(workload, stand.site.port, questions, bench.effort.warm_up_s)
        time.sleep(settle_s)
        before = stand.read()
        counter = InstructionCounter(stand.pid) if bench.count_instructions else None
        outcome = load.run(workload, stand.site.port, questions, bench.effort.seconds)
        instructions = counter.stop() if counter else None
        time.sleep(settle_s)
        return _sample(stand, outcome, before, stand.read(), instructions)


@contextmanager
def running(bench: Bench, peer: Peer, workload: Workload) -> Iterator[Stand]:
    """A fresh process of a program that answers, its upstream and its collector; all end with the block."""
    with tempfile.TemporaryDirectory(dir=bench.folder) as name, Children(Path(name)) as children:
        folder = Path(name)
        paths = [folder / f"tap{number}.sock" for number in range(len(workload.taps))]
        collector = Collector(children, paths)
        upstream = _upstream(bench, children, workload)
        ca = upstream.ca if isinstance(upstream, EncryptedUpstream) else None
        site = Site(folder, free_port(), upstream.port, paths, workload, ca)
        child = children.start(peer.name, peer.configure(site))
        wait_for_answer(site.port, PROBE, lambda: children.require_alive(child))
        yield Stand(peer, site, child.pid, upstream, collector)
        children.require_alive(child)


def _upstream(bench: Bench, children: Children, workload: Workload) -> Upstream:
    if workload.over != UDP:
        return EncryptedUpstream(children, children.folder, workload.over)
    if workload.upstream_delay_s is None:
        return bench.upstream
    return DelayedUpstream(children, workload.upstream_delay_s)


def _sample(
    stand: Stand, outcome: Outcome, before: Reading, after: Reading, instructions: Instructions | None
) -> Sample:
    queries = max(outcome.answered, 1)
    cpu = after.cpu.since(before.cpu)
    held = stand.upstream.most_waiting() if isinstance(stand.upstream, DelayedUpstream) else None
    return Sample(
        workload=stand.site.workload.name,
        program=stand.peer.name,
        user_us=cpu.user_s * 1e6 / queries,
        system_us=cpu.system_s * 1e6 / queries,
        total_us=cpu.scheduled_s * 1e6 / queries,
        per_second=outcome.per_second,
        lost=outcome.lost,
        noerror=outcome.noerror / queries,
        p50_us=outcome.p50_us,
        p90_us=outcome.p90_us,
        p99_us=outcome.p99_us,
        peak_mib=peak_mib(stand.pid),
        processes=len(list(family(stand.pid))),
        asked=_asked(queries, before, after),
        most_waiting=held,
        instructions_user=instructions.user / queries if instructions else None,
        instructions_kernel=instructions.kernel / queries if instructions else None,
        delivered=_delivered(stand, queries, before, after),
        sent=_sent(before, after),
        dropped=_dropped(before, after),
    )


def _asked(queries: int, before: Reading, after: Reading) -> float | None:
    if before.asked is None or after.asked is None:
        return None
    return (after.asked - before.asked) / queries


def _delivered(stand: Stand, queries: int, before: Reading, after: Reading) -> float | None:
    workload = stand.site.workload
    taps = stand.peer.taps(workload)
    arrived = [late.messages - early.messages for early, late in zip(before.arrived, after.arrived, strict=True)]
    expected = [queries * workload.messages_per_query(tap) for tap in taps]
    return min((count / due for due, count in zip(expected, arrived, strict=False)), default=None)


def _sent(before: Reading, after: Reading) -> float | None:
    if before.tap_counts is None or after.tap_counts is None:
        return None
    pairs = zip(before.tap_counts, after.tap_counts, strict=True)
    changes = [(late.offered - early.offered, late.sent - early.sent) for early, late in pairs]
    return min((sent / max(offered, 1) for offered, sent in changes), default=None)


def _dropped(before: Reading, after: Reading) -> int | None:
    if before.tap_counts is None or after.tap_counts is None:
        return None
    return sum(late.dropped - early.dropped for early, late in zip(before.tap_counts, after.tap_counts, strict=True))
