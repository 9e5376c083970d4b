"""kill -9 of a process that fills or empties a spool, at any moment."""

import random
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dnsproxy.dnstap.framestreams import Reader, data_frame
from tests.dnstap.spool_process import QUEUE
from tests.dnstap.spools import append, messages_in, opened, segments

ROOT = Path(__file__).parents[2]
FRAMES = 60_000
CRASHES = 8
WITHIN_S = 30.0
RUN = """
import runpy, sys
sys.path.append(sys.argv.pop(1))  # behind what is installed
runpy.run_module("tests.dnstap.spool_process", run_name="__main__", alter_sys=True)
"""


@contextmanager
def process(mode: str, collector: str, folder: Path, how: str = "counted") -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-P", "-c", RUN, str(ROOT), mode, collector, str(folder), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()


class Collector:
    """Takes frames in this very thread, so that it decides when it does not."""

    def __init__(self, path: Path) -> None:
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(path))
        self.listening.listen()
        self.listening.settimeout(WITHIN_S)
        self.frames: Counter[bytes] = Counter()

    def take(self, running: "subprocess.Popen[bytes]", octets: float) -> int:
        """Serve a connection until its end; kill the process once so many octets have come. How many did."""
        connection, _ = self.listening.accept()
        reader, received = Reader(), 0
        connection.settimeout(WITHIN_S)
        with connection:
            while data := connection.recv(20_000):
                received += len(data)
                for event in reader.receive_data(data):
                    if isinstance(event, bytes):
                        self.frames[event] += 1
                if received >= octets:
                    running.kill()
                if reply := reader.data_to_send():
                    connection.sendall(reply)
        return received


@pytest.mark.parametrize("how", ["counted", "singly"])
def test_each_death_repeats_at_most_one_message_and_loses_none(tmp_path: Path, how: str) -> None:
    payloads = [b"%d" % number for number in range(FRAMES)]
    spool, _ = opened(tmp_path / "spool")
    append(spool, [data_frame(payload) for payload in payloads])
    spool.close()
    collector = Collector(tmp_path / "tap.sock")
    with collector.listening:
        for _ in range(CRASHES):
            with process("send", str(tmp_path / "tap.sock"), tmp_path / "spool", how) as running:
                collector.take(running, random.randrange(1, 50_000))
        assert len(collector.frames) < FRAMES, "the process was never killed in the middle"
        with process("send", str(tmp_path / "tap.sock"), tmp_path / "spool", how) as last:
            collector.take(last, float("inf"))
            assert last.wait(WITHIN_S) == 0
    repeated = sum(collector.frames.values()) - len(collector.frames)
    assert collector.frames.keys() == set(payloads)
    assert repeated <= (0 if how == "counted" else CRASHES)
    assert list((tmp_path / "spool").iterdir()) == []


def test_a_death_while_nobody_listens_loses_no_more_than_the_queue_and_the_last_second(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    for _ in range(2):
        before = messages_in(folder) if folder.exists() else []
        with process("fill", str(tmp_path / "nobody.sock"), folder) as running:
            offered = [(time.monotonic(), int(line)) for line in lines(running, random.uniform(1.1, 1.3))]
            died = time.monotonic()
            running.kill()
        spooled = messages_in(folder)[len(before) :]
        assert spooled == [b"%d" % number for number in range(len(spooled))]
        assert len(spooled) >= max(number for when, number in offered if when < died - 1) - QUEUE
    found = opened(folder)[1].frames
    assert found == len(messages_in(folder)) > len(spooled)
    assert segments(folder)


def lines(running: "subprocess.Popen[bytes]", seconds: float) -> Iterator[str]:
    """What the process says, for so long from its first word on."""
    assert running.stdout is not None
    end = float("inf")
    with selectors.DefaultSelector() as selector:
        selector.register(running.stdout, selectors.EVENT_READ)
        while time.monotonic() < end and selector.select(WITHIN_S):
            yield running.stdout.readline().decode()
            end = min(end, time.monotonic() + seconds)
