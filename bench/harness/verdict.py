"""The bars that this project sets itself, and whether a run holds them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.figures import Results
from harness.peers.coredns import CoreDns
from harness.peers.dnsdist import Dnsdist
from harness.peers.dnsproxy import Dnsproxy
from harness.workloads import FORWARD, TWO_TAPS, WORKLOADS, Workload

DELIVERED_AT_LEAST = 0.9  # below that the figure is not that of a proxy with its taps on
LOST_AT_MOST = 0.001  # dnsperf's own start and stop cost a query now and then
NOERROR_AT_LEAST = 0.999


@dataclass(frozen=True)
class Bar:
    """CPU per query, at most this multiple of a peer's on the same workload."""

    workload: Workload
    peer: str
    at_most: float


BARS = (
    Bar(FORWARD, Dnsdist.name, 1.3),
    Bar(FORWARD, CoreDns.name, 0.45),
    Bar(TWO_TAPS, CoreDns.name, 0.5),
)


@dataclass(frozen=True)
class Verdict:
    """A sentence; `held` is None when there was nothing to judge by."""

    held: bool | None
    text: str

    def __str__(self) -> str:
        word = {True: "held", False: "BROKEN", None: "not judged"}[self.held]
        return f"{word}: {self.text}"


def judge(results: Results, proxies: Sequence[Dnsproxy]) -> list[Verdict]:
    """Every bar for every build that was measured."""
    return [verdict for proxy in proxies for verdict in _judge_one(results, proxy.name)]


def _judge_one(results: Results, program: str) -> Iterator[Verdict]:
    for workload in WORKLOADS:
        if results.of(workload.name, program):
            yield _soundness(results, program, workload)
    for bar in BARS:
        if results.of(bar.workload.name, program):
            yield _against_peer(results, program, bar)


def _against_peer(results: Results, program: str, bar: Bar) -> Verdict:
    text = f"{program}, {bar.workload.title}: CPU per query ≤ {bar.at_most} × {bar.peer}"
    ratio = results.ratio(bar.workload.name, program, bar.peer)
    if ratio is None:
        return Verdict(None, f"{text}; {bar.peer} was not measured")
    return Verdict(ratio.median <= bar.at_most, f"{text}; it is {ratio.median:.2f}")


def _soundness(results: Results, program: str, workload: Workload) -> Verdict:
    """Whether the figure is worth something: what was asked was answered, what was tapped arrived."""
    samples = results.of(workload.name, program)
    lost, noerror = max(sample.lost for sample in samples), min(sample.noerror for sample in samples)
    held = lost <= LOST_AT_MOST and noerror >= NOERROR_AT_LEAST
    text = f"{program}, {workload.title}, worst round: {lost:.2%} lost, {noerror:.2%} of the answers NOERROR"
    for what, field in (("sent of what was offered", "sent"), ("arrived at the collector", "delivered")):
        share = results.figure(workload.name, program, field)
        if share is not None:
            held = held and share.least >= DELIVERED_AT_LEAST
            text += f", worst tap {share.least:.1%} {what}"
    return Verdict(held, text)
