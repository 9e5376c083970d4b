"""The figures of one measurement."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """Per query answered; shares are of 1, times of the processor and of answers in microseconds.

    `asked` is the number of queries to the upstream per answer; `delivered` the share of the expected messages that
    reached the collector, `sent` the share of the offered ones that the program says it sent, `dropped` their number:
    the worst tap's. What nobody tells or what does not exist is None.
    """

    workload: str
    program: str
    user_us: float
    system_us: float
    total_us: float
    per_second: float
    lost: float
    noerror: float
    p50_us: float | None = None
    p90_us: float | None = None
    p99_us: float | None = None
    peak_mib: float = 0.0  # resident, of the largest process
    processes: int = 1
    asked: float | None = None
    most_waiting: int | None = None  # queries that the upstream has had at once
    instructions_user: float | None = None
    instructions_kernel: float | None = None
    delivered: float | None = None
    sent: float | None = None
    dropped: int | None = None
