"""`send` replays files to a collector, and is content only once that has confirmed it."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.collector import Collector
from tests.tap.frames import CORPUS, SECOND, payload, stream, tap, write_stream
from tests.tap.running import WITHIN_S, Running, wait_until


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[Collector]:
    with Collector(f"unix://{tmp_path}/c.sock") as receiver:
        yield receiver


def at(second: int, extra: str = "") -> bytes:
    return payload(query_time=(SECOND + second, 0), extra=extra.encode() or None)


def extras(collector: Collector) -> list[str | None]:
    return [message.extra for message in collector.messages]


def test_files_are_sent_merged_by_time_or_one_after_the_other(tmp_path: Path, collector: Collector) -> None:
    one = write_stream(tmp_path / "one", [at(1, "1"), at(3, "3")])
    two = write_stream(tmp_path / "two", [at(2, "2"), at(4, "4")])
    for order, expected in (([], "1234"), (["--concat"], "1324")):
        done = tap("send", one, two, *order, "--to", collector.address)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert extras(collector) == list(expected)
        collector.messages.clear()
    assert (collector.stops, collector.breaks) == (2, 0)


def test_standard_input_filters_and_masks(collector: Collector, tmp_path: Path) -> None:
    octets = stream(payload(extra=b"x"), payload("CLIENT_RESPONSE"))
    done = tap("send", "-", "--types", "CQ", "--strip", "extra", "-U", tmp_path / "c.sock", stdin=octets)
    assert done.returncode == 0
    (message,) = collector.messages
    assert (message.type, message.extra) == ("CQ", None)


def test_one_way_needs_no_handshake(tmp_path: Path, collector: Collector) -> None:
    file = write_stream(tmp_path / "one", [at(1)])
    done = tap("send", file, "--to", collector.address, "--unidirectional")
    assert done.returncode == 0
    collector.wait_for(1, within_s=WITHIN_S)
    assert collector.stops == 1


def test_damage_in_a_file_is_told_and_the_rest_sent(collector: Collector) -> None:
    done = tap("send", CORPUS / "trunc.fstrm", CORPUS / "nostop.fstrm", "--to", collector.address)
    assert done.returncode == 1
    assert b"trunc.fstrm: 2 frames, 1 damaged (truncated 1)" in done.stderr
    assert len(collector.messages) > 2
    assert collector.stops == 1


def test_a_pace_is_kept(tmp_path: Path, collector: Collector) -> None:
    file = write_stream(tmp_path / "one", [at(0), at(2), at(4)])
    for pace, expected_s in ((["--speed", "10"], 0.4), (["--rate", "10"], 0.2)):
        began = time.monotonic()
        assert tap("send", file, "--to", collector.address, *pace).returncode == 0
        assert time.monotonic() - began >= expected_s
        first, _, last = collector.arrivals_s[-3:]
        assert last - first >= expected_s - 0.05


def test_a_collector_that_is_not_there_or_dies_is_a_failure(tmp_path: Path, collector: Collector) -> None:
    file = write_stream(tmp_path / "many", [at(0)] * 400)  # for 20 s, unless it ends before
    done = tap("send", file, "-U", tmp_path / "nobody.sock")
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    with Running("send", file, "--to", collector.address, "--rate", "20", is_ready=False) as sending:
        collector.wait_for(1, within_s=WITHIN_S)
        collector.kill()
        assert sending.wait() == 1
        assert sending.errors.startswith(f"dnsproxy tap send: {collector.address}: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_its_number(tmp_path: Path, collector: Collector, number: signal.Signals) -> None:
    file = write_stream(tmp_path / "one", [at(0), at(60)])
    with Running("send", file, "--to", collector.address, "--real-time", is_ready=False) as sending:
        collector.wait_for(1, within_s=WITHIN_S)
        assert sending.end(number) == 128 + number
    wait_until(lambda: collector.breaks == 1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "no destination"),
        (["-U", "/a", "-U", "/b"], "2 destinations; expected one"),
        (["-U", "/a", "--rate", "1", "--real-time"], "different paces"),
        (["-U", "/a", "--speed", "0"], "is no number above 0"),
        (["-U", "/a", "--zone", "a..b"], "is not a domain name"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], text: str) -> None:
    done = tap("send", "file", *arguments)
    assert (done.returncode, done.stderr.count(b"\n")) == (2, 1)
    assert text in done.stderr.decode()
