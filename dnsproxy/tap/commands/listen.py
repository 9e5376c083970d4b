"""`dnsproxy tap listen SOURCE…`: prints what producers send."""

from __future__ import annotations

import argparse
import signal
from functools import partial

import trio

from dnsproxy.tap.common import Parser, add_filters, add_forms, add_masks, add_output
from dnsproxy.tap.damage import tell
from dnsproxy.tap.live import heed_signals, run_live
from dnsproxy.tap.printer import END_S, Printer, printer_to
from dnsproxy.tap.sources import Sources, add_sources
from dnsproxy.tap.trust import add_trust


def add_options(parser: Parser) -> None:
    """Of this command."""
    add_sources(parser)
    add_trust(parser)
    add_forms(parser)
    add_filters(parser)
    add_masks(parser)
    add_output(parser)


def run(options: argparse.Namespace) -> int:
    """Until a signal, or until as many messages have been printed as were wanted."""
    return run_live(partial(_listen, options))


async def _listen(options: argparse.Namespace) -> int:
    printer = printer_to(options)
    with Sources(options, printer) as sources:
        await _serve(sources, printer)
    return 0


async def _serve(sources: Sources, printer: Printer) -> None:
    def tell_counters() -> None:
        tell(f"listen: {sources.producers.summary()}")

    async def stop_when_done() -> None:
        await printer.done.wait()
        sources.stop()

    async with trio.open_nursery() as nursery:
        await nursery.start(
            heed_signals,
            {
                **dict.fromkeys((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), sources.stop),
                **dict.fromkeys((signal.SIGUSR1, signal.SIGUSR2), tell_counters),
            },
        )
        nursery.start_soon(printer.run)
        nursery.start_soon(stop_when_done)
        await sources.run()
        printer.end()
        with trio.move_on_after(END_S):
            await printer.flush()
        nursery.cancel_scope.cancel()
