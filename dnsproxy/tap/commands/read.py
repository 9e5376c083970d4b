"""`dnsproxy tap read FILE…`: prints what is in files, or writes it to another."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator

from dnsproxy.dnstap.framestreams import Deframer, data_frame
from dnsproxy.tap import common
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.output import Output, open_output
from dnsproxy.tap.progress import Progress
from dnsproxy.tap.reading import Reading
from dnsproxy.tap.rendering import Rendering

DONE, DAMAGED = 0, 1


def add_options(parser: common.Parser) -> None:
    """See `dnsproxy tap read --help`."""
    common.add_files(parser)
    common.add_order(parser)
    common.add_jobs(parser)
    common.add_forms(parser)
    common.add_output(parser)
    common.add_filters(parser)
    common.add_masks(parser)


def run(options: argparse.Namespace) -> int:
    """1 if a file could not be read whole, or had damage."""
    rendering = Rendering(options)
    progress = Progress(options.files)
    reading = Reading(options.files, options.max_frame, options.concat, progress.tell)
    output = open_output(options.write, options.append)
    try:
        _copy(reading, rendering, output, progress, _jobs(options))
    except BaseException:
        output.abandon()
        raise
    finally:
        progress.end()
    output.finish()
    return DONE if reading.is_whole else DAMAGED


def _copy(reading: Reading, rendering: Rendering, output: Output, progress: Progress, jobs: int) -> None:
    output.write(rendering.begin)
    batches = reading.batches()
    for octets in map(rendering.render, batches) if jobs == 1 else _shared(batches, rendering, jobs):
        output.write(octets)
        progress.show(reading.position)
        if rendering.is_done:
            break
    batches.close()
    output.write(rendering.end)


def _jobs(options: argparse.Namespace) -> int:
    """So many processes; one where a message's text depends on those before it."""
    is_ordered = options.count is not None or (options.bind and options.yaml)
    return 1 if is_ordered else int(options.jobs)


def _shared(batches: Iterable[list[TapFrame]], rendering: Rendering, jobs: int) -> Iterator[bytes]:
    """Rendered by several processes, to which the frames go as they stand in a stream."""
    from dnsproxy.tap.pool import worked

    streams = (b"".join([data_frame(frame.payload) for frame in batch]) for batch in batches)
    return worked(streams, lambda stream: rendering.render(_frames(stream)), jobs)


def _frames(stream: bytes) -> list[TapFrame]:
    return [TapFrame(item) for item in Deframer(len(stream)).receive_data(stream) if isinstance(item, bytes)]
