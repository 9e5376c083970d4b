"""Load from dnsperf: a time of queries as fast as they are answered, and what came of them."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from harness import programs
from harness.errors import BenchError
from harness.loopback import HOST

IN_FLIGHT = 100
LOST_AFTER_S = 2  # a query that took longer has been lost: nothing here waits
SPARE_S = 15  # beyond the time asked for, until dnsperf is given up


@dataclass(frozen=True)
class Load:
    """What dnsperf says of one run; `noerror` counts answers with that rcode."""

    sent: int
    completed: int
    lost: int
    noerror: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.completed / self.seconds


def run(port: int, queries: Path, seconds: float) -> Load:
    """Keeps IN_FLIGHT queries in flight from one client thread."""
    dnsperf = programs.find("dnsperf")
    if dnsperf is None:
        raise BenchError(programs.how_to_get("dnsperf"))
    command = [dnsperf, "-s", HOST, "-p", str(port), "-d", str(queries), "-c", "1", "-T", "1"]
    command += ["-q", str(IN_FLIGHT), "-l", f"{seconds:g}", "-t", str(LOST_AFTER_S)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + SPARE_S, start_new_session=True
        )
    except subprocess.TimeoutExpired as exc:
        raise BenchError(f"dnsperf did not end within {seconds + SPARE_S:g} s") from exc
    if done.returncode:
        raise BenchError(f"dnsperf: {done.stderr.strip() or done.stdout.strip()}")
    return parse(done.stdout)


def parse(report: str) -> Load:
    """Reads the statistics that dnsperf prints at its end; raises BenchError if they are not there."""
    return Load(
        sent=int(_number(report, r"Queries sent:\s+(\d+)")),
        completed=int(_number(report, r"Queries completed:\s+(\d+)")),
        lost=int(_number(report, r"Queries lost:\s+(\d+)")),
        noerror=int(_number(report, r"NOERROR (\d+)", otherwise="0")),
        seconds=float(_number(report, r"Run time \(s\):\s+([\d.]+)")),
    )


def _number(report: str, pattern: str, otherwise: str | None = None) -> str:
    found = re.search(pattern, report)
    if found:
        return found[1]
    if otherwise is None:
        raise BenchError(f"dnsperf's report has no {pattern!r}: {report.strip()[-200:]}")
    return otherwise
