"""The long runs of bench/, for a few seconds each: that they work, and that nothing breaks soon."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [("fuzz.py", "--seconds", "3", "--seed", "8906"), ("soak.py", "--minutes", "0.1", "--rate", "500")],
    ids=["fuzz", "soak"],
)
def test_a_short_long_run_holds_every_bound(tmp_path: Path, command: tuple[str, ...]) -> None:
    script, *options = command
    done = subprocess.run(
        [sys.executable, str(BENCH / script), *options], cwd=tmp_path, capture_output=True, text=True, timeout=90
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAIL" not in done.stdout
    assert "ok" in done.stdout
