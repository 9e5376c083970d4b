"""The programs that are measured: each module writes one program's configuration for a workload."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.workloads import Tap, Workload


@dataclass(frozen=True)
class Site:
    """Where a program runs: its folder, its port, whom it asks, the sockets its taps write to.

    `ca` is the file that an encrypted upstream's certificate is verified with.
    """

    folder: Path
    port: int
    upstream_port: int
    tap_paths: Sequence[Path]
    workload: Workload
    ca: Path | None = None


@dataclass(frozen=True)
class TapCount:
    """A tap's books, as the program under test keeps them."""

    offered: int
    sent: int
    dropped: int


class Peer(Protocol):
    """A program under test."""

    name: str

    def version(self) -> str:
        """One line for the report."""

    def taps(self, workload: Workload) -> Sequence[Tap]:
        """The taps it really runs: those asked for, or the nearest that it can do."""

    def remark(self, workload: Workload) -> str:
        """How its work differs from what was asked; empty if it does not."""

    def configure(self, site: Site) -> list[str]:
        """Writes the configuration; the command that runs the program in the foreground."""

    def tap_counts(self, site: Site) -> list[TapCount] | None:
        """The books of each tap of the running program; None if it does not tell."""


class Tapless:
    """What peers have in common that are measured without taps only."""

    def taps(self, workload: Workload) -> Sequence[Tap]:
        return ()

    def remark(self, workload: Workload) -> str:
        return ""

    def tap_counts(self, site: Site) -> list[TapCount] | None:
        return None
