"""Datagram sockets on loopback, and both forms of what reads and writes them in batches."""

import errno
import socket
import time

import pytest

from dnsproxy.address import sockaddr_of
from dnsproxy.datagram import PlainReceiver, PlainSender, Receiver, Sender

WITHIN_S = 5.0
V4, V6 = "127.0.0.1", "::1"
RECEIVERS = pytest.mark.parametrize("receiver", [Receiver, PlainReceiver], indirect=True)
SENDERS = pytest.mark.parametrize("sender", [Sender, PlainSender], indirect=True)
HOSTS = pytest.mark.parametrize("host", [V4, V6])
SIZES = [0, 1, 4000, 12, 65000, 3, 512, 65000, 7]


class Sockets:
    """Bound loopback sockets with room, closed at the end of the test."""

    def __init__(self) -> None:
        self.made: list[socket.socket] = []

    def __call__(self, host: str = V4, port: int = 0) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.made.append(sock)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        sock.bind((host, port))
        return sock

    def pair(self, host: str = V4) -> tuple[socket.socket, socket.socket]:
        """Two that are connected to each other."""
        one, other = self(host), self(host)
        one.connect(other.getsockname())
        other.connect(one.getsockname())
        return one, other

    def refused(self) -> tuple[socket.socket, socket.socket]:
        """One with an error of its peer's end pending, and another socket in that peer's place."""
        ours, theirs = self.pair()
        address = theirs.getsockname()
        theirs.close()
        is_refused(ours)
        return ours, self(*address)


def name_of(sock: socket.socket) -> bytes:
    return sockaddr_of(sock.getsockname())


def content(size: int, number: int) -> bytes:
    return bytes((number % 256,)) * size


def is_refused(sock: socket.socket) -> None:
    """Wait until the kernel has an error for a connected socket whose peer is gone."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        sock.send(b"is anybody there?")
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED:
            break
    sock.send(b"the error of this one is pending")
