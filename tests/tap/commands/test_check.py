"""`check`: whether a collector lives, and its files are fresh."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tap.commands.in_process import Captured, run
from tests.tap.frames import payload, write_stream
from tests.tap.running import ACCEPT, FINISH, READY, Running

CONNECTION_S = 5.0
Talk = Callable[[socket.socket], None]


@contextlib.contextmanager
def collector(path: Path, talk: Talk) -> Iterator[str]:
    """Takes one connection, and does with it what it is told; its URL."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(CONNECTION_S)
        thread = threading.Thread(target=_serve, args=[listener, talk])
        thread.start()
        yield f"unix://{path}"
        thread.join()


def _serve(listener: socket.socket, talk: Talk) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(CONNECTION_S)
        with contextlib.suppress(OSError):
            talk(connection)


def read_until_closed(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def accept(connection: socket.socket) -> None:
    assert connection.recv(len(READY)) == READY
    connection.sendall(ACCEPT)


def well(connection: socket.socket) -> None:
    accept(connection)
    octets = b""
    while not octets.endswith(b"\0\0\0\4\0\0\0\3"):  # STOP
        octets += connection.recv(4096)
    connection.sendall(FINISH)


def never_finishing(connection: socket.socket) -> None:
    accept(connection)
    read_until_closed(connection)


def closing_early(connection: socket.socket) -> None:
    accept(connection)


def saying_nonsense(connection: socket.socket) -> None:
    connection.sendall(b"220 mail.example.org ESMTP\r\n")
    read_until_closed(connection)


def test_a_collector_that_goes_from_ready_to_finish_is_alive(tmp_path: Path, capfd: Captured) -> None:
    with collector(tmp_path / "tap.sock", well) as url:
        done = run(capfd, "check", url)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(f"{url}: READY to FINISH in ")
    assert len(done.lines) == 1


@pytest.mark.parametrize(
    ("talk", "reason"),
    [
        (read_until_closed, "no ACCEPT within 1 s"),
        (never_finishing, "no FINISH within 1 s"),
        (closing_early, ""),
        (saying_nonsense, "ACCEPT: "),
    ],
)
def test_any_other_is_not(talk: Talk, reason: str, tmp_path: Path, capfd: Captured) -> None:
    with collector(tmp_path / "tap.sock", talk) as url:
        done = run(capfd, "check", url, "--timeout", "1s")
    assert done.status == 1
    assert done.out.startswith(f"{url}: {reason}")
    assert len(done.lines) == 1


def test_nobody_there_is_not_alive(tmp_path: Path, capfd: Captured) -> None:
    done = run(capfd, "check", f"unix://{tmp_path}/tap.sock", "--json")
    (values,) = done.values
    assert done.status == 1
    assert (values["ok"], values["handshake_ms"]) == (False, None)
    assert values["error"] == f"unix://{tmp_path}/tap.sock: connection: No such file or directory"


def fresh_file(path: Path, age_s: float) -> Path:
    seconds = int(time.time() - age_s)
    return write_stream(path, [payload("CLIENT_QUERY", query_time=(seconds, 0))])


def test_a_files_newest_message_must_be_young(tmp_path: Path, capfd: Captured) -> None:
    path = fresh_file(tmp_path / "dns.fstrm", age_s=30)
    done = run(capfd, "check", "--file", path)
    assert done.status == 0
    assert done.out.startswith(f"{path}: the newest message is 3")
    done = run(capfd, "check", "--file", path, "--max-age", "10s", "--json")
    assert done.status == 1
    assert "more than 10 s" in done.values[0]["error"]


def test_a_file_without_messages_is_not_fresh(tmp_path: Path, capfd: Captured) -> None:
    done = run(capfd, "check", "--file", tmp_path / "dns.fstrm")
    assert (done.status, done.out) == (1, f"{tmp_path / 'dns.fstrm'}: no message there\n")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(_path: str) -> None:
        raise PermissionError(13, "Permission denied", "dns.fstrm")

    fresh_file(tmp_path / "dns.fstrm", age_s=0)
    monkeypatch.setattr("dnsproxy.tap.freshness.Octets", forbid)
    done = run(capfd, "check", "--file", tmp_path / "dns.fstrm")
    assert (done.status, done.out) == (1, "dns.fstrm: Permission denied\n")


def test_a_probe_arrives_in_the_file_of_a_recorder(tmp_path: Path, capfd: Captured) -> None:
    socket_path, file = tmp_path / "tap.sock", tmp_path / "dns.fstrm"
    with Running("record", "-u", socket_path, "-w", file, "--flush", "50ms"):
        done = run(capfd, "check", f"unix://{socket_path}", "--file", file, "--probe", "--json")
        (values,) = done.values
        assert (done.status, values["ok"]) == (0, True)
        assert values["probe_ms"] < 5000
        assert values["age_s"] < 5
        text = run(capfd, "check", f"unix://{socket_path}", "--file", file, "--probe").out
        assert f"{file}: the probe is there after " in text
    shown = run(capfd, "read", "-q", file).lines
    assert len(shown) == 2
    assert all(" TQ " in line and "dnsproxy-check.invalid." in line for line in shown)


def test_a_probe_that_does_not_arrive_is_told(tmp_path: Path, capfd: Captured) -> None:
    file = fresh_file(tmp_path / "dns.fstrm", age_s=0)
    with collector(tmp_path / "tap.sock", well) as url:
        done = run(capfd, "check", url, "--file", file, "--probe", "--timeout", "1s")
    assert (done.status, done.out) == (1, f"{file}: the probe has not come within 1 s\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "URL"),
        (["--probe", "unix:///tmp/x"], "--file"),
        (["--probe", "--file", "x"], "URL"),
        (["nonsense"], "no scheme"),
        (["file:///tmp/x"], "--file"),
        (["tcp://127.0.0.1"], "no port"),
        (["unix:///tmp/x", "--timeout", "soon"], "--timeout"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], text: str, capfd: Captured) -> None:
    done = run(capfd, "check", *arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
    assert text in done.err


def test_a_signal_ends_it(tmp_path: Path) -> None:
    is_connected = threading.Event()

    def notice(connection: socket.socket) -> None:
        is_connected.set()
        read_until_closed(connection)

    with (
        collector(tmp_path / "tap.sock", notice) as url,
        Running("check", url, "--timeout", "20s", is_ready=False) as command,
    ):
        assert is_connected.wait(CONNECTION_S)
        assert command.end(signal.SIGTERM) == 128 + signal.SIGTERM
        assert (command.output, command.errors) == (b"", "")
