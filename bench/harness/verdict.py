"""Whether a run holds the bars, and whether its figures are worth something."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.bars import BY_BUILD, CPU, INTERPRETED_BY_COMPILED, Bar
from harness.figures import Results
from harness.workloads import TAPS_20000, WORKLOADS, Held, Saturated, Workload

DELIVERED_AT_LEAST = 0.9  # below that the figure is not that of a proxy with its taps on
LOST_AT_MOST = 0.001  # dnsperf's own start and stop cost a query now and then
NOERROR_AT_LEAST = 0.999
RATE_AT_LEAST = 0.95  # of the rate meant: below that the machine, or the program, could not follow
ASKED_TOLERANCE = 0.02  # of the queries: retries, and what the end of a measurement cuts off


@dataclass(frozen=True)
class Build:
    """A program of this project's, and which build it is."""

    name: str
    build: str


@dataclass(frozen=True)
class Verdict:
    """A sentence; `held` is None when there was nothing to judge by."""

    held: bool | None
    text: str

    def __str__(self) -> str:
        word = {True: "held", False: "BROKEN", None: "not judged"}[self.held]
        return f"{word}: {self.text}"


def judge(results: Results, builds: Sequence[Build]) -> list[Verdict]:
    """Every bar for every build that was measured, then the builds against each other."""
    verdicts = [verdict for build in builds for verdict in _judge_one(results, build)]
    return [*verdicts, *_between_builds(results, builds)]


def _judge_one(results: Results, build: Build) -> Iterator[Verdict]:
    for workload in WORKLOADS:
        if results.of(workload.name, build.name):
            yield _soundness(results, build.name, workload)
    for bar in BY_BUILD.get(build.build, BY_BUILD["compiled"]):
        if results.of(bar.workload.name, build.name):
            yield _against_bar(results, build.name, bar)


def _against_bar(results: Results, program: str, bar: Bar) -> Verdict:
    text = f"{program}, {bar.workload.title}: {bar.text}"
    where = bar.workload.name, program
    field = bar.quantity.field
    figure = results.ratio(*where, bar.peer, field) if bar.peer else results.figure(*where, field)
    if figure is None:
        return Verdict(None, f"{text}; {bar.peer or bar.quantity.words} was not measured")
    return Verdict(bar.is_held_by(figure.median), f"{text}; it is {shown(figure.median)}")


def _between_builds(results: Results, builds: Sequence[Build]) -> Iterator[Verdict]:
    """The interpreted builds against the compiled ones."""
    pairs = [
        (slow.name, fast.name)
        for slow in builds
        for fast in builds
        if (slow.build, fast.build) == ("interpreted", "compiled")
    ]
    for slow, fast in pairs:
        for workload in WORKLOADS:
            ratio = results.ratio(workload.name, slow, fast, CPU.field)
            if ratio and isinstance(workload.load, Saturated):
                text = f"{slow}, {workload.title}: {CPU.words} ≤ {INTERPRETED_BY_COMPILED} × {fast}"
                yield Verdict(ratio.median <= INTERPRETED_BY_COMPILED, f"{text}; it is {shown(ratio.median)}")


def _soundness(results: Results, program: str, workload: Workload) -> Verdict:
    """Whether what was asked was answered, by whom it should be, and what was tapped arrived."""
    checks = [*_answers(results, program, workload), *_taps(results, program, workload)]
    text = ", ".join(words for _held, words in checks)
    return Verdict(all(held for held, _words in checks), f"{program}, {workload.title}, worst round: {text}")


Check = tuple[bool, str]


def _answers(results: Results, program: str, workload: Workload) -> Iterator[Check]:
    samples = results.of(workload.name, program)
    lost, noerror = max(sample.lost for sample in samples), min(sample.noerror for sample in samples)
    yield lost <= LOST_AT_MOST, f"{lost:.2%} lost"
    yield noerror >= NOERROR_AT_LEAST, f"{noerror:.2%} of the answers NOERROR"
    asked = results.figure(workload.name, program, "asked")
    if asked:
        due = 0 if workload.cache_octets else 1
        worst = max(asked.least, asked.greatest, key=lambda share: abs(share - due))
        yield abs(worst - due) <= ASKED_TOLERANCE, f"{worst:.2f} queries to the upstream for each"
    yield from _load(results, program, workload)


def _load(results: Results, program: str, workload: Workload) -> Iterator[Check]:
    """Whether the load was what it should be."""
    meant = getattr(workload.load, "rate", None)
    rate = results.figure(workload.name, program, "per_second")
    if meant and rate:
        yield rate.least >= meant * RATE_AT_LEAST, f"{rate.least:,.0f} queries/s".replace(",", " ")
    waiting = results.figure(workload.name, program, "most_waiting")
    if isinstance(workload.load, Held) and waiting:
        held = waiting.least >= workload.load.queries * RATE_AT_LEAST
        yield held, f"{waiting.least:.0f} queries in flight at once"


def _taps(results: Results, program: str, workload: Workload) -> Iterator[Check]:
    for what, field in (("sent of what was offered", "sent"), ("arrived at the collector", "delivered")):
        share = results.figure(workload.name, program, field)
        if share is not None:
            least = 1.0 if workload is TAPS_20000 else DELIVERED_AT_LEAST
            yield share.least >= least, f"worst tap {share.least:.1%} {what}"


def shown(value: float) -> str:
    """As many digits as tell a value from its limit."""
    return f"{value:.3f}".rstrip("0").rstrip(".") if value < 10 else f"{value:.1f}"
