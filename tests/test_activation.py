"""Sockets that somebody else has bound for us."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnsproxy.activation import Passed, passed_sockets
from dnsproxy.sockets import Place, bind_all, bind_shared, close_all
from tests.conftest import StartProxy
from tests.support import wire
from tests.support.client import exchange, exchange_tcp
from tests.support.ports import free_port
from tests.support.toml import forward
from tests.support.upstream import HostileUpstream

# binds one port over UDP and TCP as systemd would, and becomes the command behind it
LAUNCHER = """
import os, socket, sys
port, *command = sys.argv[1:]
for descriptor, kind in ((3, socket.SOCK_DGRAM), (4, socket.SOCK_STREAM)):
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", int(port)))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    os.dup2(sock.fileno(), descriptor)
    os.set_inheritable(descriptor, True)
    sock.detach()
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2", LISTEN_FDNAMES="a:b")
os.execvp(command[0], command)
"""


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


def place_of(sock: socket.socket) -> Place:
    return Place("udp", *sock.getsockname())


def test_a_passed_socket_is_taken_where_it_fits_and_again_after_it_was_closed(udp: socket.socket) -> None:
    passed = Passed([udp])
    for _ in range(2):
        bound = bind_all([place_of(udp)], passed=passed)
        assert [sock.getsockname() for sock in bound.values()] == [udp.getsockname()]
        assert not any(sock.getblocking() for sock in bound.values())
        close_all(bound)
    assert passed.take("tcp", *udp.getsockname()) is None


def test_all_workers_share_a_passed_socket_and_divide_the_others(udp: socket.socket) -> None:
    other = Place("udp", "127.0.0.1", free_port())
    shared = bind_shared([place_of(udp), other], 2, passed=Passed([udp]))
    inodes = [[os.fstat(sockets[place].fileno()).st_ino for sockets in shared] for place in (place_of(udp), other)]
    assert len(set(inodes[0])) == 1
    assert len(set(inodes[1])) == 2
    for sockets in shared:
        close_all(sockets)


def test_what_nobody_listens_on_is_named(udp: socket.socket, caplog: pytest.LogCaptureFixture) -> None:
    passed = Passed([udp])
    passed.warn_of_unused()
    assert f"127.0.0.1 port {udp.getsockname()[1]}" in caplog.text
    caplog.clear()
    bound = bind_all([place_of(udp)], passed=passed)
    passed.warn_of_unused()
    assert caplog.text == ""
    close_all(bound)


def test_what_is_no_socket_for_queries_is_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_UNIX) as unix, socket.socket() as idle:
        Passed([unix, idle])
        assert (unix.fileno(), idle.fileno()) == (-1, -1)
    assert caplog.text.count("a socket was passed that is no") == 2


@pytest.mark.parametrize(
    "environment", [{}, {"LISTEN_PID": "1", "LISTEN_FDS": "1"}, {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "x"}]
)
def test_variables_for_others_are_left_alone_but_not_passed_on(environment: dict[str, str]) -> None:
    passed_sockets(environment).warn_of_unused()
    assert environment == {}


@pytest.mark.parametrize("workers", [1, 2])
def test_the_proxy_serves_on_the_sockets_of_systemd(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path, workers: int
) -> None:
    port = free_port()
    prefix = [sys.executable, "-c", LAUNCHER, str(port)]
    proxy = start_proxy(f"workers = {workers}\n" + forward(upstream), port=port, prefix=prefix)
    for number in range(8):
        assert wire.rcode(exchange(wire.query(f"u{number}.example.org"), port)) == 0
        assert wire.rcode(exchange_tcp(wire.query(f"t{number}.example.org"), port)) == 0
    assert "was passed" not in proxy.log
    assert proxy.status()["listeners"][0]["queries"] == 8
