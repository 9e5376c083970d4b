"""`dnsproxy tap read`: what it prints where, and its exit statuses."""

import gzip
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import zstandard

from dnsproxy.tap import forms
from dnsproxy.tap.frame import TapFrame
from tests.tap.frames import (
    CORPUS,
    MAIN,
    SECOND,
    WITHIN_S,
    environment_with,
    payload,
    payloads_in,
    stream,
    tap,
    write_stream,
)
from tests.tap.options import parsed

MAIN_OCTETS = MAIN.read_bytes()


def printed(*options: str) -> bytes:
    """What a form makes of the recorded frames, in this process."""
    form = forms.chosen(parsed(*options, "--utc"))
    return "".join(form.write(TapFrame(octets)) for octets in payloads_in(MAIN_OCTETS)).encode()


QUIET = printed("-q")


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-q"],
        ["-y"],
        ["-j"],
        ["--bind"],
        ["-p"],
        ["-x"],
        ["--bind", "-y"],
        ["--json"],
        ["--json", "--no-wire", "--frame"],
        ["--querylog"],
        ["--format", "{name}"],
    ],
)
def test_every_form_is_printed(options: list[str]) -> None:
    done = tap("read", MAIN, *options)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == printed(*options)
    assert done.stdout


@pytest.mark.parametrize(
    ("name", "status", "frames", "error"),
    [
        ("main", 0, 6, []),
        ("nostop", 0, 2, []),
        ("edge-doq", 0, 3, []),
        ("edge-policy", 0, 3, []),
        ("empty", 1, 0, ["offset 0: start: no octets, and so no START", "0 frames, 1 damaged (start 1)"]),
        (
            "trunc",
            1,
            2,
            ["offset 378: truncated: the end is inside the frame at offset 364", "2 frames, 1 damaged (truncated 1)"],
        ),
    ],
)
def test_each_recorded_file_has_its_frames_and_status(name: str, status: int, frames: int, error: list[str]) -> None:
    path = CORPUS / f"{name}.fstrm"
    done = tap("read", "--json", path)
    assert done.returncode == status
    assert len(done.stdout.splitlines()) == frames
    assert done.stderr.decode().splitlines() == [f"{path}: {line}" for line in error]


def test_standard_input_and_compressed_files_are_read(tmp_path: Path) -> None:
    assert tap("read", "-q", "-", stdin=MAIN_OCTETS).stdout == QUIET
    assert tap("read", "-q", "-", stdin=gzip.compress(MAIN_OCTETS)).stdout == QUIET
    packed = tmp_path / "packed"
    packed.write_bytes(zstandard.compress(MAIN_OCTETS))
    assert tap("read", "-q", packed).stdout == QUIET


def test_files_are_merged_or_read_one_after_the_other(tmp_path: Path) -> None:
    one = write_stream(tmp_path / "one", [payload(query_time=(SECOND + n, 0), query_port=n) for n in (1, 3)])
    two = write_stream(tmp_path / "two", [payload(query_time=(SECOND + n, 0), query_port=n) for n in (2, 4)])
    assert tap("read", one, two, "--format", "{port}").stdout.split() == [b"1", b"2", b"3", b"4"]
    assert tap("read", one, two, "--format", "{port}", "--concat").stdout.split() == [b"1", b"3", b"2", b"4"]


@pytest.mark.parametrize("order", [[], ["--concat"]])
@pytest.mark.parametrize("options", [["--json"], ["--bind", "-y"], ["--count", "5", "-q"], ["--types", "CQ", "-q"]])
def test_several_jobs_print_the_same(order: list[str], options: list[str], tmp_path: Path) -> None:
    files = [
        write_stream(
            tmp_path / name, [payload(query_time=(SECOND + n, 0), query_port=n) for n in range(offset, 4000, 2)]
        )
        for offset, name in enumerate(["even", "odd"])
    ]
    alone, shared = (tap("read", *files, *order, *options, "--jobs", jobs) for jobs in ("1", "3"))
    assert shared.stdout == alone.stdout
    assert (shared.returncode, shared.stderr) == (0, b"")


def test_count_ends_the_output(tmp_path: Path) -> None:
    assert tap("read", "-q", "--count", "2", MAIN).stdout == b"".join(QUIET.splitlines(keepends=True)[:2])
    assert tap("read", "--querylog", "--count", "2", MAIN, MAIN).stdout.count(b"\n") == 2


def test_filters_and_masks_work_together() -> None:
    done = tap(
        "read", MAIN, "--json", "--types", "client", "--client", "198.51.100.7", "--mask", "8/8", "--strip", "messages"
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["type"] for line in lines] == ["CLIENT_QUERY", "CLIENT_RESPONSE", "CLIENT_QUERY"]
    assert {line["query_address"] for line in lines} == {"198.0.0.0"}
    assert {line["size"] for line in lines} == {0}


def test_a_file_gets_frames_octet_for_octet(tmp_path: Path) -> None:
    out = tmp_path / "out.fstrm"
    done = tap("read", CORPUS / "trunc.fstrm", "-w", out)
    assert (done.returncode, done.stdout) == (1, b"")
    assert out.read_bytes() == stream(*payloads_in(MAIN_OCTETS)[:2])
    assert tap("read", MAIN, "-w", "-", "--types", "FQ").stdout == stream(payloads_in(MAIN_OCTETS)[2])


def test_a_file_may_be_read_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.fstrm"
    path.write_bytes(MAIN_OCTETS)
    assert tap("read", path, "-w", path, "--types", "CR").returncode == 0
    assert path.read_bytes() == stream(payloads_in(MAIN_OCTETS)[1])


def test_text_is_written_or_appended(tmp_path: Path) -> None:
    out = tmp_path / "out.txt"
    out.write_bytes(b"old\n")
    assert tap("read", "-q", MAIN, "-w", out, "-a").returncode == 0
    assert out.read_bytes() == b"old\n" + QUIET
    assert tap("read", "-q", MAIN, "-w", out).returncode == 0
    assert out.read_bytes() == QUIET


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-q", "-j", "f"],
        ["-a", "f"],
        ["-a", "-w", "out", "f"],
        ["--types", "nonsense", "f"],
        ["--mask", "x", "f"],
        ["--since", "later", "f"],
        ["--nonsense", "f"],
        ["--count", "x", "f"],
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments: list[str], tmp_path: Path) -> None:
    done = tap("read", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"dnsproxy tap read: ")
    assert done.stderr.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_files_that_cannot_be_read_are_told_and_the_others_printed(tmp_path: Path) -> None:
    done = tap("read", "-q", "no/such", MAIN, tmp_path)
    assert (done.returncode, done.stdout) == (1, QUIET)
    assert done.stderr.decode().splitlines() == ["no/such: No such file or directory", f"{tmp_path}: Is a directory"]


def test_an_output_that_cannot_be_written_is_one_line_and_status_1(tmp_path: Path) -> None:
    done = tap("read", "-q", MAIN, "-w", tmp_path / "no" / "out")
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"No such file or directory" in done.stderr
    with Path("/dev/full").open("wb") as full:
        process = subprocess.run(
            [sys.executable, "-m", "dnsproxy", "tap", "read", "-q", str(MAIN)],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=WITHIN_S,
        )
    assert (process.returncode, process.stderr) == (1, b"dnsproxy tap read: No space left on device\n")


def test_a_reader_that_goes_away_ends_it_quietly(tmp_path: Path) -> None:
    path = write_stream(tmp_path / "many", [payload()] * 50_000)
    for jobs in ("1", "2"):
        process = started("read", "--json", str(path), "--jobs", jobs)
        assert process.stdout is not None
        assert process.stdout.read(1000)
        process.stdout.close()
        assert process.wait(WITHIN_S) == 0
        assert process.stderr is not None
        with process.stderr:
            assert process.stderr.read() == b""


def started(*arguments: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "dnsproxy", "tap", *arguments],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment_with({}),
    )


@pytest.mark.parametrize(
    "number",
    [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2],
    ids=lambda number: number.name,
)
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_signal_ends_it_and_leaves_the_file_as_it_was(number: signal.Signals, jobs: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_bytes(b"old")
    process = started("read", "-", "-w", str(out), "--jobs", jobs, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(MAIN_OCTETS)
    process.stdin.flush()
    wait_until_written(tmp_path)
    process.send_signal(number)
    _, error = process.communicate(timeout=WITHIN_S)
    assert (process.returncode, error) == (128 + number, b"")
    assert out.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [out]


def wait_until_written(folder: Path) -> None:
    """Until there is a new file beside the old one with something in it: the signal comes while it is at work."""
    deadline = time.monotonic() + WITHIN_S
    while not any(path.name.startswith(".") and path.stat().st_size for path in folder.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def on_terminal(arguments: list[str], environment: dict[str, str]) -> bytes:
    """What it prints on a terminal."""
    ours, theirs = pty.openpty()
    subprocess.run(
        [sys.executable, "-m", "dnsproxy", "tap", *arguments],
        stdout=theirs,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        timeout=WITHIN_S,
        env=environment_with({"TERM": "xterm", **environment}),
        check=True,
    )
    os.close(theirs)
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        return terminal.read(100_000)


@pytest.mark.parametrize(
    ("options", "environment", "colored"),
    [([], {}, True), ([], {"NO_COLOR": "1"}, False), (["--color", "never"], {}, False), (["-q"], {}, False)],
)
def test_a_terminal_has_colours(options: list[str], environment: dict[str, str], colored: bool) -> None:
    text = on_terminal(["read", str(MAIN), *options], environment)
    assert text
    assert (b"\x1b[" in text) is colored


def test_pipes_have_colours_only_when_asked() -> None:
    assert b"\x1b[" not in tap("read", MAIN).stdout
    assert b"\x1b[" in tap("read", MAIN, "--color", "always").stdout


@pytest.mark.parametrize(("zone", "hour"), [("UTC", b"22:13:20"), ("Asia/Kolkata", b"03:43:20")])
def test_times_are_local_unless_utc_is_asked_for(zone: str, hour: bytes) -> None:
    for form in ("-q", "--bind", "--querylog"):
        assert hour in tap("read", form, MAIN, environment={"TZ": zone}).stdout
        assert b"22:13:20" in tap("read", form, "--utc", MAIN, environment={"TZ": zone}).stdout


def test_frames_longer_than_allowed_are_passed_over() -> None:
    done = tap("read", "-q", "--max-frame", "180", MAIN)
    long = [octets for octets in payloads_in(MAIN_OCTETS) if len(octets) > 180]
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 6 - len(long)
    assert (
        done.stderr.decode().splitlines()[-1]
        == f"{MAIN}: {6 - len(long)} frames, {len(long)} damaged (oversize {len(long)})"
    )


def test_one_bad_frame_does_not_end_a_stream(tmp_path: Path) -> None:
    good = payload()
    path = write_stream(tmp_path / "bad", [good, b"junk", bytes.fromhex("7801"), good])
    done = tap("read", "-q", path)
    assert (done.returncode, len(done.stdout.splitlines())) == (1, 2)
    assert done.stderr.decode().splitlines()[-1] == f"{path}: 2 frames, 2 damaged (undecodable 2)"
