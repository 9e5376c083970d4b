"""Parquet files with the keys of `--json` for columns, times as such; written and read by pyarrow."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from dnsproxy.tap.arrow import Tables, require
from dnsproxy.tap.damage import CONTENT_TYPE, UNDECODABLE
from dnsproxy.tap.files import TapFile
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.json_frames import frame_of
from dnsproxy.tap.octets import STANDARD_INPUT, NotWhole, Octets
from dnsproxy.tap.report.summary import time_text

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP: Final = 20_000  # rows, about 20 MiB of memory; what a reader has to take at once
BATCH: Final = 1000  # rows read at once
LAST_NS: Final = 2**63 - 1
TIMES: Final[dict[str, Callable[[TapFrame], int | None]]] = {
    "time": lambda frame: frame.time_ns,
    "query_time": lambda frame: frame.query_time_ns,
    "response_time": lambda frame: frame.response_time_ns,
}
MAGIC: Final = b"PAR1"
WHAT: Final = "Parquet"


class ParquetEncoder:
    """An Encoder; octets come a row group at a time."""

    passed_over = 0

    def __init__(self) -> None:
        require(WHAT, "pyarrow")
        from pyarrow import parquet

        self._tables = Tables(frames=True)
        self._sink = _Sink()
        schema = _with_times(self._tables.schema.empty_table(), []).schema
        self._writer = parquet.ParquetWriter(self._sink, schema, compression="zstd")
        self._waiting: list[pa.Table] = []
        self._rows = 0

    def begin(self) -> bytes:
        """The first octets."""
        return self._sink.taken()

    def encode(self, frames: Iterable[TapFrame]) -> bytes:
        """Row groups that are complete."""
        frames = list(frames)
        if frames:
            self._waiting.append(_with_times(self._tables.of(frames), frames))
            self._rows += len(frames)
        if self._rows >= ROW_GROUP:
            self._write()
        return self._sink.taken()

    def end(self) -> bytes:
        """What is left, and the file's footer."""
        self._write()
        self._writer.close()
        return self._sink.taken()

    def _write(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._writer.write_table(pa.concat_tables(self._waiting).combine_chunks())
        self._waiting, self._rows = [], 0


def _with_times(table: pa.Table, frames: list[TapFrame]) -> pa.Table:
    """Times instead of their texts; null for those that 64 bits of nanoseconds do not hold, after 2262."""
    import pyarrow as pa

    for name, read in TIMES.items():
        numbers = [None if (time_ns := read(frame)) is None or time_ns > LAST_NS else time_ns for frame in frames]
        times = pa.array(numbers, pa.int64()).cast(pa.timestamp("ns", "UTC"))
        table = table.set_column(table.schema.get_field_index(name), name, times)
    return table


class _Sink:
    """A file that only keeps what was written until somebody takes it."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def write(self, octets: Any) -> int:
        piece = bytes(octets)
        self._pieces.append(piece)
        self._size += len(piece)
        return len(piece)

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is held."""


class ParquetFile(TapFile):
    """A Parquet file with these columns, or some of them."""

    def __init__(self, path: str, max_frame: int, tell: Callable[[str], None]) -> None:
        require(WHAT, "pyarrow")
        super().__init__(path, max_frame, tell)
        self._position = 0

    @property
    def position(self) -> int:
        """As TapFile's."""
        return self._position

    def batches(self) -> Iterator[list[TapFrame]]:
        """As TapFile's."""
        import pyarrow as pa
        from pyarrow import parquet

        try:
            with _seekable(self.path) as file:
                rows = parquet.ParquetFile(file)
                for number, batch in enumerate(rows.iter_batches(BATCH)):
                    yield self._frames(batch, number * BATCH)
                    self._position = file.tell()
        except (pa.ArrowException, NotWhole) as exc:
            self.damages.report(CONTENT_TYPE, 0, str(exc).splitlines()[0])
        finally:
            self.damages.end()

    def _frames(self, batch: pa.RecordBatch, first: int) -> list[TapFrame]:
        frames = []
        for number, values in enumerate(_values(batch)):
            try:
                frames.append(frame_of(values))
            except ValueError as exc:
                self.damages.report(UNDECODABLE, first + number, f"row {first + number + 1}: {exc}")
        self.damages.frames += len(frames)
        return frames


def _values(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    """Rows with times as text, as JSON has them."""
    import pyarrow as pa

    if "frame" in batch.schema.names and batch.column("frame").null_count == 0:
        return [{"frame": frame} for frame in batch.column("frame").to_pylist()]
    for name in TIMES:
        number = batch.schema.get_field_index(name)
        if number >= 0 and pa.types.is_timestamp(batch.schema.field(number).type):
            numbers = batch.column(number).cast(pa.timestamp("ns")).cast(pa.int64()).to_pylist()
            texts = pa.array([None if each is None else time_text(each) for each in numbers], pa.string())
            batch = batch.set_column(number, name, texts)
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows


def _seekable(path: str) -> BinaryIO:
    """A file that can be read from its end, as Parquet is; standard input and what is compressed becomes one."""
    if path != STANDARD_INPUT:
        file = Path(path).open("rb")  # noqa: SIM115  whoever calls closes it
        if file.read(len(MAGIC)) == MAGIC:
            file.seek(0)
            return file
        file.close()
    plain = tempfile.TemporaryFile()  # noqa: SIM115  whoever calls closes it
    octets = Octets(path)
    try:
        for chunk in octets.chunks():
            plain.write(chunk)
    except BaseException:
        plain.close()
        raise
    finally:
        octets.close()
    plain.seek(0)
    return plain
