"""`dnsproxy tap convert IN… OUT`: Frame Streams to and from JSON lines, pcap and Parquet; repairs files."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

from dnsproxy.dnstap.framestreams import Deframer, data_frame
from dnsproxy.tap import common
from dnsproxy.tap.choice import Choice, choice_from
from dnsproxy.tap.compressing import Compressing, compressor_for
from dnsproxy.tap.damage import tell
from dnsproxy.tap.errors import Failure, WrongUsage
from dnsproxy.tap.formats import JSONL, STANDARD, WORDS, Encoder, compression, encoder_for, output_format, plain
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.inputs import Inputs
from dnsproxy.tap.output import Output, open_output
from dnsproxy.tap.progress import Progress

DONE, DAMAGED = 0, 1


def add_options(parser: common.Parser) -> None:
    """See `dnsproxy tap convert --help`."""
    parser.add_argument("files", metavar="IN", nargs="+", help="`-` is standard input; several are merged by time")
    parser.add_argument("output", metavar="OUT", help="replaced once all is done; `-` is standard output")
    parser.add_argument(
        "--from",
        dest="source",
        metavar="FORMAT",
        choices=WORDS,
        help="what IN is (default: by its name): fstrm, jsonl, pcap or parquet",
    )
    parser.add_argument(
        "--to",
        dest="target",
        metavar="FORMAT",
        choices=WORDS,
        help="what OUT shall be (default: by its name): likewise, with .gz or .zst behind it if it is to be compressed",
    )
    common.add_order(parser)
    common.add_jobs(parser)
    common.add_max_frame(parser)
    common.add_filters(parser)
    common.add_masks(parser)


def run(options: argparse.Namespace) -> int:
    """1 if a file could not be read whole, or had damage, or a message does not fit into the format."""
    _refuse_same(options.files, options.output)
    kind = plain(options.target) if options.target else output_format(options.output)
    encoder, choose = encoder_for(kind), choice_from(options)
    progress = Progress(options.files)
    inputs = Inputs(
        options.files, plain(options.source or "") or None, options.max_frame, options.concat, progress.tell
    )
    jobs = options.jobs if kind == JSONL else 1  # what other formats take is done by whoever reads
    output = _opened(options.output, compression(options.target or "") or compression(options.output))
    try:
        output.write(encoder.begin())
        for octets in _encoded(inputs.batches(), encoder, choose, jobs):
            output.write(octets)
            progress.show(inputs.position)
        if inputs.has_failed:
            raise Failure(f"{options.output} is not written")
        output.write(encoder.end())
    except BaseException:
        output.abandon()
        raise
    finally:
        progress.end()
    output.finish()
    if encoder.passed_over:
        tell(f"{options.output}: {encoder.passed_over} messages are longer than a UDP datagram can be")
    return DONE if inputs.is_whole and not encoder.passed_over else DAMAGED


def _refuse_same(inputs: list[str], output: str) -> None:
    for path in inputs:
        if path != STANDARD and _is_same(path, output):
            raise WrongUsage(f"{path} is both IN and OUT; expected another OUT")


def _is_same(one: str, other: str) -> bool:
    try:
        return Path(one).samefile(other)
    except OSError:  # one of them is not there
        return Path(one).resolve() == Path(other).resolve()


def _opened(path: str, packed: str | None) -> Output:
    compressor = compressor_for(packed)  # first, as it may not be there
    output = open_output(path)
    return output if compressor is None else Compressing(output, compressor)


def _encoded(batches: Iterable[list[TapFrame]], encoder: Encoder, choose: Choice, jobs: int) -> Iterator[bytes]:
    """What the frames become, by several processes if there shall be."""
    if jobs == 1:
        yield from (encoder.encode(choose(batch)) for batch in batches)
        return
    from dnsproxy.tap.pool import worked

    streams = (b"".join([data_frame(frame.payload) for frame in batch]) for batch in batches)
    yield from worked(streams, lambda stream: encoder.encode(choose(_frames(stream))), jobs)


def _frames(stream: bytes) -> list[TapFrame]:
    return [TapFrame(item) for item in Deframer(len(stream)).receive_data(stream) if isinstance(item, bytes)]
