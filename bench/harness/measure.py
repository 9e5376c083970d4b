"""One measurement: a fresh process of one program, warmed up, under load for a while, and what that cost."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness import load
from harness.children import Children
from harness.collector import Arrived, Collector
from harness.counters import CpuTime, InstructionCounter, Instructions, cpu_time
from harness.load import Load
from harness.loopback import free_port, wait_for_answer
from harness.peers import Peer, Site
from harness.upstream import Upstream, qname
from harness.workloads import Workload

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
    count_instructions: bool


@dataclass(frozen=True)
class Sample:
    """The figures of one measurement, per query answered; shares are of 1, times are CPU microseconds.

    `delivered` is the share of the expected messages that reached the collector, `sent` the share of the offered
    ones that the program says it sent; both are the worst tap's, and None where there is none or nobody tells.
    """

    workload: str
    program: str
    user_us: float
    system_us: float
    total_us: float
    per_second: float
    lost: float
    noerror: float
    instructions_user: float | None = None
    instructions_kernel: float | None = None
    delivered: float | None = None
    sent: float | None = None


@dataclass(frozen=True)
class Reading:
    """Every counter at one moment."""

    cpu: CpuTime
    arrived: list[Arrived]
    tap_counts: list[tuple[int, int]] | None


class Stand:
    """A program that runs and answers, with its collector."""

    def __init__(self, peer: Peer, site: Site, pid: int, collector: Collector) -> None:
        self.peer = peer
        self.site = site
        self.pid = pid
        self.collector = collector

    def read(self) -> Reading:
        cpu = cpu_time(self.pid)  # first: asking for the rest is work too
        counts = self.peer.tap_counts(self.site) if self.site.workload.taps else None
        return Reading(cpu, self.collector.arrived(), counts)


def measure(bench: Bench, peer: Peer, workload: Workload) -> Sample:
    """Raises BenchError when the program does not start, answer or go on."""
    settle_s = SETTLE_TAPS_S if workload.taps else SETTLE_S
    with running(bench, peer, workload) as stand:
        load.run(stand.site.port, bench.upstream.queries, bench.effort.warm_up_s)
        time.sleep(settle_s)
        before = stand.read()
        instructions, done = _loaded(bench, stand)
        time.sleep(settle_s)
        return _sample(stand, done, before, stand.read(), instructions)


@contextmanager
def running(bench: Bench, peer: Peer, workload: Workload) -> Iterator[Stand]:
    """A fresh process of a program that answers, and its collector; both have ended when the block is left."""
    with tempfile.TemporaryDirectory(dir=bench.folder) as name, Children(Path(name)) as children:
        folder = Path(name)
        paths = [folder / f"tap{number}.sock" for number in range(len(workload.taps))]
        collector = Collector(children, paths)
        site = Site(folder, free_port(), bench.upstream.port, paths, workload)
        child = children.start(peer.name, peer.configure(site))
        wait_for_answer(site.port, qname(0), lambda: children.require_alive(child))
        yield Stand(peer, site, child.pid, collector)
        children.require_alive(child)


def _loaded(bench: Bench, stand: Stand) -> tuple[Instructions | None, Load]:
    counter = InstructionCounter(stand.pid) if bench.count_instructions else None
    done = load.run(stand.site.port, bench.upstream.queries, bench.effort.seconds)
    return counter.stop() if counter else None, done


def _sample(stand: Stand, done: Load, before: Reading, after: Reading, instructions: Instructions | None) -> Sample:
    queries = max(done.completed, 1)
    cpu = after.cpu.since(before.cpu)
    return Sample(
        workload=stand.site.workload.name,
        program=stand.peer.name,
        user_us=cpu.user_s * 1e6 / queries,
        system_us=cpu.system_s * 1e6 / queries,
        total_us=cpu.scheduled_s * 1e6 / queries,
        per_second=done.per_second,
        lost=done.lost / max(done.sent, 1),
        noerror=done.noerror / queries,
        instructions_user=instructions.user / queries if instructions else None,
        instructions_kernel=instructions.kernel / queries if instructions else None,
        delivered=_delivered(stand, queries, before, after),
        sent=_sent(before, after),
    )


def _delivered(stand: Stand, queries: int, before: Reading, after: Reading) -> float | None:
    taps = stand.peer.taps(stand.site.workload)
    arrived = [late.messages - early.messages for early, late in zip(before.arrived, after.arrived, strict=True)]
    shares = [count / queries / tap.messages_per_query for tap, count in zip(taps, arrived, strict=False)]
    return min(shares, default=None)


def _sent(before: Reading, after: Reading) -> float | None:
    if before.tap_counts is None or after.tap_counts is None:
        return None
    pairs = zip(before.tap_counts, after.tap_counts, strict=True)
    changes = [(late[0] - early[0], late[1] - early[1]) for early, late in pairs]
    return min((sent / max(offered, 1) for offered, sent in changes), default=None)
