"""Finds the programs of a bench and knows how to get those that are missing."""

import os
import shutil
import subprocess

from harness.errors import BenchError

SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")  # daemons live here, outside an ordinary user's PATH
VERSION_TIMEOUT_S = 20  # a cold start of a Python program on a busy machine

INSTALL = {
    "dnsperf": "apt-get install dnsperf",
    "nsd": "apt-get install nsd",
    "nsd-control": "apt-get install nsd",
    "dnsdist": "apt-get install dnsdist",
    "coredns": "go install github.com/coredns/coredns@latest, with its `coredns` in PATH",
    "unbound": "apt-get install unbound",
    "unbound-control": "apt-get install unbound",
    "dnsmasq": "apt-get install dnsmasq-base",
    "named": "apt-get install bind9",
    "perf": "apt-get install linux-perf",
    "dnstap": "apt-get install golang-github-dnstap-golang-dnstap-cli",
    "fstrm_capture": "apt-get install fstrm-bin",
    "fstrm_replay": "apt-get install fstrm-bin",
    "dnsproxy": "make setup",
}


def find(program: str) -> str | None:
    """The path of a program, or None."""
    folders = (os.environ.get("PATH", os.defpath), *SYSTEM_FOLDERS)
    return shutil.which(program, path=os.pathsep.join(folders))


def require(program: str) -> str:
    """The path of a program; raises BenchError with what installs it."""
    path = find(program)
    if path is None:
        raise BenchError(how_to_get(program))
    return path


def how_to_get(program: str) -> str:
    """One line that names what is missing and what installs it."""
    return f"{program} is missing: {INSTALL[program]}"


def first_line(command: list[str]) -> str:
    """The first line that a program prints when asked for its version; empty if it fails or says nothing."""
    try:
        run = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=VERSION_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    lines = run.stdout.decode(errors="replace").strip().splitlines()
    return lines[0].strip() if lines else ""
