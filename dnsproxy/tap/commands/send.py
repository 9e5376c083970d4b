"""`dnsproxy tap send FILE… DESTINATION`: replays files to a collector."""

from __future__ import annotations

import argparse

from dnsproxy.dnstap.destination import Destination
from dnsproxy.tap.common import Parser, add_files, add_filters, add_masks, add_order
from dnsproxy.tap.decoding import Selection, run_of
from dnsproxy.tap.destinations import add_destinations, destinations_from
from dnsproxy.tap.errors import WrongUsage
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.outgoing import Outgoing
from dnsproxy.tap.pace import Pace, at_rate, in_real_time
from dnsproxy.tap.progress import Progress
from dnsproxy.tap.reading import Reading
from dnsproxy.tap.trust import add_trust, trust_from

DONE, DAMAGED = 0, 1


def add_options(parser: Parser) -> None:
    """Of this command."""
    add_files(parser)
    add_order(parser)
    add_destinations(parser)
    add_trust(parser)
    group = parser.add_argument_group("pace (default: as fast as it is taken)")
    group.add_argument("--real-time", action="store_true", help="as the messages followed one another")
    group.add_argument("--speed", metavar="FACTOR", type=_positive, help="so many times as fast as that")
    group.add_argument("--rate", metavar="N", type=_positive, help="so many messages in a second")
    parser.add_argument("--unidirectional", action="store_true", help="without READY, ACCEPT and FINISH")
    add_filters(parser)
    add_masks(parser)


def run(options: argparse.Namespace) -> int:
    """1 if a file had damage; all else that goes wrong is a Failure."""
    destination, pace, selection = _one(destinations_from(options)), _pace(options), Selection(options)
    progress = Progress(options.files)
    reading = Reading(options.files, options.max_frame, options.concat, progress.tell)
    try:
        with Outgoing(destination, trust_from(options), bidirectional=not options.unidirectional) as outgoing:

            def send(frames: list[TapFrame]) -> None:
                outgoing.send(run_of(frames).octets)

            for batch in reading.batches():
                frames = selection.of(batch)
                if pace is not None:
                    pace.send(frames, send)
                elif frames:
                    send(frames)
                progress.show(reading.position)
            outgoing.finish()
    finally:
        progress.end()
    return DONE if reading.is_whole else DAMAGED


def _one(destinations: list[Destination]) -> Destination:
    if len(destinations) > 1:
        raise WrongUsage(f"{len(destinations)} destinations; expected one of -U PATH, -T HOST:PORT and --to URL")
    return destinations[0]


def _pace(options: argparse.Namespace) -> Pace | None:
    if options.rate is not None and (options.real_time or options.speed is not None):
        raise WrongUsage("--rate and --real-time or --speed are different paces; expected one of them")
    if options.rate is not None:
        return Pace(at_rate(options.rate))
    if options.real_time or options.speed is not None:
        return Pace(in_real_time(options.speed or 1.0))
    return None


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f'"{text}" is no number above 0')
    return number
