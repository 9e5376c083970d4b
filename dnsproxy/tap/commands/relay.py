"""`dnsproxy tap relay SOURCE… DESTINATION…`: sends on what producers send, and records it too if asked to."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import trio

from dnsproxy.dnstap.destination import Destination
from dnsproxy.tap.common import Parser, add_filters, add_masks, count, duration, size
from dnsproxy.tap.damage import tell
from dnsproxy.tap.decoding import selecting
from dnsproxy.tap.destinations import add_destinations, destinations_from
from dnsproxy.tap.errors import WrongUsage
from dnsproxy.tap.live import heed_signals, run_live
from dnsproxy.tap.producer import Consumer
from dnsproxy.tap.record_options import Recordings, add_recording, check_recording, recordings_from
from dnsproxy.tap.relaying import Relay, Several
from dnsproxy.tap.sources import Sources, add_sources
from dnsproxy.tap.trust import add_trust, trust_from

QUEUE: Final = 10_000  # frames: some seconds of a busy resolver
QUEUE_OCTETS: Final = 64 << 20


def add_options(parser: Parser) -> None:
    """Of this command."""
    add_sources(parser)
    add_destinations(parser)
    add_trust(parser)
    group = parser.add_argument_group("queues, one for each destination")
    group.add_argument("--queue", metavar="N", type=count, default=QUEUE, help=f"frames (default: {QUEUE})")
    group.add_argument("--queue-bytes", metavar="SIZE", type=size, default=QUEUE_OCTETS, help="(default: 64MiB)")
    group.add_argument(
        "--drain", metavar="TIME", type=duration, default=5.0, help="at the end, for what is queued (default: 5s)"
    )
    add_recording(parser, required=False)
    add_filters(parser)
    add_masks(parser)


def run(options: argparse.Namespace) -> int:
    """Until a signal; 1 if frames were lost."""
    return run_live(partial(_relay, options))


async def _relay(options: argparse.Namespace) -> int:
    check_recording(options)
    destinations = destinations_from(options)
    _refuse_circle(options, destinations)
    relay = Relay(destinations, trust_from(options), options.queue, options.queue_bytes, options.max_frame)
    recordings = recordings_from(options) if options.template is not None else None
    consumer: Consumer = relay if recordings is None else Several([relay, recordings.recorder])
    async with trio.open_nursery() as nursery:
        with Sources(options, selecting(options, consumer)) as sources:
            await nursery.start(heed_signals, _actions(sources, relay, recordings))
            if recordings is not None:
                recordings.open()
                await nursery.start(recordings.run)
            nursery.start_soon(relay.run)
            await sources.run()
        await _finish(relay, options.drain, recordings)
        nursery.cancel_scope.cancel()
    for line in relay.summaries():
        tell(line)
    return int(relay.has_lost)


def _refuse_circle(options: argparse.Namespace, destinations: list[Destination]) -> None:
    """A frame that comes back to us would go round for ever."""
    own = {_where(place.url) for place in options.sources or () if not place.is_dialled}
    for destination in destinations:
        if _where(destination) in own:
            raise WrongUsage(f"{destination} is both source and destination; expected another destination")


def _where(url: Destination) -> tuple[str, str, int]:
    return str(Path(url.path).absolute()) if url.path else "", url.host, url.port


async def _finish(relay: Relay, drain_s: float, recordings: Recordings | None) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.drain, drain_s)
        if recordings is not None:
            nursery.start_soon(recordings.finish)


def _actions(
    sources: Sources, relay: Relay, recordings: Recordings | None
) -> dict[signal.Signals, Callable[[], object]]:
    recorder = recordings.recorder if recordings is not None else None

    def rotate() -> None:
        if recorder is not None:
            recorder.rotate()

    def flush() -> None:
        sources.renew_certificate()
        if recorder is not None:
            recorder.sync()

    def tell_counters() -> None:
        tell(f"relay: {sources.producers.summary()}" + (f"; {recorder.summary()}" if recorder is not None else ""))
        for line in relay.summaries():
            tell(line)

    return {
        signal.SIGINT: sources.stop,
        signal.SIGTERM: sources.stop,
        signal.SIGUSR1: rotate,
        signal.SIGHUP: flush,
        signal.SIGUSR2: tell_counters,
    }
