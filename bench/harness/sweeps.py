"""How cost grows: what is varied, over which values, and which pictures show it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.chart import Axis
from harness.upstream import SIZES, questions_of_size
from harness.workloads import (
    COREDNS,
    DNSDIST,
    FORWARD,
    UPSTREAM_EXTRA,
    Paced,
    PassThrough,
    Questions,
    Saturated,
    Tap,
    Workload,
)

DELAYED_RATE = 5_000  # queries/s: 2 500 in flight when the upstream takes half a second
OCTETS_PER_NAME = 4_096  # of cache: no name shall be evicted


@dataclass(frozen=True)
class Picture:
    """Fields of Sample over what is varied: one line for each program and field."""

    suffix: str
    title: str
    axis: Axis
    fields: tuple[tuple[str, str], ...]  # a field and what is added to the program's name


CPU = Picture("cpu", "CPU per query", Axis("CPU per query, µs"), (("total_us", ""),))
MEMORY = Picture("memory", "Resident memory", Axis("resident memory, MiB"), (("peak_mib", ""),))
CPU_WIDE = replace(CPU, axis=replace(CPU.axis, logarithmic=True))
MEMORY_WIDE = replace(MEMORY, axis=replace(MEMORY.axis, logarithmic=True))
SPEED = Picture("speed", "Queries per second", Axis("queries/s"), (("per_second", ""),))
TIMES = Picture(
    "latency",
    "Time of an answer",
    Axis("time of an answer, µs", logarithmic=True),
    (("p50_us", ", p50"), ("p99_us", ", p99")),
)


@dataclass(frozen=True)
class Point:
    """A workload at a value of what is varied; None: at the rate that it reaches. `series` tells kinds apart."""

    x: float | None
    workload: Workload
    series: str = ""


@dataclass(frozen=True)
class Sweep:
    """One thing varied."""

    name: str
    title: str
    axis: Axis
    points: tuple[Point, ...]
    pictures: tuple[Picture, ...] = (CPU,)


def sweeps() -> tuple[Sweep, ...]:
    """All of them."""
    return (_taps(), _latency(), _cache(), _plugins(), _workers(), _size(), _load())


def thinned(sweep: Sweep) -> Sweep:
    """The first, middle and last point of each series, for a quick look."""
    kept: list[Point] = []
    for series in dict.fromkeys(point.series for point in sweep.points):
        points = [point for point in sweep.points if point.series == series]
        kept += [points[index] for index in sorted({0, len(points) // 2, len(points) - 1})]
    return replace(sweep, points=tuple(kept))


def _varied(name: str, value: float, peers: Sequence[str] = (), **changes: object) -> Workload:
    """The forward workload with something changed."""
    title = f"{name} {value:,g}".replace(",", " ")
    changed = {"name": f"{name}-{value:g}", "title": title, "peers": tuple(peers), "both_builds": False, **changes}
    return replace(FORWARD, **changed)  # type: ignore[arg-type]  # fields of Workload, by name


def _taps() -> Sweep:
    def taps(number: int) -> tuple[Tap, ...]:
        return tuple(Tap(extra=UPSTREAM_EXTRA if index == 0 else None) for index in range(number))

    points = (Point(number, _varied("taps", number, (COREDNS,), taps=taps(number))) for number in (0, 1, 2, 4, 6, 8))
    return Sweep("taps", "full taps, all four types, one with extra", Axis("taps"), tuple(points))


def _latency() -> Sweep:
    points = (
        Point(
            ms,
            _varied(
                "latency",
                ms,
                (DNSDIST, COREDNS),
                upstream_delay_s=ms / 1000,
                load=Paced(DELAYED_RATE),
                questions=Questions("many", names=DELAYED_RATE),
            ),
        )
        for ms in (0, 5, 20, 100, 250, 500)
    )
    return Sweep(
        "latency",
        "an upstream that takes its time, at 5 000 queries/s",
        Axis("the upstream's answer takes, ms"),
        tuple(points),
        (CPU, MEMORY),
    )


def _cache() -> Sweep:
    points = (
        Point(
            names,
            _varied(
                "cache",
                names,
                (DNSDIST, COREDNS),
                cache_octets=max(names * OCTETS_PER_NAME, 1 << 24),
                questions=Questions("kept", names=names),
            ),
        )
        for names in (1_000, 10_000, 100_000, 1_000_000)
    )
    return Sweep("cache", "cache hits", Axis("names in the cache", logarithmic=True), tuple(points), (CPU, MEMORY_WIDE))


def _plugins() -> Sweep:
    def points(coroutine: bool, series: str) -> list[Point]:
        return [
            Point(number, _varied(f"plugins{series}", number, pass_through=PassThrough(number, coroutine)), series)
            for number in (0, 1, 2, 5, 10, 20)
        ]

    return Sweep(
        "plugins",
        "third-party plugins that pass queries on",
        Axis("plugins in the chain, beside forward"),
        (*points(False, ", functions"), *points(True, ", coroutines")),
    )


def _workers() -> Sweep:
    load = Saturated(clients=32)  # the kernel spreads clients over the workers' sockets
    points = (Point(number, _varied("workers", number, workers=number, load=load)) for number in (1, 2, 4))
    return Sweep("workers", "worker processes, 32 clients", Axis("workers"), tuple(points), (CPU, SPEED))


def _size() -> Sweep:
    points = (
        Point(octets, _varied("size", octets, (DNSDIST, COREDNS), questions=questions_of_size(octets)))
        for octets in SIZES
    )
    return Sweep(
        "size", "answers of one TXT record, EDNS", Axis("octets of an answer", logarithmic=True), tuple(points)
    )


def _load() -> Sweep:
    rates = (100, 300, 1_000, 3_000, 10_000)
    paced = (Point(rate, _varied("load", rate, (DNSDIST, COREDNS), load=Paced(rate))) for rate in rates)
    fast = Point(20_000, _varied("load", 20_000, (DNSDIST, COREDNS), load=Saturated(in_flight=1_000, rate=20_000)))
    saturated = Point(None, replace(_varied("load", 0, (DNSDIST, COREDNS)), name="load-most", title="load, saturated"))
    return Sweep(
        "load",
        "from idle to saturation",
        Axis("queries/s", logarithmic=True),
        (*paced, fast, saturated),
        (CPU_WIDE, TIMES),
    )
