"""`dnsproxy tap follow FILE…`: prints what is being added to files, as `tail -F` does with logs."""

from __future__ import annotations

import argparse
import signal
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import trio

from dnsproxy.tap.common import Parser, add_filters, add_forms, add_masks, add_max_frame, add_output
from dnsproxy.tap.damage import TRUNCATED, Damages, tell
from dnsproxy.tap.errors import WrongUsage
from dnsproxy.tap.filters import filter_from
from dnsproxy.tap.following import POLL_S, Following
from dnsproxy.tap.growing_stream import GrowingStream
from dnsproxy.tap.live import heed_signals, run_live
from dnsproxy.tap.moments import time_range
from dnsproxy.tap.octets import STANDARD_INPUT, NotWhole, Octets
from dnsproxy.tap.printer import END_S, Printer, printer_to

LAST: Final = 10


def add_options(parser: Parser) -> None:
    """Of this command."""
    parser.add_argument("files", metavar="FILE", nargs="+", help="a file, a recorder's template or a quoted glob")
    group = parser.add_argument_group("where to begin (--since too; default: --last 10)")
    group.add_argument("--from-start", action="store_true", help="with everything that is there")
    group.add_argument("--last", metavar="N", type=_number, help="with the last messages")
    add_max_frame(parser)
    add_forms(parser)
    add_filters(parser)
    add_masks(parser)
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Until a signal, or until as many messages have been printed as were wanted."""
    if options.from_start and options.last is not None:
        raise WrongUsage("--from-start and --last are different beginnings; expected one of them")
    return run_live(partial(_follow, options))


async def _follow(options: argparse.Namespace) -> int:
    printer = printer_to(options)
    names = [name for name in options.files if name != STANDARD_INPUT]
    following = Following(names, options.max_frame)
    stopping = trio.CancelScope()
    status = 0
    async with trio.open_nursery() as nursery:
        await nursery.start(heed_signals, _actions(stopping, following))
        nursery.start_soon(printer.run)
        nursery.start_soon(_stop_when_done, printer, stopping)
        with stopping:
            if len(names) < len(options.files):
                status = await _print_standard_input(printer, options.max_frame)
            if names:
                await _print_all(following, printer, options)
        printer.end()
        with trio.move_on_after(END_S):
            await printer.flush()
        nursery.cancel_scope.cancel()
    following.close()
    return status


async def _print_all(following: Following, printer: Printer, options: argparse.Namespace) -> None:
    _begin(following, printer, options)
    while True:
        for frames in following.batches():
            printer.print(frames)
            await trio.lowlevel.checkpoint()
            await printer.wait_for_room()
        await trio.sleep(POLL_S)


def _begin(following: Following, printer: Printer, options: argparse.Namespace) -> None:
    if options.since is not None and options.last is None:
        now_ns = time.time_ns()
        since_ns, _ = time_range(options.since, options.until, now_ns)
        following.begin_since(since_ns or now_ns)
    elif not options.from_start:
        printer.print(following.begin_with_last(LAST if options.last is None else options.last, filter_from(options)))


async def _print_standard_input(printer: Printer, max_frame: int) -> int:
    """To its end; 1 if there was damage."""
    stream = GrowingStream(Damages(STANDARD_INPUT), max_frame)
    octets = Octets(STANDARD_INPUT)
    chunks = await trio.to_thread.run_sync(octets.chunks, abandon_on_cancel=True)
    try:
        while chunk := await trio.to_thread.run_sync(next, chunks, b"", abandon_on_cancel=True):
            for run in stream.receive_data(chunk):
                printer.take(run, stream.damages)
            await printer.wait_for_room()
        stream.end()
    except NotWhole as exc:
        stream.damages.report(TRUNCATED, stream.received, str(exc))
    finally:
        stream.damages.end()
    return int(stream.damages.total > 0)


async def _stop_when_done(printer: Printer, stopping: trio.CancelScope) -> None:
    await printer.done.wait()
    stopping.cancel()


def _actions(stopping: trio.CancelScope, following: Following) -> dict[signal.Signals, Callable[[], object]]:
    def tell_counters() -> None:
        tell(f"follow: {following.summary()}")

    return {
        signal.SIGINT: stopping.cancel,
        signal.SIGTERM: stopping.cancel,
        signal.SIGHUP: stopping.cancel,
        signal.SIGUSR1: tell_counters,
        signal.SIGUSR2: tell_counters,
    }


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f'"{text}" is no number; expected 0 or more')
    return int(text)
