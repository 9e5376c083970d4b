"""The supervisor's admin socket: who may use it, who may not harm it."""

import json
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dnsproxy import admin
from dnsproxy.admin import AdminError
from dnsproxy.admin_client import NoAnswer, ask
from dnsproxy.settings import AdminSocket
from dnsproxy.workers.admin_server import AdminServer
from dnsproxy.workers.loop import Loop

STATUS: dict[str, Any] = {"version": "0.1.0", "text": "é" * 500_000}

Do = Callable[[Callable[[], None]], None]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[AdminServer]:
    """Answers at `tmp_path/s` while the test runs; its loop has a thread of its own."""
    loop = Loop()
    server = AdminServer(loop, lambda answer: answer(STATUS))
    server.open(AdminSocket(str(tmp_path / "s"), required=True))
    reading, writing = socket.socketpair()
    loop.watch(reading, lambda _mask: loop.stop())
    thread = threading.Thread(target=loop.run)
    thread.start()
    yield server
    writing.send(b"x")
    thread.join()
    server.close()
    loop.close()
    reading.close()
    writing.close()


@pytest.mark.usefixtures("server")
def test_a_client_gets_the_status(tmp_path: Path) -> None:
    for _ in range(3):
        assert ask([str(tmp_path / "s")]) == STATUS


@pytest.mark.usefixtures("server")
def test_nonsense_gets_an_answer_too(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match="unknown command"):
        ask([str(tmp_path / "s")], "nonsense")
    for request in (b"\n", b"\xff" * admin.MAX_REQUEST, b"[" * 3000 + b"\n"):
        with connected(tmp_path) as client:
            client.sendall(request)
            assert b"no JSON" in client.recv(4096)


@pytest.mark.usefixtures("server")
def test_a_request_may_come_octet_by_octet_or_end_without_a_line(tmp_path: Path) -> None:
    with connected(tmp_path) as client:
        for octet in b'{"command": "nonsense"}':
            client.send(bytes((octet,)))
        client.shutdown(socket.SHUT_WR)
        assert "error" in json.loads(client.recv(4096))


@pytest.mark.usefixtures("server")
def test_those_that_hang_do_not_keep_others_out(tmp_path: Path) -> None:
    idle = [connected(tmp_path) for _ in range(admin.MAX_CONNECTIONS + 5)]
    assert ask([str(tmp_path / "s")]) == STATUS
    assert idle[0].recv(1) == b""
    for client in idle:
        client.close()


@pytest.mark.usefixtures("server")
def test_those_that_leave_early_do_no_harm(tmp_path: Path) -> None:
    for _ in range(5):
        with connected(tmp_path) as client:
            client.sendall(b'{"command": "status"}\n')
    assert ask([str(tmp_path / "s")]) == STATUS


def test_the_socket_is_its_owners_alone_and_is_removed_at_the_end(tmp_path: Path) -> None:
    loop = Loop()
    server = AdminServer(loop, lambda answer: answer(STATUS))
    server.open(AdminSocket(str(tmp_path / "s"), required=True))
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
    server.open(AdminSocket(str(tmp_path / "t"), required=True))
    assert list(tmp_path.iterdir()) == [tmp_path / "t"]
    server.open(None)
    assert list(tmp_path.iterdir()) == []
    loop.close()


def test_a_socket_that_cannot_be_had_is_an_error_or_a_warning(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    loop = Loop()
    server = AdminServer(loop, lambda answer: answer(STATUS))
    with pytest.raises(AdminError):
        server.open(AdminSocket(str(tmp_path / "s"), required=True))
    server.open(AdminSocket(str(tmp_path / "s"), required=False))
    server.close()
    assert (tmp_path / "s").read_text() == "precious"
    loop.close()


def connected(folder: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(5)
    client.connect(str(folder / "s"))
    return client
