"""The command lines of the bench."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import programs
from harness.builds import interpreted_twin
from harness.errors import BenchError
from harness.measure import Effort
from harness.peers import Peer, dnslib
from harness.peers.bind import Bind
from harness.peers.coredns import CoreDns
from harness.peers.dnsdist import Dnsdist
from harness.peers.dnsmasq import Dnsmasq
from harness.peers.dnsproxy import Dnsproxy
from harness.peers.unbound import Unbound
from harness.workloads import EVERYONE, WORKLOADS

# By the program's file name, in the order of the tables.
PEERS: dict[str, Callable[[str], Peer]] = {
    "dnsdist": Dnsdist,
    "coredns": CoreDns,
    "unbound": Unbound,
    "dnsmasq": Dnsmasq,
    "named": Bind,
}
RESULTS = Path(__file__).resolve().parent.parent / "results"

ROUNDS, SECONDS = 5, 5.0  # 10 ms ticks are then 0.2 % of what the cheapest program uses in a round
QUICK_ROUNDS, QUICK_SECONDS = 1, 1.5


def comparison() -> argparse.ArgumentParser:
    """What `run.py --help` shows."""
    options = argparse.ArgumentParser(description="CPU per query of dnsproxy and its peers, measured in turn.")
    add_common(options)
    names = [workload.name for workload in WORKLOADS]
    options.add_argument("--only", action="append", choices=names, help="one workload (repeatable); default: all")
    options.add_argument("--peer", action="append", choices=EVERYONE, help="one peer (repeatable); default: all")
    options.add_argument("--peers-only", action="store_true", help="leave this project's proxy out: nothing is judged")
    options.add_argument("--one-build", action="store_true", help="no interpreted twin of a compiled proxy")
    options.add_argument("--rounds", type=positive, help=f"default {ROUNDS}")
    options.add_argument(
        "--write",
        type=Path,
        nargs="?",
        const=RESULTS,
        metavar="DIR",
        help=f"write bench.md, bench.json and bench.svg, default {RESULTS}",
    )
    return options


def add_common(options: argparse.ArgumentParser, seconds: float = SECONDS) -> None:
    """What the comparison and the growth have in common."""
    add_proxy(options)
    options.add_argument("--seconds", type=float, help=f"of load in each measurement, default {seconds:g}")
    options.add_argument("--quick", action="store_true", help="a smoke test; its figures are rough")


def add_proxy(options: argparse.ArgumentParser) -> None:
    """`proxy`: the builds of ours, see `proxies`."""
    options.add_argument(
        "--proxy",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="a build to measure (repeatable); default: the dnsproxy installed beside this Python",
    )


def effort(chosen: argparse.Namespace) -> Effort:
    """How much to measure."""
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if chosen.quick else (ROUNDS, SECONDS)
    return Effort(
        rounds=chosen.rounds or rounds,
        seconds=chosen.seconds or seconds,
        warm_up_s=0.5 if chosen.quick else 1.0,
    )


def proxies(named: Sequence[str]) -> list[Dnsproxy]:
    """The builds to measure: those named, or the one installed; raises BenchError if there is none."""
    return [_named(text) for text in named] or [_installed()]


def with_twins(builds: Sequence[Dnsproxy], folder: Path) -> tuple[list[Dnsproxy], list[str]]:
    """A compiled build alone gets its interpreted twin; and a line if that cannot be."""
    if len(builds) > 1 or not builds or builds[0].build != "compiled":
        return list(builds), []
    try:
        return [*builds, interpreted_twin(builds[0], folder)], []
    except BenchError as exc:
        return list(builds), [str(exc)]


def peers(wanted: Sequence[str], folder: Path) -> tuple[list[Peer], list[str]]:
    """The peers on this machine, and a line for each one that is not."""
    found: list[Peer] = []
    missing = []
    for program, build in PEERS.items():
        path = programs.find(program)
        peer = build(path or program)
        if peer.name in wanted:
            found += [peer] if path else []
            missing += [] if path else [programs.how_to_get(program)]
    if dnslib.Dnslib.name in wanted:
        python = dnslib.find(folder)
        if isinstance(python, str):
            missing.append(python)
        else:
            found.append(python)
    return found, missing


def positive(text: str) -> int:
    """For argparse: a number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def _installed() -> Dnsproxy:
    beside = Path(sys.executable).with_name("dnsproxy")
    command = str(beside) if beside.exists() else programs.find("dnsproxy")
    if command is None:
        raise BenchError(programs.how_to_get("dnsproxy"))
    return Dnsproxy([command])


def _named(text: str) -> Dnsproxy:
    name, equals, command = text.partition("=")
    if not equals or not name or not command:
        raise BenchError(f"--proxy {text}: NAME=COMMAND was expected")
    return Dnsproxy(shlex.split(command), name)
