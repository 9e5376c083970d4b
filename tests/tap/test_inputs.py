"""Files of other formats, with their damage."""

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dnsproxy.tap.damage import Damages
from dnsproxy.tap.forms.json_lines import JsonLines
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.inputs import Inputs, JsonDecoder
from tests.tap.frames import payload, stream
from tests.tap.test_pcap_reading import PACKET, capture

PAYLOADS = [payload("CLIENT_QUERY"), payload("CLIENT_RESPONSE"), payload("FORWARDER_QUERY")]
LINES = "".join(JsonLines(frame=True).write(TapFrame(each)) for each in PAYLOADS).encode()


def read(path: Path, **options: object) -> tuple[list[bytes], list[str], bool]:
    """Payloads, what was told, and whether all was well."""
    told: list[str] = []
    inputs = Inputs([str(path)], tell=told.append, **options)  # type: ignore[arg-type]
    found = [frame.payload for batch in inputs.batches() for frame in batch]
    return found, [line.removeprefix(f"{path}: ") for line in told], inputs.is_whole


def written(folder: Path, name: str, octets: bytes) -> Path:
    path = folder / name
    path.write_bytes(octets)
    return path


@pytest.mark.parametrize("name", ["dns.jsonl", "dns.jsonl.gz"])
def test_json_lines_are_frames(tmp_path: Path, name: str) -> None:
    path = written(tmp_path, name, gzip.compress(LINES) if name.endswith(".gz") else LINES)
    assert read(path) == (PAYLOADS, [], True)


def test_the_last_line_may_lack_its_end_and_empty_ones_do_not_count(tmp_path: Path) -> None:
    path = written(tmp_path, "dns.jsonl", b"\n \n" + LINES.rstrip(b"\n"))
    assert read(path) == (PAYLOADS, [], True)


def test_a_line_that_is_no_frame_is_passed_over_and_told(tmp_path: Path) -> None:
    path = written(tmp_path, "dns.jsonl", b"no\n" + LINES + b'{"type":"X"}\n' + LINES)
    found, told, is_whole = read(path)
    assert (found, is_whole) == (PAYLOADS * 2, False)
    assert told[0].startswith("offset 0: undecodable: ")
    assert told[1].startswith(f"offset {3 + len(LINES)}: undecodable: ")
    assert told[2] == "6 frames, 2 damaged (undecodable 2)"


def test_a_last_line_that_is_cut_is_told(tmp_path: Path) -> None:
    found, told, _ = read(written(tmp_path, "dns.jsonl", LINES[:-20]))
    assert found == PAYLOADS[:2]
    assert ": truncated: " in told[0]


def test_a_line_that_is_too_long_is_passed_over_in_bounded_memory() -> None:
    told: list[str] = []
    damages, decoder = Damages("x", told.append), JsonDecoder(max_frame=1000)
    for _ in range(100):
        assert decoder.receive_data(b"[" * 1000, damages) == []
    assert sum(map(len, decoder._pieces)) <= 8000
    assert len(decoder.receive_data(b"\n" + LINES, damages)) == 3
    assert decoder.end(damages) == []
    assert told == ["x: offset 0: oversize: a line of more than 8000 octets"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 40), min_size=1))
def test_pieces_of_any_size_are_the_same_lines(sizes: list[int]) -> None:
    told: list[str] = []
    damages, decoder, at = Damages("x", told.append), JsonDecoder(max_frame=1 << 20), 0
    found = []
    octets = LINES + b"wrong\n" + LINES
    for size in sizes * len(octets):
        if at >= len(octets):
            break
        found += decoder.receive_data(octets[at : at + size], damages)
        at += size
    assert [frame.payload for frame in found + decoder.end(damages)] == PAYLOADS * 2
    assert told[0].startswith(f"x: offset {len(LINES)}: ")


def test_a_capture_is_frames_and_what_is_no_dns_is_told(tmp_path: Path) -> None:
    found, told, is_whole = read(written(tmp_path, "dns.pcap", capture(PACKET, b"", PACKET)))
    assert [TapFrame(each).type_name for each in found] == ["CLIENT_QUERY"] * 2
    assert told == ["packets that are no DNS over UDP: 1"]
    assert is_whole


@pytest.mark.parametrize(
    ("octets", "kind"),
    [
        (b"", "truncated"),
        (capture(PACKET)[:-1], "truncated"),
        (b"x" * 100, "content_type"),
        (gzip.compress(capture(PACKET))[:-9], "truncated"),
    ],
)
def test_a_capture_that_is_none_or_cut_is_told(tmp_path: Path, octets: bytes, kind: str) -> None:
    _, told, is_whole = read(written(tmp_path, "dns.pcap", octets))
    assert f": {kind}: " in told[0]
    assert not is_whole


def test_the_format_can_be_said_instead_of_told_from_the_name(tmp_path: Path) -> None:
    path = written(tmp_path, "dns.log", LINES)
    assert read(path, kind="jsonl")[0] == PAYLOADS


def test_frame_streams_are_read_as_ever_and_formats_are_merged_by_time(tmp_path: Path) -> None:
    early = payload("CLIENT_QUERY", query_time=(1, 0))
    paths = [written(tmp_path, "dns.jsonl", LINES), written(tmp_path, "dns.fstrm", stream(early))]
    inputs = Inputs([str(path) for path in paths])
    assert next(inputs.batches())[0].payload == early


def test_a_file_that_is_not_there_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    told: list[str] = []
    there, gone = written(tmp_path, "dns.jsonl", LINES), tmp_path / "gone.jsonl"
    inputs = Inputs([str(gone), str(there)], concat=True, tell=told.append)
    assert [len(batch) for batch in inputs.batches()] == [3]
    assert told == [f"{gone}: No such file or directory"]
    assert not inputs.is_whole
