"""`record` writes what producers send, whatever ends it, and never over anything."""

import gzip
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dnsproxy.tap.frame import TapFrame
from tests.dnstap.tap_files import names, read, read_part
from tests.tap.crowd import HANDSHAKE, check_extras, crowd, damage
from tests.tap.frames import START, STOP, environment_with, payload, payloads_in, stream, tap
from tests.tap.running import WITHIN_S, Arguments, Running, Sender, send, wait_until

QUERY, RESPONSE = payload(), payload("CLIENT_RESPONSE")
NOTE = 'import os, sys; open(sys.argv[1], "a").write(os.environ["TAP_FRAMES"] + " " + sys.argv[2] + "\\n")'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.sock"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "rec"


def numbered(*numbers: int) -> list[bytes]:
    """Frames that are told apart."""
    return [payload(extra=b"%d" % number) for number in numbers]


def test_frames_are_written_octet_for_octet_and_not_looked_into(path: Path, folder: Path) -> None:
    file = folder / "dns.fstrm"
    odd = [QUERY, b"no protobuf", RESPONSE + b"\xf8\x3f\1"]
    with Running("record", "-u", path, "-w", file) as recording:
        send(path, odd)
        assert read_part(folder / "dns.fstrm.part") == odd, "FINISH is a receipt"
        assert not file.exists()
        assert recording.end(signal.SIGINT) == 0
        assert recording.errors == f"ready unix:{path}\n"
    assert file.read_bytes() == stream(*odd)
    assert names(folder) == ["dns.fstrm"]


def test_what_arrived_is_in_the_file_within_a_second_or_as_told(path: Path, folder: Path) -> None:
    with Running("record", "-u", path, "-w", folder / "dns.fstrm", "--flush", "50ms"), Sender(path) as sender:
        sender.send(QUERY)
        wait_until(lambda: read_part(folder / "dns.fstrm.part") == [QUERY])


def test_filters_and_masks_choose_what_is_recorded(path: Path, folder: Path) -> None:
    options: Arguments = ["--types", "CQ", "--strip", "extra"]
    with Running("record", "-u", path, "-w", folder / "dns.fstrm", *options) as recording:
        send(path, [payload(extra=b"x"), RESPONSE, b"undecodable", QUERY])
        assert recording.end() == 0
        assert "#1: 3 frames, 1 damaged (undecodable 1)" in recording.errors
    assert read(folder / "dns.fstrm") == [QUERY, QUERY]


def test_nothing_existing_is_overwritten_and_nothing_empty_published(path: Path, folder: Path) -> None:
    folder.mkdir()
    (folder / "dns.fstrm").write_bytes(b"precious")
    for count in (1, 0, 1):
        with Running("record", "-u", path, "-w", folder / "dns.fstrm"):
            send(path, [QUERY] * count)
    assert names(folder) == ["dns.1.fstrm", "dns.2.fstrm", "dns.fstrm"]
    assert (folder / "dns.fstrm").read_bytes() == b"precious"


def test_files_end_by_the_clock_with_and_without_traffic(path: Path, folder: Path) -> None:
    template = folder / "%Y%m%d" / "dns-%H%M%S.fstrm"
    with Running("record", "-u", path, "-w", template, "--rotate", "1s", "--utc") as recording, Sender(path) as sender:
        sender.send(*numbered(0))
        wait_until(lambda: len(list(folder.glob("*/dns-*.fstrm"))) == 1)
        sender.send(*numbered(1))
        wait_until(lambda: len(list(folder.glob("*/dns-*.fstrm"))) == 2)
        assert recording.end() == 0
    found = sorted(folder.glob("*/*"))
    assert all(re.fullmatch(r"\d{8}/dns-\d{6}\.fstrm", str(each.relative_to(folder))) for each in found)
    assert [read(each) for each in found] == [[each] for each in numbered(0, 1)]


def test_complete_files_are_small_few_compressed_and_handed_to_a_command(path: Path, folder: Path) -> None:
    notes = folder.parent / "notes"
    command = f"{sys.executable} -c '{NOTE}' {notes}"
    options: Arguments = ["--rotate", "1h,1KiB", "--keep", "3", "--compress", "gzip", "--exec", command]
    with Running("record", "-u", path, "-w", "rec/dns.fstrm", *options, cwd=folder.parent) as recording:
        send(path, numbered(*range(40)))
        assert recording.end() == 0
    noted = [line.split() for line in notes.read_text().splitlines()]
    assert sum(int(count) for count, _ in noted) == 40
    assert [each for _, each in noted] == [
        f"{folder}/dns{f'.{number}' if number else ''}.fstrm.gz" for number in range(len(noted))
    ]
    last = [f"{folder}/{name}" for name in names(folder)]
    assert sorted(last) == sorted(each for _, each in noted[-3:])
    kept = [gzip.decompress(Path(each).read_bytes()) for _, each in noted[-3:]]
    assert max(map(len, kept)) <= 1024
    assert [frame for each in kept for frame in payloads_in(each)] == numbered(*range(40))[
        -sum(int(count) for count, _ in noted[-3:]) :
    ]


def test_signals_rotate_flush_and_count(path: Path, folder: Path) -> None:
    options: Arguments = ["-w", folder / "dns.fstrm", "--flush", "1h"]
    with Running("record", "-u", path, *options) as recording, Sender(path) as sender:
        sender.send(*numbered(1))
        recording.wait_until(lambda: counted(recording) == 1, "the first frame")
        recording.send(signal.SIGHUP)
        wait_until(lambda: read_part(folder / "dns.fstrm.part") == numbered(1))
        recording.send(signal.SIGUSR1)
        wait_until(lambda: names(folder) == ["dns.1.fstrm.part", "dns.fstrm"])
        sender.send(*numbered(2))
        recording.wait_until(lambda: counted(recording) == 2, "the second frame")
        assert recording.end() == 0
    assert [read(folder / name) for name in ("dns.fstrm", "dns.1.fstrm")] == [numbered(1), numbered(2)]


def counted(recording: Running) -> int:
    """Frames that came, by its own count."""
    before = recording.errors.count("record: ")
    recording.send(signal.SIGUSR2)
    recording.wait_until(lambda: recording.errors.count("record: ") > before, "counters")
    return int(re.findall(r"record: 1 connections \(1 now\), (\d+) frames", recording.errors)[-1])


def test_a_second_recorder_on_one_file_is_a_failure(path: Path, folder: Path, tmp_path: Path) -> None:
    with Running("record", "-u", path, "-w", folder / "dns.fstrm") as recording:
        second = tap("record", "-u", tmp_path / "b.sock", "-w", folder / "dns.fstrm")
        assert second.returncode == 1
        assert second.stderr.decode() == (
            f"dnsproxy tap record: another process is recording {folder}/dns.fstrm.part\n"
        )
        assert not (tmp_path / "b.sock").exists()
        send(path, [QUERY])
        assert recording.end() == 0
    assert read(folder / "dns.fstrm") == [QUERY]


def test_of_two_recorders_at_the_same_time_one_fails(folder: Path, tmp_path: Path) -> None:
    commands = [
        [sys.executable, "-m", "dnsproxy", "tap", "record", "-u", str(tmp_path / name), "-w", str(folder / "dns.fstrm")]
        for name in ("a.sock", "b.sock")
    ]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, env=environment_with({})) for command in commands]
    wait_until(lambda: [each.poll() for each in processes].count(1) == 1)
    for each in processes:
        each.terminate()
    assert sorted(each.wait(WITHIN_S) for each in processes) == [0, 1]
    for each in processes:
        assert each.stderr is not None
        each.stderr.close()


def test_after_kill_minus_nine_every_frame_is_there_and_none_twice(path: Path, folder: Path) -> None:
    options: Arguments = ["-u", path, "-w", folder / "dns.fstrm", "--flush", "20ms"]
    confirmed = 0
    for _ in range(3):
        with Running("record", *options) as recording:
            with Sender(path) as sender:
                numbers = range(confirmed, confirmed + 200)
                sender.send(*numbered(*numbers))
                sender.stop()
                confirmed += 200
            with Sender(path) as sender:
                sender.socket.sendall(stream(*numbered(10**6), stop=False)[len(START) : -3])
                sender.send()
            recording.process.kill()
            recording.process.wait(WITHIN_S)
    assert names(folder) == ["dns.fstrm.part"]
    assert path.exists(), "what the dead one left is replaced"
    with Running("record", *options):
        send(path, numbered(confirmed))
    assert names(folder) == ["dns.fstrm"]
    assert read(folder / "dns.fstrm") == numbered(*range(confirmed + 1))


def test_killed_in_the_middle_of_writing_it_leaves_what_can_be_repaired(path: Path, folder: Path) -> None:
    options: Arguments = [
        "-u",
        path,
        "-w",
        folder / "dns.fstrm",
        "--flush",
        "0s",
        "--rotate",
        "64KiB",
        "--compress",
        "gzip",
    ]
    with Running("record", *options) as recording, Sender(path) as sender:
        number = 0
        while len(names(folder)) < 5:
            sender.send(*numbered(*range(number, number + 100)))
            number += 100
        recording.process.kill()
        recording.process.wait(WITHIN_S)
    with Running("record", *options):
        pass
    assert not [name for name in names(folder) if not name.endswith(".gz")]
    files = sorted(folder.iterdir(), key=lambda each: int((re.findall(r"\d+", each.name) or ["0"])[0]))
    contents = [gzip.decompress(each.read_bytes()) for each in files]
    assert all(each.startswith(START) and each.endswith(STOP) for each in contents)
    frames = [frame for each in contents for frame in payloads_in(each)]
    assert frames == numbered(*range(len(frames)))
    assert 0 < len(frames) <= number


def test_a_full_disk_drops_counts_and_goes_on(path: Path, folder: Path) -> None:
    with (
        Running("record", "-u", path, "-w", folder / "dns.fstrm", "--flush", "0s") as recording,
        Sender(path) as sender,
    ):
        limit = len(stream(*numbered(1, 2), stop=False)) + 7
        resource.prlimit(recording.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        sender.send(*numbered(1, 2, 3, 4))
        recording.wait_for_error("recording: File too large; what comes is dropped until it can be written")
        assert read_part(folder / "dns.fstrm.part") == numbered(1, 2)
        resource.prlimit(recording.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
        sender.send(*numbered(5))
        recording.wait_for_error("recording goes on, 2 frames were dropped")
        recording.send(signal.SIGUSR2)
        recording.wait_for_error("5 frames, ")
        assert "wrote 3 frames, dropped 2" in recording.errors
        assert recording.end() == 0
    assert read(folder / "dns.fstrm") == numbered(1, 2, 5)


def test_fifty_clients_half_of_them_misbehaving_are_all_recorded(path: Path, folder: Path) -> None:
    told = damage()
    told.pop("undecodable")  # it does not look into frames
    with Running("record", "-u", path, "-w", folder / "dns.fstrm", *HANDSHAKE) as recording:
        count = told.total()
        crowd(path, lambda: recording.wait_until(lambda: recording.errors.count(" damaged (") == count, "all damage"))
        assert recording.end() == 0
    for kind, number in told.items():
        assert recording.errors.count(f" damaged ({kind} 1)") == number
    frames = [TapFrame(each) for each in read(folder / "dns.fstrm") if each != b"nonsense"]
    check_extras([(frame.extra or b"").decode() for frame in frames])


def test_standard_output_is_a_stream_and_its_readers_end_is_ours(path: Path) -> None:
    with Running("record", "-u", path, "-w", "-") as recording:
        send(path, [QUERY, RESPONSE])
        recording.end()
        assert recording.output == stream(QUERY, RESPONSE)
    reading, writing = os.pipe()
    with Running("record", "-u", path, "-w", "-", "--flush", "0s", stdout=writing) as recording, Sender(path) as sender:
        os.close(writing)
        os.close(reading)
        sender.send(QUERY)
        assert recording.wait() == 0
        assert len(recording.errors.splitlines()) == 1
    assert not path.exists()


def test_the_end_waits_for_the_command_unless_told_twice(path: Path, folder: Path) -> None:
    gate = folder.parent / "gate"
    command = f"sh -c 'until [ -e {gate} ]; do sleep 0.02; done; touch {folder.parent}/done'"
    options: Arguments = ["-u", path, "-w", folder / "dns.fstrm", "--exec", command]
    with Running("record", *options) as recording:
        send(path, [QUERY])
        recording.send(signal.SIGTERM)
        wait_until((folder / "dns.fstrm").exists)
        time.sleep(0.05)
        assert recording.process.poll() is None
        gate.touch()
        assert recording.wait() == 0
        assert (folder.parent / "done").exists()
    gate.unlink()
    with Running("record", *options) as recording:
        send(path, [QUERY])
        recording.send(signal.SIGTERM)
        wait_until((folder / "dns.1.fstrm").exists)
        recording.send(signal.SIGTERM)
        assert recording.process.wait(WITHIN_S) == 1
        gate.touch()  # the command goes on without us
        recording.wait()
        assert "ended before everything was done" in recording.errors


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "required: -w"),
        (["-w", "dns-%Q.fstrm"], '"%Q" is no part of a time'),
        (["-w", "folder/"], "is a folder"),
        (["-w", "x", "--rotate", "1h,2h"], "says the same thing twice"),
        (["-w", "x", "--rotate", "10"], "leaves no room for a frame"),
        (["-w", "x", "--rotate", "often"], "is not a size"),
        (["-w", "x", "--keep", "0"], "is not how much to keep"),
        (["-w", "x", "--compress", "lzma"], "invalid choice"),
        (["-w", "x", "--exec", "'"], "No closing quotation"),
        (["-w", "-", "--rotate", "1h"], "take -w with the name of a file"),
    ],
)
def test_wrong_usage_is_one_line(tmp_path: Path, arguments: list[str], text: str) -> None:
    done = tap("record", "-u", "a.sock", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert text in done.stderr.decode()
    assert done.stderr.count(b"\n") == 1
    assert names(tmp_path) == []


def test_a_socket_that_is_in_use_leaves_no_file(path: Path, folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as taken:
        taken.bind(str(path))
        taken.listen()
        assert tap("record", "-u", path, "-w", folder / "dns.fstrm").returncode == 1
    assert names(folder.parent) == []
