"""A worker's process: how it is started, and how soon again."""

import errno
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnsproxy.sockets import Place
from dnsproxy.workers import handle
from dnsproxy.workers.control import MAX_DESCRIPTORS, Message
from dnsproxy.workers.handle import BACKOFF_S, State, WorkerHandle, interpreter
from dnsproxy.workers.loop import Loop


class Listener:
    """Hears what a handle has to say, and ends the loop with the worker."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.messages: list[Message] = []
        self.ends: list[str] = []

    def heard(self, worker: WorkerHandle, message: Message) -> None:
        self.messages.append(message)

    def ended(self, worker: WorkerHandle, how: str) -> None:
        self.ends.append(how)
        self.loop.stop()


@pytest.fixture
def listener() -> Iterator[Listener]:
    loop = Loop()
    yield Listener(loop)
    loop.close()


@pytest.fixture
def worker(listener: Listener) -> Iterator[WorkerHandle]:
    worker = WorkerHandle(1, listener.loop, listener)
    yield worker
    worker.close()


def play(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """Have this program started instead of a worker; `channel` is its end of the connection."""
    begin = "from dnsproxy.workers.control import Channel; import os, sys, socket\n"
    begin += "channel = Channel(socket.socket(fileno=int(sys.argv[1])))\n"

    def spawn(theirs: socket.socket, number: int) -> subprocess.Popen[bytes]:
        command = [*interpreter(), "-c", begin + source, str(theirs.fileno())]
        return subprocess.Popen(command, pass_fds=[theirs.fileno()])

    monkeypatch.setattr(handle, "_spawn", spawn)


def run(worker: WorkerHandle, listener: Listener) -> str:
    """Start it and wait for its end; how that was."""

    def look() -> None:
        worker.reap()
        listener.loop.later(0.01, look)

    worker.start({})
    look()
    listener.loop.run()
    return listener.ends[-1]


@pytest.mark.parametrize(
    ("source", "how"),
    [
        ("", "ended"),
        ("sys.exit(3)", "ended with status 3"),
        ("os.kill(os.getpid(), 9)", "was ended by SIGKILL"),
        ("os.kill(os.getpid(), 40)", "was ended by signal 40"),
    ],
)
def test_how_a_process_ended_is_said(
    worker: WorkerHandle, listener: Listener, monkeypatch: pytest.MonkeyPatch, source: str, how: str
) -> None:
    play(monkeypatch, source)
    assert run(worker, listener) == how
    assert (worker.state, worker.pid) == (State.NONE, 0)


def test_last_words_are_heard(worker: WorkerHandle, listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, "channel.put('failed', {'reason': 'x' * 100_000}); channel.flush(); channel.put('end')")
    run(worker, listener)
    assert [message.kind for message in listener.messages] == ["failed"]


def test_nonsense_ends_the_connection_and_the_process(
    worker: WorkerHandle,
    listener: Listener,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(handle, "EXIT_S", 0.01)
    play(monkeypatch, "channel.sock.send(bytes(100)); import time; time.sleep(20)")
    assert run(worker, listener) == "was ended by SIGKILL"
    assert "speaks no sense" in caplog.text


def test_a_process_that_cannot_be_started_has_ended(
    worker: WorkerHandle, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spawn(theirs: socket.socket, number: int) -> subprocess.Popen[bytes]:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(handle, "_spawn", spawn)
    worker.start({})
    assert (listener.ends, worker.state, worker.quick_ends) == (["is not there"], State.NONE, 1)
    assert "Resource temporarily unavailable" in worker.reason


def test_any_number_of_sockets_is_handed_over(
    worker: WorkerHandle, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = MAX_DESCRIPTORS + 5
    echo = f"""
import time
got = 0
while got < {count}:
    got += sum(len(message.descriptors) for message in channel.receive() if message.kind == "sockets")
    time.sleep(0.001)
channel.put("got", {{"count": got}})
channel.flush()
"""
    play(monkeypatch, echo)
    worker.sockets = {Place("udp", "192.0.2.1", port): socket.socket() for port in range(count)}
    run(worker, listener)
    assert [message.body for message in listener.messages] == [{"count": count}]


def test_the_first_accident_is_mended_at_once_and_the_next_ones_later_and_later(worker: WorkerHandle) -> None:
    waits = []
    for _ in range(len(BACKOFF_S) + 3):
        worker.quick_ends += 1
        waits.append(worker.backoff_s)
    assert waits == [*BACKOFF_S, *[BACKOFF_S[-1]] * 3]
    assert waits[0] == 0
    worker.quick_ends = 0
    assert worker.backoff_s == 0


def test_the_current_folder_is_imported_from_only_if_we_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/somewhere", *sys.path])
    assert "-P" in interpreter()
    for here in ("", str(Path.cwd())):
        monkeypatch.setattr(sys, "path", [here, *sys.path])
        assert "-P" not in interpreter()
