"""`dnsproxy tap check`: whether a collector is alive and its files are fresh, for monitoring."""

from __future__ import annotations

import argparse
import json
import signal
import time
from dataclasses import asdict, dataclass
from functools import partial
from typing import Final

import trio

from dnsproxy.dnstap.destination import Destination
from dnsproxy.tap.cli import ENDING
from dnsproxy.tap.common import Parser, duration
from dnsproxy.tap.errors import Failure, Stopped, WrongUsage
from dnsproxy.tap.freshness import Search, newest_ns
from dnsproxy.tap.live import heed_signals, run_live
from dnsproxy.tap.probing import Probe, converse
from dnsproxy.tap.standard_output import put
from dnsproxy.tap.trust import add_trust, trust_from

POLL_S: Final = 0.02  # between two looks at the files
NS_PER_S: Final = 1_000_000_000


@dataclass
class Findings:
    """What was found; None for what was not asked for, or not reached."""

    ok: bool = True
    url: str | None = None
    handshake_ms: float | None = None
    file: str | None = None
    age_s: float | None = None
    probe_ms: float | None = None
    error: str | None = None

    def line(self) -> str:
        """All of it in a line."""
        if self.error is not None:
            return self.error
        parts = []
        if self.handshake_ms is not None:
            parts.append(f"{self.url}: READY to FINISH in {self.handshake_ms:.1f} ms")
        if self.probe_ms is not None:
            parts.append(f"{self.file}: the probe is there after {self.probe_ms:.1f} ms")
        elif self.age_s is not None:
            parts.append(f"{self.file}: the newest message is {self.age_s:.1f} s old")
        return "; ".join(parts)


def add_options(parser: Parser) -> None:
    """The command's options."""
    parser.add_argument("url", metavar="URL", nargs="?", help="unix:///path, tcp://host:port or tls://host:port")
    parser.add_argument("--file", metavar="FILE", help="where the messages go: a file, a template or a quoted glob")
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        type=duration,
        default=5.0,
        help="for READY to FINISH, then for the probe (default: 5s)",
    )
    parser.add_argument(
        "--max-age", metavar="TIME", type=duration, default=60.0, help="of the newest message in FILE (default: 60s)"
    )
    parser.add_argument("--probe", action="store_true", help="send a TOOL_QUERY, which must appear in FILE in time")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    add_trust(parser)


def run(options: argparse.Namespace) -> int:
    """Check what was asked for."""
    if options.url is None and options.file is None:
        raise WrongUsage("what? expected URL, --file FILE or both")
    if options.probe and (options.url is None or options.file is None):
        raise WrongUsage("--probe takes both URL and --file FILE")
    destination = None if options.url is None else _destination(options.url)
    findings = Findings(url=options.url, file=options.file)
    try:
        run_live(partial(_run, options, destination, findings))
    except (Failure, OSError) as exc:
        findings.ok, findings.error = False, _said(exc)
    put([json.dumps(asdict(findings)) if options.json else findings.line(), "\n"])
    return 0 if findings.ok else 1


async def _run(options: argparse.Namespace, destination: Destination | None, findings: Findings) -> int:
    async with trio.open_nursery() as nursery:
        await nursery.start(heed_signals, {number: partial(_stop, number) for number in ENDING})
        await _check(options, destination, findings)
        nursery.cancel_scope.cancel()
    return 0


def _stop(number: signal.Signals) -> None:
    raise Stopped(number)


async def _check(options: argparse.Namespace, destination: Destination | None, findings: Findings) -> None:
    probe = Probe() if options.probe else None
    search = Search(options.file, probe.label) if probe else None
    if destination is not None:
        took_s = await converse(destination, trust_from(options), options.timeout, probe)
        findings.handshake_ms = took_s * 1000
    if search is not None:
        findings.probe_ms = await _wait_for(search, options) * 1000
    if options.file is not None:
        findings.age_s = _age_s(options)


async def _wait_for(search: Search, options: argparse.Namespace) -> float:
    """Seconds until the probe was there."""
    began = trio.current_time()
    while not search.is_found():
        if trio.current_time() - began > options.timeout:
            raise Failure(f"{options.file}: the probe has not come within {options.timeout:g} s")
        await trio.sleep(POLL_S)
    return trio.current_time() - began


def _age_s(options: argparse.Namespace) -> float:
    newest = newest_ns(options.file)
    if newest is None:
        raise Failure(f"{options.file}: no message there")
    age_s = max((time.time_ns() - newest) / NS_PER_S, 0.0)  # clocks differ a little
    if age_s > options.max_age:
        raise Failure(f"{options.file}: the newest message is {age_s:.0f} s old, more than {options.max_age:g} s")
    return age_s


def _destination(url: str) -> Destination:
    try:
        destination = Destination.from_toml(url)
    except ValueError as exc:
        raise WrongUsage(str(exc)) from None
    if destination.scheme == "file":
        raise WrongUsage(f'"{url}" is a file; expected --file')
    return destination


def _said(exc: Failure | OSError) -> str:
    if isinstance(exc, OSError):
        return f"{exc.filename}: {exc.strerror}" if exc.filename else exc.strerror or str(exc)
    return str(exc)
