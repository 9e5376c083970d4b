"""The bars that this project sets itself, as data."""

from dataclasses import dataclass

from harness.workloads import (
    CACHE_HIT,
    CACHE_HIT_TAP,
    COREDNS,
    DNSDIST,
    FORWARD,
    FORWARD_DOT,
    IN_FLIGHT,
    PACED,
    PACED_2000,
    TAPS_20000,
    TWO_TAPS,
    Workload,
)


@dataclass(frozen=True)
class Quantity:
    """A field of Sample, in words and with its unit."""

    field: str
    words: str
    unit: str = ""


CPU = Quantity("total_us", "CPU per query", "µs")
SPEED = Quantity("per_second", "queries/s")
P50 = Quantity("p50_us", "p50", "µs")
P99 = Quantity("p99_us", "p99", "µs")
MEMORY = Quantity("peak_mib", "resident memory", "MiB")
DROPPED = Quantity("dropped", "messages dropped")


@dataclass(frozen=True)
class Bar:
    """A bound for a quantity: itself, or as a multiple of a peer's on the same workload."""

    workload: Workload
    quantity: Quantity
    limit: float
    peer: str | None = None
    at_least: bool = False

    @property
    def text(self) -> str:
        """As a sentence without its subject."""
        against = f" × {self.peer}" if self.peer else f" {self.quantity.unit}".rstrip()
        return f"{self.quantity.words} {'≥' if self.at_least else '≤'} {self.limit:g}{against}"

    def is_held_by(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


# Of any build: what is promised whatever the interpreter makes of it.
ALWAYS = (
    Bar(TAPS_20000, DROPPED, 0),
    Bar(IN_FLIGHT, MEMORY, 60),
)

COMPILED = (
    Bar(FORWARD, CPU, 1.0, DNSDIST),
    Bar(FORWARD, CPU, 0.33, COREDNS),
    Bar(FORWARD_DOT, CPU, 1.2, DNSDIST),
    Bar(FORWARD_DOT, CPU, 0.6, COREDNS),
    Bar(TWO_TAPS, CPU, 0.9, DNSDIST),
    Bar(TWO_TAPS, CPU, 0.3, COREDNS),
    Bar(CACHE_HIT, CPU, 1.0, DNSDIST),
    Bar(CACHE_HIT, CPU, 0.45, COREDNS),
    Bar(CACHE_HIT_TAP, CPU, 0.35, COREDNS),
    Bar(FORWARD, SPEED, 1.0, DNSDIST, at_least=True),
    *(
        bar
        for workload in PACED
        for bar in (
            Bar(workload, P50, 1.6, DNSDIST),
            Bar(workload, P50, 1.0, COREDNS),
            Bar(workload, P99, 1.0, COREDNS),
        )
    ),
    Bar(PACED_2000, CPU, 2.0, DNSDIST),
    Bar(PACED_2000, CPU, 0.65, COREDNS),
)

INTERPRETED = (
    Bar(FORWARD, CPU, 1.3, DNSDIST),
    Bar(FORWARD, CPU, 0.45, COREDNS),
    Bar(TWO_TAPS, CPU, 0.5, COREDNS),
)
INTERPRETED_BY_COMPILED = 1.4  # CPU per query, at most

BY_BUILD = {"compiled": (*COMPILED, *ALWAYS), "interpreted": (*INTERPRETED, *ALWAYS)}
