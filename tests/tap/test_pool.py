"""Processes that share the work, in order, whatever happens to one."""

import subprocess
import sys

import pytest

from tests.tap.frames import WITHIN_S

# in a process of its own: what forks here has no threads of the tests'
SHARED = """
import os, signal, sys
from dnsproxy.tap.pool import worked
{body}
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    program = SHARED.format(body=body)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=WITHIN_S)


@pytest.mark.parametrize("jobs", [1, 2, 5])
@pytest.mark.parametrize("batches", [0, 1, 7])
def test_results_come_in_the_order_of_the_batches(jobs: int, batches: int) -> None:
    body = f"print([b.decode() for b in worked((b'%d' % n for n in range({batches})), lambda b: b * 2, {jobs})])"
    assert run(body).stdout == f"{[str(n) * 2 for n in range(batches)]}\n"


def test_more_than_a_pipe_holds_goes_both_ways() -> None:
    body = "print(sum(map(len, worked((bytes(1 << 20) for _ in range(6)), lambda b: b + b, 2))))"
    assert run(body).stdout == f"{12 << 20}\n"


def test_several_processes_work_and_all_end() -> None:
    body = """
pids = {int(octets) for octets in worked([b""] * 6, lambda _: b"%d" % os.getpid(), 3)}
print(len(pids), os.getpid() in pids)
for pid in pids:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        continue
    print("still there")
"""
    assert run(body).stdout == "3 False\n"


def test_they_end_when_nobody_wants_more() -> None:
    body = """
results = worked(iter(lambda: b"x", None), lambda _: b"%d" % os.getpid(), 2)
pid = int(next(results))
results.close()
try:
    os.kill(pid, 0)
except ProcessLookupError:
    print("gone")
"""
    assert run(body).stdout == "gone\n"


def test_one_that_is_killed_is_a_failure() -> None:
    body = """
from dnsproxy.tap.errors import Failure
try:
    list(worked([b""], lambda _: os.kill(os.getpid(), signal.SIGKILL), 1))
except Failure as exc:
    print(exc)
"""
    done = run(body)
    assert done.stdout == "a process that was at work is gone\n"
    assert done.stderr == ""


def test_the_terminals_signals_are_left_to_the_one_who_decides() -> None:
    body = """
def work(_):
    os.kill(os.getpid(), signal.SIGINT)
    return b"done"
print(list(worked([b""], work, 1)))
"""
    assert run(body).stdout == "[b'done']\n"
