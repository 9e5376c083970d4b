"""The command line of the bench."""

import argparse
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from harness import programs
from harness.errors import BenchError
from harness.measure import Effort
from harness.peers import Peer
from harness.peers.coredns import CoreDns
from harness.peers.dnsdist import Dnsdist
from harness.peers.dnsproxy import Dnsproxy
from harness.workloads import WORKLOADS

PEERS: dict[str, Callable[[str], Peer]] = {"dnsdist": Dnsdist, "coredns": CoreDns}  # by the program's file name
RESULTS = Path(__file__).resolve().parent.parent / "results"

ROUNDS, SECONDS = 5, 5.0  # 10 ms ticks are then 0.2 % of what the cheapest program uses in a round
QUICK_ROUNDS, QUICK_SECONDS = 2, 1.5  # all workloads and programs in about a minute


def parser() -> argparse.ArgumentParser:
    """What `--help` shows."""
    options = argparse.ArgumentParser(description="CPU per query of dnsproxy and its peers, measured in turn.")
    options.add_argument(
        "--proxy",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="a build to measure (repeatable); default: the dnsproxy installed beside this Python",
    )
    options.add_argument("--peers-only", action="store_true", help="leave this project's proxy out: nothing is judged")
    options.add_argument(
        "--only", action="append", choices=[workload.name for workload in WORKLOADS], help="repeatable"
    )
    options.add_argument("--rounds", type=_positive, help=f"default {ROUNDS}")
    options.add_argument("--seconds", type=float, help=f"of load in each measurement, default {SECONDS:g}")
    options.add_argument("--quick", action="store_true", help="a smoke test of about a minute; its figures are rough")
    options.add_argument(
        "--write",
        type=Path,
        nargs="?",
        const=RESULTS,
        metavar="DIR",
        help=f"write bench.md and bench.json, default {RESULTS}",
    )
    return options


def effort(chosen: argparse.Namespace) -> Effort:
    """How much to measure."""
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if chosen.quick else (ROUNDS, SECONDS)
    return Effort(
        rounds=chosen.rounds or rounds,
        seconds=chosen.seconds or seconds,
        warm_up_s=0.5 if chosen.quick else 1.0,
    )


def proxies(chosen: argparse.Namespace) -> list[Dnsproxy]:
    """The builds to measure: those named, or the one installed; raises BenchError if there is none."""
    if chosen.peers_only:
        return []
    return [_named(text) for text in chosen.proxy] or [_installed()]


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


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
