"""`dnsproxy tap stats FILE…`: a report on files, as text, JSON, SVG or HTML."""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

from dnsproxy.tap import common
from dnsproxy.tap.choice import Choice, choice_from
from dnsproxy.tap.inputs import Inputs
from dnsproxy.tap.output import open_output
from dnsproxy.tap.progress import Progress
from dnsproxy.tap.report.summary import Summary
from dnsproxy.tap.report.text import lines
from dnsproxy.tap.standard_output import put
from dnsproxy.tap.tally import Tally

DONE, DAMAGED = 0, 1
Read = tuple[Tally, bool]  # and whether the file was read whole


def add_options(parser: common.Parser) -> None:
    """See `dnsproxy tap stats --help`."""
    common.add_files(parser, "several are counted together")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.add_argument("--svg", metavar="FILE", help="draw it: `-` is standard output")
    parser.add_argument("--html", metavar="FILE", help="a page with the picture and all numbers")
    parser.add_argument(
        "--top", metavar="N", type=common.count, default=10, help="so many names, clients, upstreams (default: 10)"
    )
    common.add_jobs(parser)
    common.add_filters(parser)
    common.add_masks(parser)


def run(options: argparse.Namespace) -> int:
    """1 if a file could not be read whole, or had damage."""
    choose = choice_from(options)
    total, is_whole = Tally(), True
    for tally, was_whole in _tallies(options, choose):
        total.merge(tally)
        is_whole = is_whole and was_whole
    summary = Summary(total, options.top)
    title = _title(options.files)
    if options.svg:
        from dnsproxy.tap.report.svg import svg

        _write(options.svg, svg(summary, title))
    if options.html:
        from dnsproxy.tap.report.html import html

        _write(options.html, html(summary, title))
    if options.json:
        put([json.dumps(summary.json()), "\n"])
    elif not options.svg and not options.html:
        put(f"{line}\n" for line in lines(summary))
    return DONE if is_whole else DAMAGED


def _tallies(options: argparse.Namespace, choose: Choice) -> Iterator[Read]:
    """One for each file, read by several processes if there shall be."""
    if options.jobs == 1 or len(options.files) == 1:
        progress = Progress(options.files)
        try:
            yield _tally(options.files, options, choose, progress)
        finally:
            progress.end()
        return
    from dnsproxy.tap.pool import worked

    def work(path: bytes) -> bytes:
        return pickle.dumps(_tally([path.decode("utf-8", "surrogateescape")], options, choose, Progress([])))

    paths = (path.encode("utf-8", "surrogateescape") for path in options.files)
    for octets in worked(paths, work, min(options.jobs, len(options.files))):
        read: Read = pickle.loads(octets)  # noqa: S301  from a process of our own
        yield read


def _tally(paths: list[str], options: argparse.Namespace, choose: Choice, progress: Progress) -> Read:
    tally = Tally()
    inputs = Inputs(paths, None, options.max_frame, concat=True, tell=progress.tell)
    for batch in inputs.batches():
        tally.add(choose(batch))
        progress.show(inputs.position)
    tally.damaged = sum(file.damages.total for file in inputs.files)
    return tally, inputs.is_whole


def _title(paths: list[str]) -> str:
    names = [Path(path).name for path in paths]
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} and {len(names) - 1} others"


def _write(path: str, text: str) -> None:
    output = open_output(path)
    try:
        output.write(text.encode("utf-8", "replace"))
    except BaseException:
        output.abandon()
        raise
    output.finish()
