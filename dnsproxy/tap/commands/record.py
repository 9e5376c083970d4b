"""`dnsproxy tap record SOURCE… -w TEMPLATE`: writes what producers send to Frame Streams files."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable
from functools import partial

import trio

from dnsproxy.tap.common import Parser, add_filters, add_masks
from dnsproxy.tap.damage import tell
from dnsproxy.tap.decoding import selecting
from dnsproxy.tap.live import heed_signals, run_live
from dnsproxy.tap.record_options import add_recording, recordings_from
from dnsproxy.tap.recorder import Recorder
from dnsproxy.tap.sources import Sources, add_sources
from dnsproxy.tap.trust import add_trust


def add_options(parser: Parser) -> None:
    """Of this command."""
    add_sources(parser)
    add_trust(parser)
    add_recording(parser, required=True)
    add_filters(parser)
    add_masks(parser)


def run(options: argparse.Namespace) -> int:
    """Until a signal; everything that was taken is published then."""
    return run_live(partial(_record, options))


async def _record(options: argparse.Namespace) -> int:
    recordings = recordings_from(options)
    recorder = recordings.recorder
    async with trio.open_nursery() as nursery:
        with Sources(options, selecting(options, recorder)) as sources:
            await nursery.start(heed_signals, _actions(sources, recorder))
            recordings.open()
            await nursery.start(recordings.run)
            await sources.run()
        await recordings.finish()
        nursery.cancel_scope.cancel()
    return 0


def _actions(sources: Sources, recorder: Recorder) -> dict[signal.Signals, Callable[[], object]]:
    def flush() -> None:
        recorder.sync()
        sources.renew_certificate()

    return {
        signal.SIGINT: sources.stop,
        signal.SIGTERM: sources.stop,
        signal.SIGUSR1: recorder.rotate,
        signal.SIGHUP: flush,
        signal.SIGUSR2: lambda: tell(f"record: {sources.producers.summary()}; {recorder.summary()}"),
    }
