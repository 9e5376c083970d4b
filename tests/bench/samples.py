"""Samples as a measurement would give them, for tests."""

from typing import Any

from harness.sample import Sample
from harness.workloads import Workload


def sample(workload: Workload, program: str, total_us: float = 10.0, **figures: Any) -> Sample:
    """A sound one: everything answered, everything forwarded unless there is a cache."""
    sound: dict[str, Any] = {
        "user_us": total_us / 2,
        "system_us": total_us / 2,
        "total_us": total_us,
        "per_second": 50_000.0,
        "lost": 0.0,
        "noerror": 1.0,
        "asked": 0.0 if workload.cache_octets else 1.0,
    }
    return Sample(workload.name, program, **{**sound, **figures})
