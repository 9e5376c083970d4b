"""`convert`: every format into every other one, and repair."""

import gzip
import os
import signal
import sys
from itertools import product
from pathlib import Path

import pytest
import zstandard

from dnsproxy.tap.frame import TapFrame
from tests.tap.commands.in_process import Captured, run
from tests.tap.frames import MAIN, corpus_payloads, payload, payloads_in, stream, tap, write_stream
from tests.tap.running import Running, wait_until

PAYLOADS = corpus_payloads()
WHOLE = stream(*PAYLOADS)
LOSSLESS = ["fstrm", "jsonl", "parquet", "jsonl.gz", "fstrm.zst"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_stream(tmp_path / "in.fstrm", PAYLOADS)


@pytest.mark.parametrize(("one", "other"), list(product(LOSSLESS, LOSSLESS)))
def test_frames_come_back_octet_for_octet(one: str, other: str, source: Path, capfd: Captured) -> None:
    there, on, back = (source.with_name(name) for name in (f"a.{one}", f"b.{other}", "back.fstrm"))
    for path, target in ((source, there), (there, on), (on, back)):
        done = run(capfd, "convert", path, target)
        assert (done.status, done.out, done.err) == (0, "", "")
    assert back.read_bytes() == WHOLE


def test_a_capture_comes_back_as_messages_of_clients(tmp_path: Path, capfd: Captured) -> None:
    assert run(capfd, "convert", MAIN, tmp_path / "a.pcap").status == 0
    assert run(capfd, "convert", tmp_path / "a.pcap", tmp_path / "b.fstrm").status == 0
    before, after = (
        [TapFrame(each) for each in payloads_in(path.read_bytes())] for path in (MAIN, tmp_path / "b.fstrm")
    )
    assert [frame.wire for frame in after] == [frame.wire for frame in before]
    assert {frame.type_name for frame in after} == {"CLIENT_QUERY", "CLIENT_RESPONSE"}


def test_json_lines_have_the_keys_and_the_frame(source: Path, capfd: Captured) -> None:
    assert (
        run(capfd, "convert", source, "-", "--to", "jsonl").out
        == run(capfd, "read", source, "--json", "--frame", "--concat").out
    )


def test_json_without_the_frame_comes_from_the_other_keys(source: Path, capfd: Captured) -> None:
    plain = run(capfd, "read", source, "--json").out
    (source.with_name("a.jsonl")).write_text(plain)
    assert run(capfd, "convert", source.with_name("a.jsonl"), source.with_name("b.fstrm")).status == 0
    assert run(capfd, "read", source.with_name("b.fstrm"), "--json").out == plain


def test_repair_keeps_all_good_frames_and_adds_a_stop(tmp_path: Path, capfd: Captured) -> None:
    bad, good = tmp_path / "bad.fstrm", tmp_path / "good.fstrm"
    octets = stream(PAYLOADS[0], b"\xff\xff", *PAYLOADS[1:], stop=False)
    bad.write_bytes(octets[:-7])
    done = run(capfd, "convert", bad, good)
    assert done.status == 1
    assert done.err.splitlines()[-1] == f"{bad}: {len(PAYLOADS) - 1} frames, 2 damaged (truncated 1, undecodable 1)"
    assert good.read_bytes() == stream(*PAYLOADS[:-1])
    assert run(capfd, "convert", good, tmp_path / "again.fstrm").status == 0


def test_several_are_merged_by_time_or_joined(tmp_path: Path, capfd: Captured) -> None:
    early, late = (payload(query_time=(second, 0)) for second in (10, 20))
    paths = [write_stream(tmp_path / "late.fstrm", [late]), write_stream(tmp_path / "early.fstrm", [early])]
    target = tmp_path / "out.fstrm"
    assert run(capfd, "convert", *paths, target).status == 0
    assert payloads_in(target.read_bytes()) == [early, late]
    assert run(capfd, "convert", "--concat", *paths, target).status == 0
    assert payloads_in(target.read_bytes()) == [late, early]


def test_filters_and_masks_apply(source: Path, capfd: Captured) -> None:
    target = source.with_name("out.fstrm")
    assert run(capfd, "convert", source, target, "--types", "CR", "--mask", "24/56").status == 0
    frames = [TapFrame(each) for each in payloads_in(target.read_bytes())]
    assert {frame.type_name for frame in frames} == {"CLIENT_RESPONSE"}
    assert {frame.query_address_text for frame in frames} == {"198.51.100.0"}


@pytest.mark.parametrize("jobs", ["1", "2", "5"])
def test_any_number_of_processes_makes_the_same(jobs: str, source: Path, capfd: Captured) -> None:
    target = source.with_name("out.jsonl")
    assert run(capfd, "convert", source, target, "--jobs", jobs).status == 0
    assert target.read_text() == run(capfd, "convert", source, "-", "--to", "jsonl").out


def test_what_is_compressed_is_what_the_name_says(source: Path, capfd: Captured) -> None:
    for name in ("out.fstrm.gz", "out.fstrm.zst"):
        assert run(capfd, "convert", source, source.with_name(name)).status == 0
    assert gzip.decompress(source.with_name("out.fstrm.gz").read_bytes()) == WHOLE
    octets = source.with_name("out.fstrm.zst").read_bytes()
    assert zstandard.ZstdDecompressor().decompressobj().decompress(octets) == WHOLE


def test_a_name_that_says_nothing_takes_a_format_that_may_say_how_to_compress() -> None:
    lines = tap("convert", "-", "-", "--to", "jsonl.gz", stdin=WHOLE).stdout
    assert gzip.decompress(lines).count(b"\n") == len(PAYLOADS)
    assert tap("convert", "-", "--from", "jsonl.gz", "-", "--to", "fstrm", stdin=lines).stdout == WHOLE


@pytest.mark.parametrize("kind", ["same", "link", "hard link", "other name", "not there"])
def test_in_that_is_out_is_refused_and_left_alone(kind: str, source: Path, capfd: Captured) -> None:
    target = source.with_name("link.fstrm")
    if kind == "link":
        target.symlink_to(source)
    elif kind == "hard link":
        target.hardlink_to(source)
    elif kind == "other name":
        target = source.parent / "." / ".." / source.parent.name / source.name
    elif kind == "same":
        target = source
    one = source.with_name("gone.fstrm") if kind == "not there" else source
    done = run(capfd, "convert", MAIN, one, one if kind == "not there" else target)
    assert done.status == 2
    assert "is both IN and OUT" in done.err
    assert source.read_bytes() == WHOLE


def test_a_file_that_is_there_stays_when_an_input_cannot_be_read(source: Path, capfd: Captured) -> None:
    target = write_stream(source.with_name("out.fstrm"), [])
    before = target.read_bytes()
    done = run(capfd, "convert", source, source.with_name("gone.fstrm"), target)
    assert done.status == 1
    assert "gone.fstrm: No such file or directory" in done.err
    assert target.read_bytes() == before
    assert sorted(path.name for path in source.parent.iterdir()) == ["in.fstrm", "out.fstrm"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["x.fstrm"], "OUT"),
        (["x.fstrm", "y.log"], "expected --to"),
        (["x.fstrm", "-"], "expected --to"),
        (["x.fstrm", "y.fstrm", "--to", "csv"], "csv"),
        (["x.fstrm", "y.fstrm", "--types", "nonsense"], "--types"),
        (["x.fstrm", "y.fstrm", "--jobs", "0"], "--jobs"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], text: str, capfd: Captured) -> None:
    done = run(capfd, "convert", *arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert text in done.err


def test_what_is_not_installed_is_named_with_what_installs_it(
    source: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "pyarrow" else name)
    done = run(capfd, "convert", source, source.with_name("a.parquet"))
    assert done.status == 2
    assert "pip install" in done.err
    assert "pyarrow" in done.err
    assert not source.with_name("a.parquet").exists()


def test_a_message_too_long_for_a_datagram_is_told(tmp_path: Path, capfd: Captured) -> None:
    source = write_stream(tmp_path / "in.fstrm", [payload("CLIENT_QUERY", bytes(65_530)), PAYLOADS[0]])
    done = run(capfd, "convert", source, tmp_path / "out.pcap")
    assert done.status == 1
    assert done.err == f"{tmp_path / 'out.pcap'}: 1 messages are longer than a UDP datagram can be\n"


def test_from_standard_input_to_standard_output() -> None:
    lines = tap("convert", "-", "-", "--to", "jsonl", stdin=WHOLE).stdout
    assert tap("convert", "-", "--from", "jsonl", "-", "--to", "fstrm", stdin=lines).stdout == WHOLE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_and_what_was_there_stays(number: signal.Signals, tmp_path: Path) -> None:
    pipe, target = tmp_path / "in.fstrm", write_stream(tmp_path / "out.fstrm", PAYLOADS)
    os.mkfifo(pipe)
    with Running("convert", pipe, target, is_ready=False) as command, pipe.open("wb") as file:
        file.write(WHOLE)
        file.flush()
        wait_until(lambda: len(list(tmp_path.iterdir())) == 3, "the temporary file")
        assert command.end(number) == 128 + number
        assert command.errors == ""
    assert target.read_bytes() == WHOLE
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")
def test_a_full_disk_is_a_failure_of_one_line(source: Path, capfd: Captured) -> None:
    done = run(capfd, "convert", source, "/dev/full", "--to", "jsonl")
    assert (done.status, done.err) == (1, "dnsproxy tap convert: No space left on device\n")
