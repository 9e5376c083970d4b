"""Parquet: there and back, and as others see it."""

import gzip
import io
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import compute, parquet

from dnsproxy.tap import parquet as our_parquet
from dnsproxy.tap.forms.json_lines import KEYS, values_of
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.inputs import Inputs
from dnsproxy.tap.parquet import ParquetEncoder
from tests.tap.frames import corpus_payloads, payload

PAYLOADS = corpus_payloads()
FRAMES = [TapFrame(each) for each in PAYLOADS]


def encoded(frames: list[TapFrame], pieces: int = 1) -> bytes:
    encoder = ParquetEncoder()
    octets = encoder.begin()
    for start in range(pieces):
        octets += encoder.encode(frames[start::pieces])
    return octets + encoder.end()


def table(octets: bytes) -> pa.Table:
    return parquet.read_table(io.BytesIO(octets))


def read(path: Path) -> tuple[list[bytes], list[str]]:
    told: list[str] = []
    inputs = Inputs([str(path)], tell=told.append)
    return [frame.payload for batch in inputs.batches() for frame in batch], told


def test_columns_are_the_keys_of_json_and_the_frame() -> None:
    found = table(encoded(FRAMES))
    assert found.column_names == [*KEYS, "frame"]
    assert found.num_rows == len(FRAMES)


def test_values_are_those_of_json_but_times_are_times() -> None:
    row = table(encoded([TapFrame(payload("CLIENT_RESPONSE"))])).slice(0, 1)
    assert row.schema.field("time").type == pa.timestamp("ns", "UTC")
    assert compute.cast(row["time"], pa.int64()).to_pylist() == [1_700_000_000_125_000_000]
    plain = row.drop_columns(["time", "query_time", "response_time", "frame"])
    expected = values_of(TapFrame(payload("CLIENT_RESPONSE")))
    assert plain.to_pylist()[0] == {key: expected[key] for key in plain.column_names}


def test_a_time_that_is_too_far_away_is_null_and_comes_back_with_the_frame(tmp_path: Path) -> None:
    frame = TapFrame(payload("CLIENT_QUERY", query_time=(2**40, 1)))
    octets = encoded([frame])
    assert table(octets)["time"].to_pylist() == [None]
    (tmp_path / "dns.parquet").write_bytes(octets)
    assert read(tmp_path / "dns.parquet") == ([frame.payload], [])


@pytest.mark.parametrize("name", ["dns.parquet", "dns.parquet.gz"])
def test_frames_come_back_octet_for_octet(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    octets = encoded(FRAMES)
    path.write_bytes(gzip.compress(octets) if name.endswith("gz") else octets)
    assert read(path) == (PAYLOADS, [])


def test_without_the_frame_they_come_back_from_the_other_columns(tmp_path: Path) -> None:
    path = tmp_path / "dns.parquet"
    parquet.write_table(table(encoded(FRAMES)).drop_columns(["frame"]), path)
    found, told = read(path)
    assert [values_of(TapFrame(each)) for each in found] == [values_of(frame) for frame in FRAMES]
    assert told == []


def test_a_row_that_is_no_frame_is_passed_over_and_told(tmp_path: Path) -> None:
    path = tmp_path / "dns.parquet"
    rows = pa.table({"type": ["CLIENT_QUERY", "NOTHING", "CLIENT_QUERY"], "query_port": [1, 2, 3]})
    parquet.write_table(rows, path)
    found, told = read(path)
    assert [TapFrame(each).query_port for each in found] == [1, 3]
    assert "undecodable: row 2" in told[0]


@pytest.mark.parametrize("octets", [b"", b"PAR1", b"no parquet at all", b"\x1f\x8b\x08broken"])
def test_what_is_no_parquet_is_told(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "dns.parquet"
    path.write_bytes(octets)
    found, told = read(path)
    assert found == []
    assert f"{path}: offset 0: content_type: " in told[0]


def test_a_long_file_is_written_in_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(our_parquet, "ROW_GROUP", 4)
    octets = encoded(FRAMES, pieces=4)
    assert parquet.ParquetFile(io.BytesIO(octets)).num_row_groups > 1
    assert table(octets).num_rows == len(FRAMES)


def test_a_file_without_frames_is_a_parquet_file_too(tmp_path: Path) -> None:
    path = tmp_path / "dns.parquet"
    path.write_bytes(encoded([]))
    assert read(path) == ([], [])
