"""`listen` prints what producers send, soon and in every form, and ends as it is told."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.tap.crowd import HANDSHAKE, check_extras, crowd, damage
from tests.tap.frames import payload, stream, tap
from tests.tap.running import Arguments, Running, Sender, send

SOON_S = 0.3
QUERY, RESPONSE = payload(), payload("CLIENT_RESPONSE")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.sock"


def test_a_message_is_seen_soon_in_a_pipe_too(path: Path) -> None:
    with Running("listen", "-u", path, "--json") as listening, Sender(path) as sender:
        took_s = []
        for number in range(1, 6):
            began = time.monotonic()
            sender.send(payload(extra=b"%d" % number))
            listening.wait_for_lines(number)
            took_s.append(time.monotonic() - began)
        assert min(took_s) < SOON_S
        assert [json.loads(line)["extra"] for line in listening.lines] == ["1", "2", "3", "4", "5"]


def test_forms_filters_masks_and_sources_go_together(path: Path) -> None:
    options: Arguments = ["-q", "--types", "CQ", "--client", "192.0.2.0/24", "--mask", "16/32", "--utc"]
    with Running("listen", "-u", path, "-l", "127.0.0.1:0", *options) as listening:
        send(path, [QUERY, RESPONSE, payload(query_address="198.51.100.7")])
        send(listening.port(), [QUERY], bidirectional=False)
        listening.wait_for_lines(2)
        assert listening.end(signal.SIGINT) == 0
        assert listening.lines == ['22:13:20.123456 CQ 192.0.0.0 UDP 44b "www.example.org." IN A'] * 2
    assert not path.exists()


def test_what_is_confirmed_has_been_printed(path: Path) -> None:
    with Running("listen", "-u", path, "-q") as listening:
        send(path, [QUERY] * 1000)
        assert len(listening.lines) == 1000 or listening.wait_for_lines(1000)


@pytest.mark.parametrize("is_text", [False, True])
def test_output_goes_to_a_file(path: Path, tmp_path: Path, is_text: bool) -> None:
    out = tmp_path / "out"
    out.write_bytes(b"what was there\n")
    with Running("listen", "-u", path, "-w", out, *(["-q", "-a"] if is_text else [])) as listening:
        send(path, [QUERY, RESPONSE])
        assert listening.end() == 0
        assert listening.output == b""
    if is_text:
        assert [line.split()[:2] for line in out.read_text().splitlines()[1:]] == [
            ["22:13:20.123456", "CQ"],
            ["22:13:20.125000", "CR"],
        ]
    else:
        assert out.read_bytes() == stream(QUERY, RESPONSE)


def test_frames_on_standard_output_are_a_whole_stream(path: Path) -> None:
    with Running("listen", "-u", path, "-w", "-") as listening:
        send(path, [QUERY, RESPONSE])
        listening.end()
        assert listening.output == stream(QUERY, RESPONSE)


def test_it_ends_after_so_many_messages(path: Path) -> None:
    with Running("listen", "-u", path, "-q", "--count", "3", "--types", "CQ") as listening:
        with Sender(path) as sender:
            sender.send(QUERY, RESPONSE, QUERY)
            listening.wait_for_lines(2)
            sender.send(*[QUERY] * 10)
            assert listening.wait() == 0
        assert len(listening.lines) == 3
    assert not path.exists()


def test_signals_count_and_end(path: Path) -> None:
    with Running("listen", "-u", path, "-q") as listening:
        send(path, [QUERY, b"undecodable"])
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            listening.send(number)
        listening.wait_until(
            lambda: listening.errors.count("listen: 1 connections (0 now), 1 frames, ") == 2, "counters"
        )
        assert f"unix:{path}#1: 1 frame, 1 damaged (undecodable 1)" in listening.errors
        assert listening.end(signal.SIGHUP) == 0


def test_a_reader_that_goes_away_ends_it_quietly(path: Path) -> None:
    reading, writing = os.pipe()
    with Running("listen", "-u", path, "-q", stdout=writing) as listening, Sender(path) as sender:
        os.close(writing)
        sender.send(QUERY)
        assert b"CQ" in os.read(reading, 4096)
        os.close(reading)
        sender.send(QUERY)
        assert listening.wait() == 0
        assert listening.errors == f"ready unix:{path}\n"
    assert not path.exists()


def test_a_reader_that_takes_nothing_holds_up_neither_newcomers_nor_the_end(path: Path) -> None:
    reading, writing = os.pipe()
    with Running("listen", "-u", path, "--json", stdout=writing) as listening:
        os.close(writing)
        sender = Sender(path)
        sender.socket.settimeout(0.3)
        with pytest.raises(TimeoutError):  # producers wait, too: memory has a bound
            sender.send(*[QUERY] * 200_000)
        Sender(path).socket.close()
        assert listening.end(signal.SIGINT) == 0
    sender.socket.close()
    os.close(reading)


def test_a_full_disk_is_one_line(path: Path) -> None:
    with Running("listen", "-u", path, "-q", "-w", "/dev/full") as listening, Sender(path) as sender:
        sender.send(QUERY)
        assert listening.wait() == 1
        assert listening.errors.splitlines()[1:] == ["dnsproxy tap listen: No space left on device"]


def test_a_socket_that_is_in_use_is_a_failure_and_a_wrong_option_wrong_usage(path: Path, tmp_path: Path) -> None:
    with Running("listen", "-u", path):
        done = tap("listen", "-u", path)
        assert (done.returncode, done.stdout) == (1, b"")
        assert done.stderr.decode() == (
            f"dnsproxy tap listen: cannot listen on unix://{path}: another process listens on it\n"
        )
        assert path.exists()
    for arguments in ([], ["-q", "-j"], ["--types", "nonsense"], ["-a"]):
        done = tap("listen", *(["-u", str(path)] if arguments else []), *arguments)
        assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
        assert not path.exists()


def test_fifty_clients_half_of_them_misbehaving_are_all_served(path: Path) -> None:
    with Running("listen", "-u", path, "--format", "{.extra}", *HANDSHAKE) as listening:
        count = damage().total()
        crowd(path, lambda: listening.wait_until(lambda: listening.errors.count(" damaged (") == count, "all damage"))
        listening.end()
    check_extras(listening.lines)
    for kind, number in damage().items():
        assert listening.errors.count(f" damaged ({kind} 1)") == number
