"""From samples to figures: the median of all rounds, how far they spread, and ratios between programs."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.sample import Sample


@dataclass(frozen=True)
class Figure:
    """A median with the least and the greatest of its rounds."""

    median: float
    least: float
    greatest: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Figure":
        return cls(statistics.median(values), min(values), max(values))


class Results:
    """All samples of a run, in the order in which they were measured."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples

    def of(self, workload: str, program: str) -> list[Sample]:
        """One program's rounds."""
        return [sample for sample in self.samples if (sample.workload, sample.program) == (workload, program)]

    def figure(self, workload: str, program: str, field: str) -> Figure | None:
        """A field of Sample over all rounds; None where it was not measured."""
        values = [getattr(sample, field) for sample in self.of(workload, program)]
        known = [value for value in values if value is not None]
        return Figure.of(known) if known else None

    def ratio(self, workload: str, program: str, peer: str, field: str = "total_us") -> Figure | None:
        """A field as a multiple of a peer's, taken round by round since neighbours in time compare best."""
        pairs = zip(self.of(workload, program), self.of(workload, peer), strict=False)
        values = [(getattr(ours, field), getattr(theirs, field)) for ours, theirs in pairs]
        ratios = [ours / theirs for ours, theirs in values if ours is not None and theirs]
        return Figure.of(ratios) if ratios else None
