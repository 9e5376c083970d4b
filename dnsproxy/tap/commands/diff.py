"""`dnsproxy tap diff A B`: compares two recordings of the same client queries."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Final

from dnsproxy.tap import common
from dnsproxy.tap.choice import Choice, choice_from
from dnsproxy.tap.comparing import Comparison
from dnsproxy.tap.differences import json_pieces, text_lines
from dnsproxy.tap.frame import NS_PER_S
from dnsproxy.tap.inputs import Inputs
from dnsproxy.tap.joined import Joined
from dnsproxy.tap.joining import CLIENT_QUERY, CLIENT_RESPONSE, Joiner
from dnsproxy.tap.standard_output import put

SAME, DIFFERENT = 0, 1
WAIT_NS: Final = 10 * NS_PER_S  # for a query's response
CLIENTS: Final = frozenset({CLIENT_QUERY, CLIENT_RESPONSE})


def add_options(parser: common.Parser) -> None:
    """See `dnsproxy tap diff --help`."""
    parser.add_argument("a", metavar="A", help="a recording")
    parser.add_argument("b", metavar="B", help="another one of the same queries")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    common.add_max_frame(parser)
    common.add_filters(parser)
    common.add_masks(parser)


def run(options: argparse.Namespace) -> int:
    """1 if anything but latency differs, or a file could not be read whole."""
    choose = choice_from(options)
    inputs = [Inputs([path], None, options.max_frame) for path in (options.a, options.b)]
    a, b = (_queries(each, choose) for each in inputs)
    comparison = Comparison()
    differences = comparison.differences(a, b)
    if options.json:
        put(json_pieces(comparison, differences))
    else:
        put(f"{line}\n" for line in text_lines(comparison, differences, options.a, options.b))
    is_whole = all(each.is_whole for each in inputs)
    return SAME if comparison.is_equal and is_whole else DIFFERENT


def _queries(inputs: Inputs, choose: Choice) -> Iterator[Joined]:
    """A recording's client queries in the order of their beginning."""
    joiner = Joiner(WAIT_NS, by_start=True)
    for batch in inputs.batches():
        for frame in choose(batch):
            if frame.type in CLIENTS:
                yield from joiner.add(frame)
    yield from joiner.end()
