"""How to trust, and to be known to, those that a command dials."""

from __future__ import annotations

import argparse

from dnsproxy.dnstap.destination import TlsOptions
from dnsproxy.tap.common import Parser
from dnsproxy.tap.errors import WrongUsage


def add_trust(parser: Parser) -> None:
    """Options for TLS to those that we dial, as `trust_from` reads them."""
    group = parser.add_argument_group("TLS to what is dialled")
    group.add_argument("--ca", metavar="FILE", help="PEM file of whom to trust (default: as the system does)")
    group.add_argument("--cert", metavar="FILE", help="PEM file of our own certificate")
    group.add_argument("--key", metavar="FILE", help="its key")
    group.add_argument("--server-name", metavar="NAME", help="in the other side's certificate, if not the host")
    group.add_argument("--skip-verify", action="store_true", help="trust anybody")


def trust_from(options: argparse.Namespace) -> TlsOptions:
    """How to trust, and to be known to, those that we dial."""
    if options.key and not options.cert:
        raise WrongUsage("--key takes --cert")
    return TlsOptions(options.ca, options.cert, options.key, options.server_name, options.skip_verify)
