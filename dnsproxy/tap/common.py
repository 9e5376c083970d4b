"""What the commands of `dnsproxy tap` share on their command lines; values mean what they do in the configuration."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Final, NoReturn, TypeVar

from dnsproxy.dnstap.framestreams import MAX_FRAME
from dnsproxy.tap.errors import WrongUsage

T = TypeVar("T")
COLORS: Final = ("auto", "always", "never")


class Parser(argparse.ArgumentParser):
    """Options and operands in any order; what is wrong with them is a WrongUsage of one line."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(prog=f"dnsproxy tap {command}", description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """As the class says."""
        raise WrongUsage(message)


def duration(text: str) -> float:
    """Seconds: `500ms`, `5s`, `1h`."""
    from dnsproxy.values import parse_duration

    return _read(parse_duration, text)


def size(text: str) -> int:
    """Octets: `1MiB`, or a number."""
    from dnsproxy.values import parse_size

    return _read(lambda text: int(text) if text.isdecimal() else parse_size(text), text)


def count(text: str) -> int:
    """A number from 1 on."""
    if not text.isdecimal() or not text.isascii() or not int(text):
        raise argparse.ArgumentTypeError(f'"{text}" is no number; expected 1 or more')
    return int(text)


def _read(parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def add_files(parser: Parser, several: str = "several are merged by message time") -> None:
    """Operands FILE…, as `files`, and how they are read."""
    parser.add_argument("files", metavar="FILE", nargs="+", help=f"`-` is standard input; {several}")
    add_max_frame(parser)


def add_order(parser: Parser) -> None:
    """`concat`: the order in which files are read."""
    parser.add_argument("--concat", action="store_true", help="one file after the other, instead of merged by time")


def add_jobs(parser: Parser) -> None:
    """`jobs`: how many files are read at once."""
    parser.add_argument("--jobs", metavar="N", type=count, default=1, help="so many files at once (default: 1)")


def add_max_frame(parser: Parser) -> None:
    """`max_frame`, in octets."""
    parser.add_argument(
        "--max-frame", metavar="SIZE", type=size, default=MAX_FRAME, help="longest data frame taken (default: 1MiB)"
    )


def add_forms(parser: Parser) -> None:
    """How messages are printed: see `forms.chosen`."""
    group = parser.add_argument_group("forms, at most one (default: a line for people)")
    group.add_argument("-q", dest="quiet", action="store_true", help="as `dnstap -q` prints it")
    group.add_argument("-y", dest="yaml", action="store_true", help="as `dnstap -y`, with --bind as `dnstap-read -y`")
    group.add_argument("-j", dest="dnstap_json", action="store_true", help="as `dnstap -j` prints it")
    group.add_argument("--bind", action="store_true", help="as `dnstap-read` prints it")
    group.add_argument("-p", dest="packet", action="store_true", help="as `dnstap-read -p`: with the message's text")
    group.add_argument("-x", dest="hex", action="store_true", help="as `dnstap-read -x`: with the message in hex")
    group.add_argument("--json", action="store_true", help="one JSON object per message")
    group.add_argument("--querylog", action="store_true", help="as `named` logs queries")
    group.add_argument("--format", metavar="TEMPLATE", help='such as "{name} {.latency_ms} {/query/id}"')
    add_json_options(group)
    group.add_argument("--utc", action="store_true", help="times that are local otherwise in UTC")
    group.add_argument("--color", choices=COLORS, default="auto", help="the line for people (default: on a terminal)")


def add_json_options(parser: argparse._ActionsContainer) -> None:
    """`wire` and `frame`: which octets JSON has."""
    parser.add_argument("--no-wire", dest="wire", action="store_false", help="JSON without the messages' octets")
    parser.add_argument("--frame", action="store_true", help="JSON with the whole frame's octets")


def add_output(parser: Parser) -> None:
    """`write`, `append` and `count`: where it is printed, and how much."""
    parser.add_argument(
        "-w", dest="write", metavar="FILE", help="output goes there: Frame Streams if no form is chosen"
    )
    parser.add_argument("-a", dest="append", action="store_true", help="text is appended to FILE")
    parser.add_argument("--count", metavar="N", type=count, help="end after so many messages")


def add_filters(parser: Parser) -> None:
    """Which messages are taken: see `filters.filter_from`."""
    group = parser.add_argument_group(
        "filters", "values separated by commas or given again are alternatives; a value that begins with ! excludes"
    )
    for option, metavar, text in FILTERS:
        group.add_argument(option, metavar=metavar, action="append", help=text)
    group.add_argument("--since", metavar="TIME", help="RFC 3339, local HH:MM[:SS], or back from now (15m)")
    group.add_argument("--until", metavar="TIME", help="likewise; messages up to it")
    group.add_argument("--sample", metavar="RATE", help="a part of the queries, with their responses: 0.1")


FILTERS: Final = (
    ("--types", "TYPES", "CLIENT_QUERY, CQ, client, query, `client query`, …"),
    ("--zone", "NAME", "names in it or below"),
    ("--client", "CIDR", "query addresses in it"),
    ("--qtype", "TYPE", "record types"),
    ("--rcode", "RCODE", "of responses"),
    ("--protocol", "PROTOCOL", "UDP, TCP, DOT, DOH, DOQ, …"),
    ("--identity", "TEXT", "the producer's"),
    ("--slower-than", "DURATION", "latency at least"),
    ("--only", "errors", "rcodes other than NOERROR and NXDOMAIN"),
    ("--extra", "TEXT", "extra has TEXT in it"),
)


def add_masks(parser: Parser) -> None:
    """What is hidden of messages: see `masks.mask_from`."""
    group = parser.add_argument_group("masks")
    group.add_argument("--mask", metavar="V4/V6", help="cut clients' addresses to prefixes, such as 24/56")
    group.add_argument("--pseudonymize", metavar="KEYFILE", help="keyed pseudonyms for clients' addresses")
    group.add_argument("--strip", metavar="LIST", action="append", help="ecs, cookie, extra, identity, messages")
