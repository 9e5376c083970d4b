"""`relay` sends on what producers send: a queue for each destination, none waiting for another, every frame counted."""

from __future__ import annotations

import re
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.dnstap.tap_files import read
from tests.support.collector import Collector, tcp_address
from tests.tap.frames import payload, tap, write_stream
from tests.tap.running import WITHIN_S, Arguments, Running, Sender, send, wait_until

QUERY, RESPONSE = payload(), payload("CLIENT_RESPONSE")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "in.sock"


@pytest.fixture
def first(tmp_path: Path) -> Iterator[Collector]:
    with Collector(f"unix://{tmp_path}/first.sock") as collector:
        yield collector


@pytest.fixture
def second() -> Iterator[Collector]:
    with Collector(tcp_address()) as collector:
        yield collector


def numbered(count: int) -> list[bytes]:
    return [payload(extra=b"%d" % number) for number in range(count)]


def extras(collector: Collector) -> list[str]:
    return [message.extra or "" for message in collector.messages]


def test_every_destination_gets_every_frame_in_order(path: Path, first: Collector, second: Collector) -> None:
    one, other = first.address.removeprefix("unix://"), second.address.removeprefix("tcp://")
    with Running("relay", "-u", path, "-l", "127.0.0.1:0", "-U", one, "-T", other) as relaying:
        send(path, numbered(300))
        send(relaying.port(), [QUERY])
        assert relaying.end() == 0
        assert relaying.errors.splitlines()[1:] == [
            f"unix://{one}: offered 301 sent 301 dropped 0",
            f"{second.address}: offered 301 sent 301 dropped 0",
        ]
    for collector in (first, second):
        assert extras(collector) == [*map(str, range(300)), ""]
        assert (collector.stops, collector.breaks) == (1, 0)


def test_filters_masks_and_a_recording_go_with_it(path: Path, first: Collector, tmp_path: Path) -> None:
    recorded = tmp_path / "dns.fstrm"
    options: Arguments = ["--types", "CQ", "--mask", "16/32", "-w", recorded]
    with Running("relay", "-u", path, "--to", first.address, *options) as relaying:
        send(path, [QUERY, RESPONSE])
        relaying.send(signal.SIGUSR2)
        text = relaying.wait_for_error("offered 1 ")
        assert re.search(
            r"relay: 1 connections \(0 now\), 2 frames, \d+ octets, 0 damaged; wrote 1 frames, dropped 0", text
        )
        relaying.send(signal.SIGUSR1)
        wait_until(recorded.exists)
        assert relaying.end(signal.SIGINT) == 0
    (message,) = first.messages
    assert message.query_address == "192.0.0.0"
    assert read(recorded) == [payload(query_address="192.0.0.0")]


def test_a_destination_that_is_away_is_sent_what_the_queue_holds(
    path: Path, first: Collector, second: Collector
) -> None:
    first.kill()
    with Running("relay", "-u", path, "--to", first.address, "--to", second.address, "--queue", "100") as relaying:
        relaying.wait_for_error(f"tap {first.address} down: ")
        send(path, numbered(100))
        second.wait_for(100, within_s=WITHIN_S)
        send(path, [QUERY] * 5)
        second.wait_for(105, within_s=WITHIN_S)
        first.start()
        first.wait_for(100, within_s=WITHIN_S)
        assert relaying.end() == 1, "frames were lost"
        assert f"{first.address}: offered 105 sent 100 dropped 5\n" in relaying.errors
        assert f"{second.address}: offered 105 sent 105 dropped 0\n" in relaying.errors
    assert extras(first) == [str(number) for number in range(100)]


def test_a_stalled_destination_holds_up_nobody_and_loses_only_its_own(
    path: Path, first: Collector, second: Collector
) -> None:
    first.stall()
    options: Arguments = ["--queue", "1000", "--queue-bytes", "100KiB", "--drain", "100ms"]
    with Running("relay", "-u", path, "--to", first.address, "--to", second.address, *options) as relaying:
        sent = 0
        with Sender(path) as sender:
            for count in range(0, 6000, 500):
                sender.send(*[QUERY] * 500)
                second.wait_for(count + 500, within_s=WITHIN_S)
                sent = count + 500
            sender.stop()
        assert relaying.end() == 1
        lost = re.search(rf"{re.escape(first.address)}: offered {sent} sent (\d+) dropped (\d+)\n", relaying.errors)
        assert lost is not None
        assert int(lost[1]) + int(lost[2]) == sent
        assert f"{second.address}: offered {sent} sent {sent} dropped 0\n" in relaying.errors


def test_what_is_queued_at_the_end_is_drained(path: Path, first: Collector) -> None:
    first.stall()
    with Running("relay", "-u", path, "--to", first.address, "--drain", "10s") as relaying:
        send(path, numbered(5000))
        relaying.send(signal.SIGTERM)
        wait_until(lambda: not path.exists())
        first.resume()
        assert relaying.wait() == 0
    assert extras(first) == [str(number) for number in range(5000)]


def test_large_frames_pass_as_far_as_they_are_taken(path: Path, first: Collector) -> None:
    large = payload(extra=bytes(300_000))
    with Running("relay", "-u", path, "--to", first.address) as relaying:
        send(path, [large])
        assert relaying.end() == 0
    assert extras(first) == ["\0" * 300_000]


def test_tls_on_both_sides(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    ours = authority.issue_cert("127.0.0.1")
    ours.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ours.configure_cert(context)
    destination = tcp_address()
    pem = [tmp_path / "ca.pem", tmp_path / "both.pem"]
    trust: Arguments = ["--ca", pem[0], "--cert", pem[1]]
    listener: Arguments = ["-l", "tls://127.0.0.1:0", "--tls-cert", pem[1], "--client-ca", pem[0]]
    with (
        Collector(destination, tls=context) as collector,
        Running("relay", *listener, "--to", destination.replace("tcp://", "tls://"), *trust) as relaying,
    ):
        write_stream(tmp_path / "one.fstrm", [QUERY])
        done = tap("send", tmp_path / "one.fstrm", "--to", f"tls://127.0.0.1:{relaying.port()}", *trust)
        assert (done.returncode, done.stderr) == (0, b"")
        collector.wait_for(1, within_s=WITHIN_S)
        relaying.send(signal.SIGHUP)  # the certificate is read again
        assert relaying.end() == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "no destination; expected -U PATH, -T HOST:PORT or --to URL"),
        (["--to", "file:///x"], "is no collector"),
        (["-T", "nowhere"], "has no port"),
        (["-U", "/x", "--rotate", "1h"], "take -w with the name of a file"),
        (["-U", "/x", "--queue", "0"], "is no number"),
        (["-U", "in.sock"], "is both source and destination"),
        (["-l", "127.0.0.1:6000", "--to", "tcp://127.0.0.1:6000"], "is both source and destination"),
    ],
)
def test_wrong_usage_is_one_line(path: Path, arguments: list[str], text: str) -> None:
    done = tap("relay", "-u", path, *arguments, cwd=path.parent)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert text in done.stderr.decode()
    assert not path.exists()
