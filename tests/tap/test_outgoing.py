"""A stream to a collector that does what it likes: whatever goes wrong is one line, in bounded time."""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.framestreams import ControlType, control_frame, data_frame
from dnsproxy.tap import outgoing
from dnsproxy.tap.errors import Failure
from dnsproxy.tap.outgoing import Outgoing
from tests.tap.frames import START, STOP
from tests.tap.running import ACCEPT, FINISH, READY

FRAME = data_frame(b"x" * 1000)


@contextmanager
def collector(path: Path, *talk: tuple[int, bytes]) -> Iterator[Destination]:
    """Reads so many octets, says something, and so on; closes at the end of the block, or when it has said nothing."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        over = threading.Event()
        thread = threading.Thread(target=_talk, args=[listening, talk, over])
        thread.start()
        try:
            yield Destination("unix", path=str(path))
        finally:
            over.set()
            thread.join()


def _talk(listening: socket.socket, talk: tuple[tuple[int, bytes], ...], over: threading.Event) -> None:
    client, _ = listening.accept()
    with client:
        for octets, answer in talk:
            heard = 0
            while heard < octets and (data := client.recv(octets - heard)):
                heard += len(data)
            client.sendall(answer)
            if not answer:
                return
        over.wait(10)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HANDSHAKE_S", "STALL_S", "FINISH_S", "CLOSE_S"):
        monkeypatch.setattr(outgoing, name, 0.1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.sock"


def session(destination: Destination, frames: bytes = FRAME, **more: bool) -> None:
    with Outgoing(destination, TlsOptions(), **more) as stream:
        stream.send(frames)
        stream.finish()


def test_a_whole_session_is_over_with_finish(path: Path) -> None:
    with collector(path, (len(READY), ACCEPT), (len(START + FRAME + STOP), FINISH)) as destination:
        session(destination)


def test_one_way_is_over_when_the_collector_has_closed_or_had_its_time(path: Path, tmp_path: Path) -> None:
    with collector(path, (len(START + FRAME + STOP), b"")) as destination:
        session(destination, bidirectional=False)
    with collector(tmp_path / "d.sock", (len(START + FRAME + STOP), b"?")) as destination:
        session(destination, bidirectional=False)


@pytest.mark.parametrize(
    ("talk", "text"),
    [
        ([], "no ACCEPT: the collector hangs"),
        ([(len(READY), b"")], "no ACCEPT: closed by the collector"),
        ([(len(READY), control_frame(ControlType.ACCEPT, b"other"))], "no ACCEPT: the receiver takes 'other'"),
        ([(len(READY), FINISH)], "no ACCEPT: FINISH when READY was said"),
        ([(len(READY), ACCEPT), (len(START + FRAME + STOP), b"")], "no FINISH: closed by the collector"),
        ([(len(READY), ACCEPT), (len(START + FRAME + STOP), ACCEPT)], "no FINISH: ACCEPT when STOP was said"),
        ([(len(READY), ACCEPT)], "no FINISH: the collector hangs"),
    ],
)
def test_what_a_collector_does_not_do_is_a_failure(path: Path, talk: list[tuple[int, bytes]], text: str) -> None:
    with (
        collector(path, *talk) as destination,
        pytest.raises(Failure, match=f"^{re.escape(f'unix://{path}: {text}')}$"),
    ):
        session(destination)


def test_a_collector_that_takes_nothing_more_or_goes_away_is_a_failure(path: Path, tmp_path: Path) -> None:
    frames = FRAME * 5000
    with (
        collector(path, (len(READY), ACCEPT)) as destination,
        pytest.raises(Failure, match="sending: the collector ha"),
    ):
        session(destination, frames)
    with (
        collector(tmp_path / "d.sock", (len(READY), ACCEPT), (10_000, b"")) as destination,
        pytest.raises(Failure, match=r"sending: (Broken pipe|Connection reset by peer)"),
    ):
        session(destination, frames)


def test_nobody_there_is_a_failure(path: Path) -> None:
    with pytest.raises(Failure, match="cannot connect: No such file or directory"):
        session(Destination("unix", path=str(path)))
    with pytest.raises(Failure, match="cannot connect: Connection refused"):
        session(Destination("tcp", host="127.0.0.1", port=1))
