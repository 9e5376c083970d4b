"""DESTINATION… of a command line: collectors that are sent to."""

from __future__ import annotations

import argparse
from pathlib import Path

from dnsproxy.dnstap.destination import Destination
from dnsproxy.tap.common import Parser
from dnsproxy.tap.errors import WrongUsage


def add_destinations(parser: Parser) -> None:
    """Options DESTINATION…, as `destinations`."""
    group = parser.add_argument_group("destinations")
    group.add_argument("-U", dest="destinations", metavar="PATH", action="append", type=_unix, help="a unix socket")
    group.add_argument("-T", dest="destinations", metavar="HOST:PORT", action="append", type=_tcp, help="over TCP")
    group.add_argument(
        "--to", dest="destinations", metavar="URL", action="append", type=_url, help="unix:///path, tcp:// or tls://"
    )


def destinations_from(options: argparse.Namespace) -> list[Destination]:
    """Those that are named, each once; WrongUsage when there are none."""
    named: list[Destination] = options.destinations or []
    if not named:
        raise WrongUsage("no destination; expected -U PATH, -T HOST:PORT or --to URL")
    return list(dict.fromkeys(named))


def _unix(path: str) -> Destination:
    return _url(f"unix://{Path(path).absolute()}")


def _tcp(text: str) -> Destination:
    return _url(f"tcp://{text}")


def _url(text: str) -> Destination:
    try:
        url = Destination.from_toml(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
    if url.scheme == "file":
        raise argparse.ArgumentTypeError(f'"{text}" is no collector; files are written by `dnsproxy tap record`')
    return url
