"""A wire between two sockets: lets a program that only listens collect from a tap that only listens."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.support.collector import connect
from tests.support.receiver import shut

CHUNK_OCTETS = 1 << 16


@contextlib.contextmanager
def bridge(one: str, other: str) -> Iterator[None]:
    """Dials both addresses and carries octets both ways, until either side closes or the block ends."""
    with connect(one) as left, connect(other) as right:
        threads = [threading.Thread(target=_carry, args=pair) for pair in ((left, right), (right, left))]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for end in (left, right):
                shut(end, socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def _carry(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while chunk := source.recv(CHUNK_OCTETS):
            sink.sendall(chunk)
        sink.shutdown(socket.SHUT_WR)
