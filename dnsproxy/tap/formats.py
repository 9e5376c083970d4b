"""Formats of files: which one a name stands for, and what each becomes as octets."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import Final, Protocol

from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.dnstap.stream_file import PART, START, STOP
from dnsproxy.tap.errors import WrongUsage
from dnsproxy.tap.forms.json_lines import JsonLines
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.pcap import FILE_HEADER, TooLong, record_of

FSTRM, JSONL, PCAP, PARQUET = "fstrm", "jsonl", "pcap", "parquet"
FORMATS: Final = (FSTRM, JSONL, PCAP, PARQUET)
GZIP, ZSTD = ".gz", ".zst"
WORDS: Final = tuple(kind + packed for packed in ("", GZIP, ZSTD) for kind in FORMATS)  # on a command line
STANDARD: Final = "-"  # input or output
_BY_ENDING: Final = {
    ".fstrm": FSTRM,
    ".tap": FSTRM,
    ".dnstap": FSTRM,
    ".jsonl": JSONL,
    ".ndjson": JSONL,
    ".json": JSONL,
    ".pcap": PCAP,
    ".cap": PCAP,
    ".parquet": PARQUET,
}


def input_format(path: str) -> str:
    """By the name's ending; Frame Streams where it says nothing, as many producers' files have any name."""
    return _BY_ENDING.get(_ending(path), FSTRM)


def output_format(path: str) -> str:
    """By the name's ending; WrongUsage where it says nothing."""
    found = _BY_ENDING.get(_ending(path))
    if found is None:
        raise WrongUsage(f"{path} does not say what to write; expected --to {', '.join(FORMATS)}")
    return found


def plain(word: str) -> str:
    """The format that one of WORDS says."""
    return word.removesuffix(GZIP).removesuffix(ZSTD)


def compression(path: str) -> str | None:
    """GZIP or ZSTD if the name ends so."""
    suffix = PurePath(path).suffix
    return suffix if suffix in {GZIP, ZSTD} else None


def _ending(path: str) -> str:
    name = PurePath(path.removesuffix(GZIP).removesuffix(ZSTD).removesuffix(PART))
    return name.suffix.lower()


class Encoder(Protocol):
    """Frames in, octets of a file out; `passed_over` counts frames that the format cannot hold."""

    passed_over: int

    def begin(self) -> bytes:
        """What stands before the first frame."""

    def encode(self, frames: Iterable[TapFrame]) -> bytes:
        """What some frames become, or as much of it as is complete."""

    def end(self) -> bytes:
        """What stands behind the last frame."""


def encoder_for(kind: str) -> Encoder:
    """What writes a format; MissingModule where it takes what is not installed."""
    if kind == PARQUET:
        from dnsproxy.tap.parquet import ParquetEncoder

        return ParquetEncoder()
    if kind == JSONL:
        return JsonEncoder()
    return PcapEncoder() if kind == PCAP else FstrmEncoder()


class FstrmEncoder:
    """Frame Streams: the frames octet for octet."""

    passed_over = 0

    def begin(self) -> bytes:
        """START."""
        return START

    def encode(self, frames: Iterable[TapFrame]) -> bytes:
        """Data frames."""
        return b"".join([data_frame(frame.payload) for frame in frames])

    def end(self) -> bytes:
        """STOP."""
        return STOP


class JsonEncoder:
    """Lines as `--json --frame` prints them."""

    passed_over = 0

    def __init__(self) -> None:
        self._write = JsonLines(wire=True, frame=True).write

    def begin(self) -> bytes:
        """Nothing."""
        return b""

    def encode(self, frames: Iterable[TapFrame]) -> bytes:
        """A line for each."""
        return "".join([self._write(frame) for frame in frames]).encode()

    def end(self) -> bytes:
        """Nothing."""
        return b""


class PcapEncoder:
    """A packet capture; frames without a message are left out, and those whose message no datagram can hold."""

    def __init__(self) -> None:
        self.passed_over = 0  # messages too long

    def begin(self) -> bytes:
        """The file's header."""
        return FILE_HEADER

    def encode(self, frames: Iterable[TapFrame]) -> bytes:
        """A packet for each."""
        records = []
        for frame in frames:
            try:
                records.append(record_of(frame))
            except TooLong:
                self.passed_over += 1
        return b"".join(records)

    def end(self) -> bytes:
        """Nothing."""
        return b""
