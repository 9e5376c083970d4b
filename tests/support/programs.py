"""Real programs: looked for, run to their end, or kept running."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

PACKAGES = {  # Debian's
    "dig": "bind9-dnsutils",
    "dnstap-read": "bind9-dnsutils",
    "kdig": "knot-dnsutils",
    "dnstap": "golang-github-dnstap-golang-dnstap-cli",
    "fstrm_capture": "fstrm-bin",
    "fstrm_dump": "fstrm-bin",
    "fstrm_replay": "fstrm-bin",
    "named": "bind9",
    "setpriv": "util-linux",
    "unshare": "util-linux",
}
NOT_DEBIANS = {"coredns": "one binary from its releases page"}  # may be missing in CI too
RUN_WITHIN_S = 20.0
START_WITHIN_S = 10.0


def require_program(name: str) -> str:
    """The program's path; without it a skip that says where it comes from, or a failure in CI."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/sbin")
    if path is not None:
        return path
    missing = f"{name} is missing: install {NOT_DEBIANS.get(name) or PACKAGES.get(name, name)}"
    if os.environ.get("CI") and name not in NOT_DEBIANS:
        pytest.fail(missing)
    pytest.skip(missing)


def run_program(name: str, *arguments: str) -> str:
    """What it prints; AssertionError with everything if it fails."""
    done = subprocess.run([require_program(name), *arguments], check=False, capture_output=True, timeout=RUN_WITHIN_S)
    out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    assert done.returncode == 0, f"{name} {' '.join(arguments)}: status {done.returncode}\n{out}{err}"
    return out


def dig(port: int, *arguments: str, host: str = "127.0.0.1") -> str:
    """dig's output against this port: one try, three seconds."""
    return run_program("dig", f"@{host}", "-p", str(port), "+tries=1", "+time=3", *arguments)


@contextlib.contextmanager
def running(
    command: Sequence[str], *, out: Path, end: signal.Signals = signal.SIGTERM
) -> Iterator[subprocess.Popen[bytes]]:
    """A program in the background, its output in a file; ended at the end of the block if it hasn't by itself."""
    with out.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            end_program(process, end)


def end_program(process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> None:
    if process.poll() is None:
        process.send_signal(how)
        try:
            process.wait(RUN_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_path(path: Path) -> None:
    end = time.monotonic() + START_WITHIN_S
    while not path.exists():
        assert time.monotonic() < end, f"{path} does not appear"
        time.sleep(0.02)
