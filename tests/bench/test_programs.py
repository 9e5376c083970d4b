"""The programs of `make`: what `make setup` installs is all that they need."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
TEST_TOOLS = ("hypothesis", "pytest", "trustme", "xdist")
LOAD = """
import runpy, sys
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
sys.modules.update(dict.fromkeys(sys.argv[2:]))
runpy.run_path(sys.argv[1], run_name="loaded")
"""


@pytest.mark.parametrize("program", sorted(BENCH.glob("*.py")), ids=lambda path: path.stem)
def test_a_program_loads_without_the_tools_of_the_tests(program: Path) -> None:
    command = [sys.executable, "-c", LOAD, str(program), *TEST_TOOLS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=BENCH.parent, timeout=30)
    assert done.returncode == 0, done.stderr
