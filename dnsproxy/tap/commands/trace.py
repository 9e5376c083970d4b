"""`dnsproxy tap trace SOURCE…|FILE…`: the messages of each client query put together, a line for each."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from typing import Final

from dnsproxy.tap import common
from dnsproxy.tap.cli import ENDING
from dnsproxy.tap.errors import Stopped, WrongUsage
from dnsproxy.tap.filters import filter_from
from dnsproxy.tap.frame import NS_PER_S, TapFrame
from dnsproxy.tap.inputs import Inputs
from dnsproxy.tap.joined import Joined
from dnsproxy.tap.joining import Joiner
from dnsproxy.tap.masks import mask_from
from dnsproxy.tap.paths import json_line, people_lines
from dnsproxy.tap.progress import Progress
from dnsproxy.tap.sources import add_sources
from dnsproxy.tap.standard_output import StandardOutput
from dnsproxy.tap.trust import add_trust

DONE, DAMAGED = 0, 1
TICK_S: Final = 0.1  # between two looks at what has been complete for long enough


def add_options(parser: common.Parser) -> None:
    """See `dnsproxy tap trace --help`."""
    parser.add_argument("files", metavar="FILE", nargs="*", help="`-` is standard input; several are merged by time")
    add_sources(parser)
    add_trust(parser)
    parser.add_argument(
        "--wait", metavar="TIME", type=common.duration, default=10.0, help="for a query's end (default: 10s)"
    )
    parser.add_argument("--json", action="store_true", help="a JSON object for each query")
    parser.add_argument("--utc", action="store_true", help="times in UTC instead of local")
    common.add_order(parser)
    common.add_filters(parser)
    common.add_masks(parser)


def run(options: argparse.Namespace) -> int:
    """1 if a file could not be read whole, or had damage."""
    if bool(options.files) == bool(options.sources):
        raise WrongUsage("expected either sources (-u, -l, --connect) or files")
    tracer = Tracer(options)
    return _trace_sources(options, tracer) if options.sources else _trace_files(options, tracer)


class Tracer:
    """Prints queries as they become complete, those whose last client's message the filters let through."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._joiner = Joiner(round(options.wait * NS_PER_S))
        self._takes = filter_from(options)
        self._mask = mask_from(options)
        self._line = json_line if options.json else people_lines(options.utc)
        self._output = StandardOutput()
        self._seen_ns = 0  # by our own clock, the last message

    def see(self, frames: list[TapFrame]) -> None:
        """Take messages."""
        for frame in frames if self._mask is None else map(self._mask, frames):
            self._print(self._joiner.add(frame))
        self._seen_ns = time.monotonic_ns()

    def tick(self) -> None:
        """Time goes on though nothing comes; by the messages' clock, whatever ours says."""
        if self._seen_ns:
            self._print(self._joiner.release(self._joiner.now_ns + time.monotonic_ns() - self._seen_ns))
        self._output.flush()

    def end(self) -> None:
        """No message will come any more."""
        self._print(self._joiner.end())
        self._output.flush()

    def _print(self, found: Iterable[Joined]) -> None:
        for joined in found:
            if self._takes is None or (joined.client is not None and self._takes(joined.client)):
                self._output.write(self._line(joined) + "\n")


def _trace_files(options: argparse.Namespace, tracer: Tracer) -> int:
    progress = Progress(options.files)
    inputs = Inputs(options.files, None, options.max_frame, options.concat, progress.tell)
    try:
        for batch in inputs.batches():
            tracer.see(batch)
            progress.show(inputs.position)
        tracer.end()
    finally:
        progress.end()
    return DONE if inputs.is_whole else DAMAGED


def _trace_sources(options: argparse.Namespace, tracer: Tracer) -> int:
    from dnsproxy.tap.live import run_live
    from dnsproxy.tap.watching import watch

    def tick(_damaged: int) -> None:
        tracer.tick()

    ended: list[int] = []

    async def trace() -> int:
        ended.append(await watch(options, tracer.see, tick, TICK_S, ENDING))
        return DONE

    run_live(trace)
    tracer.end()
    raise Stopped(ended[0])
