"""Files of other formats, read as files of frames are: good frames out, damage told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from dnsproxy.dnstap.framestreams import MAX_FRAME
from dnsproxy.tap.damage import CONTENT_TYPE, OVERSIZE, TRUNCATED, UNDECODABLE, Damages, tell
from dnsproxy.tap.files import TapFile
from dnsproxy.tap.formats import FSTRM, JSONL, PARQUET, input_format
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.json_frames import frame_of_line
from dnsproxy.tap.octets import NotWhole, Octets
from dnsproxy.tap.pcap_reading import CaptureReader
from dnsproxy.tap.reading import Reading

LINE_FACTOR: Final = 8  # a line is longer than its frame: base64 twice, names and records as text


class Inputs(Reading):
    """Files of any format, which is `kind` or what their names say; MissingModule where that is not installed."""

    def __init__(
        self,
        paths: Sequence[str],
        kind: str | None = None,
        max_frame: int = MAX_FRAME,
        concat: bool = False,
        tell: Callable[[str], None] = tell,
    ) -> None:
        super().__init__([], max_frame, concat, tell)
        self.files = [_opened(path, kind or input_format(path), max_frame, tell) for path in paths]


def _opened(path: str, kind: str, max_frame: int, tell: Callable[[str], None]) -> TapFile:
    if kind == FSTRM:
        return TapFile(path, max_frame, tell)
    if kind == PARQUET:
        from dnsproxy.tap.parquet import ParquetFile

        return ParquetFile(path, max_frame, tell)
    decoder = JsonDecoder(max_frame) if kind == JSONL else PcapDecoder(tell)
    return DecodedFile(path, decoder, max_frame, tell)


class Decoder(Protocol):
    """Octets in, frames out; `is_over` once nothing more can be read."""

    is_over: bool

    def receive_data(self, data: bytes, damages: Damages) -> list[TapFrame]:
        """Frames that became whole."""

    def end(self, damages: Damages) -> list[TapFrame]:
        """No more octets will come."""


class DecodedFile(TapFile):
    """A file whose octets a decoder understands."""

    def __init__(self, path: str, decoder: Decoder, max_frame: int, tell: Callable[[str], None]) -> None:
        super().__init__(path, max_frame, tell)
        self._decoder = decoder

    def _read(self, octets: Octets) -> Iterator[list[TapFrame]]:
        for frames in self._decoded(octets):
            self.damages.frames += len(frames)
            if frames:
                yield frames

    def _decoded(self, octets: Octets) -> Iterator[list[TapFrame]]:
        decoder, received = self._decoder, 0
        try:
            for chunk in octets.chunks():
                received += len(chunk)
                yield decoder.receive_data(chunk, self.damages)
                if decoder.is_over:
                    return
        except NotWhole as exc:
            self.damages.report(TRUNCATED, received, str(exc))
            return
        yield decoder.end(self.damages)


class JsonDecoder:
    """Lines of `--json`; one that stands for no frame is passed over."""

    is_over = False

    def __init__(self, max_frame: int) -> None:
        self._longest = max_frame * LINE_FACTOR
        self._pieces: list[bytes] = []  # of a line that is not whole yet
        self._size = 0  # of it
        self._offset = 0  # where it begins

    def receive_data(self, data: bytes, damages: Damages) -> list[TapFrame]:
        """As Decoder says."""
        *whole, rest = data.split(b"\n")
        frames = []
        for line in whole:
            self._pieces.append(line)
            frames += self._line(damages, UNDECODABLE)
            self._offset += self._size + len(line) + 1
            self._pieces, self._size = [], 0
        self._size += len(rest)
        if self._size <= self._longest:
            self._pieces.append(rest)
        return frames

    def end(self, damages: Damages) -> list[TapFrame]:
        """As Decoder says; the last line may lack its end."""
        return self._line(damages, TRUNCATED)

    def _line(self, damages: Damages, kind: str) -> list[TapFrame]:
        if self._size > self._longest:
            damages.report(OVERSIZE, self._offset, f"a line of more than {self._longest} octets")
            return []
        line = b"".join(self._pieces)
        if not line.strip():
            return []
        try:
            return [frame_of_line(line)]
        except ValueError as exc:
            damages.report(kind, self._offset, str(exc))
            return []


class PcapDecoder:
    """A packet capture; packets that are no DNS over UDP are passed over, which is told in the end."""

    is_over = False

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._reader = CaptureReader()
        self._tell = tell

    def receive_data(self, data: bytes, damages: Damages) -> list[TapFrame]:
        """As Decoder says."""
        frames = [TapFrame(datagram.payload()) for datagram in self._reader.receive_data(data)]
        if self._reader.broken is not None:
            damages.report(CONTENT_TYPE, self._reader.offset, self._reader.broken)
            self.is_over = True
        return frames

    def end(self, damages: Damages) -> list[TapFrame]:
        """As Decoder says."""
        reader = self._reader
        if reader.is_inside_record:
            damages.report(TRUNCATED, reader.offset, "the end is inside a packet, or before the first one")
        if reader.passed_over:
            self._tell(f"{damages.stream}: packets that are no DNS over UDP: {reader.passed_over}")
        return []
