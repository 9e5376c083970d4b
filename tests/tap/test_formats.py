"""Which format a name stands for, and what frames become in each."""

import json

import pytest

from dnsproxy.tap.errors import WrongUsage
from dnsproxy.tap.formats import compression, encoder_for, input_format, output_format
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.pcap import FILE_HEADER
from tests.tap.frames import payload, stream

FRAMES = [TapFrame(payload("CLIENT_QUERY")), TapFrame(payload("CLIENT_RESPONSE"))]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dns.fstrm", "fstrm"),
        ("dns.fstrm.part", "fstrm"),
        ("dns.jsonl", "jsonl"),
        ("dns.ndjson.gz", "jsonl"),
        ("DNS.JSON", "jsonl"),
        ("dns.pcap.zst", "pcap"),
        ("/var/log/dns.parquet", "parquet"),
    ],
)
def test_a_names_ending_says_what_it_is_compressed_or_not(name: str, expected: str) -> None:
    assert input_format(name) == output_format(name) == expected


def test_a_name_that_says_nothing_is_read_as_frame_streams_and_not_written() -> None:
    assert input_format("dnstap.log") == input_format("-") == "fstrm"
    with pytest.raises(WrongUsage, match="--to"):
        output_format("dnstap.log")


def test_compression_is_the_last_ending() -> None:
    assert [compression(name) for name in ("a.fstrm", "a.fstrm.gz", "a.zst")] == [None, ".gz", ".zst"]


def encoded(kind: str) -> bytes:
    encoder = encoder_for(kind)
    return encoder.begin() + encoder.encode(FRAMES[:1]) + encoder.encode(FRAMES[1:]) + encoder.end()


def test_frame_streams_are_a_whole_stream() -> None:
    assert encoded("fstrm") == stream(*(frame.payload for frame in FRAMES))


def test_json_lines_have_the_whole_frame() -> None:
    values = [json.loads(line) for line in encoded("jsonl").splitlines()]
    assert [each["type"] for each in values] == ["CLIENT_QUERY", "CLIENT_RESPONSE"]
    assert all(each["frame"] for each in values)


def test_a_capture_leaves_out_what_no_datagram_can_hold_and_counts_it() -> None:
    encoder = encoder_for("pcap")
    long, none = TapFrame(payload("CLIENT_QUERY", bytes(65_535))), TapFrame(payload("CLIENT_QUERY", None))
    assert encoder.begin() == FILE_HEADER
    assert encoder.encode([long, none]) == b""
    assert encoder.passed_over == 1
    assert encoder.end() == b""
