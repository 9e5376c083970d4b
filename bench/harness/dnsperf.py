"""Load from dnsperf: as fast as answers come, and what came of it."""

import re
import subprocess
from pathlib import Path

from harness import programs
from harness.errors import BenchError
from harness.loopback import HOST
from harness.outcome import Outcome
from harness.workloads import Questions, Saturated

LOST_AFTER_S = 2  # a query that took longer has been lost: nothing here waits
SPARE_S = 15  # beyond the time asked for, until dnsperf is given up
ONCE_TIMEOUT_S = 300  # a million questions to the slowest program


def run(load: Saturated, port: int, questions: Questions, file: Path, seconds: float) -> Outcome:
    """One client thread, whatever the number of clients (sockets)."""
    options = ["-c", str(load.clients), "-q", str(load.in_flight), "-l", f"{seconds:g}"]
    options += ["-e"] if questions.edns else []
    options += ["-Q", str(load.rate)] if load.rate else []
    return _run(port, file, options, seconds + SPARE_S)


def once(port: int, file: Path) -> Outcome:
    """Every question once."""
    return _run(port, file, ["-n", "1"], ONCE_TIMEOUT_S)


def _run(port: int, file: Path, options: list[str], timeout_s: float) -> Outcome:
    command = [programs.require("dnsperf"), "-s", HOST, "-p", str(port), "-d", str(file), "-T", "1"]
    command += ["-t", str(LOST_AFTER_S), *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, start_new_session=True)
    except subprocess.TimeoutExpired as exc:
        raise BenchError(f"dnsperf did not end within {timeout_s:g} s") from exc
    if done.returncode:
        raise BenchError(f"dnsperf: {done.stderr.strip() or done.stdout.strip()}")
    return parse(done.stdout)


def parse(report: str) -> Outcome:
    """Reads the statistics that dnsperf prints at its end; raises BenchError if they are not there."""
    return Outcome(
        sent=int(_number(report, r"Queries sent:\s+(\d+)")),
        answered=int(_number(report, r"Queries completed:\s+(\d+)")),
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
