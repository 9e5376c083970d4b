"""Load from the pacer: evenly spaced queries whose answers are timed, from a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

from harness.errors import BenchError
from harness.loopback import HOST
from harness.outcome import Outcome
from harness.workloads import Held, Paced

PACER = Path(__file__).with_name("pacer.py")
SPARE_S = 15  # beyond the time asked for, until the pacer is given up
WAVE_S = 1.0  # in which the queries of a wave are asked: the programs under test shall hold them, not be flooded


def run(load: Paced, port: int, file: Path, seconds: float) -> Outcome:
    """So many queries a second."""
    return _run(port, file, load.rate, seconds)


def wave(load: Held, port: int, file: Path) -> Outcome:
    """That many queries within a second; ends when all are answered."""
    return _run(port, file, load.queries / WAVE_S, WAVE_S)


def _run(port: int, file: Path, rate: float, seconds: float) -> Outcome:
    command = [sys.executable, "-BP", str(PACER), HOST, str(port), str(file), f"{rate:g}", f"{seconds:g}"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + SPARE_S, start_new_session=True
        )
    except subprocess.TimeoutExpired as exc:
        raise BenchError(f"the pacer did not end within {seconds + SPARE_S:g} s") from exc
    if done.returncode:
        raise BenchError(f"the pacer failed: {done.stderr.strip()[-200:]}")
    return parse(done.stdout)


def parse(line: str) -> Outcome:
    """Reads the pacer's line."""
    return Outcome(**json.loads(line))
