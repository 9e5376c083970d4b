"""Clients: one datagram and its answer, silence told from slowness, and a TCP connection under full control."""

import contextlib
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

import dns.message

ANSWER_WITHIN_S = 6.0  # longer than the proxy's default deadline: whoever gets nothing by then gets nothing
SILENCE_S = 0.3  # what would be answered at all is answered in a millisecond
MAX_MESSAGE = 65_535


def ask(wire: bytes, port: int, *, host: str = "127.0.0.1", tcp: bool = False) -> dns.message.Message:
    """The parsed answer to one query."""
    send = exchange_tcp if tcp else exchange
    return dns.message.from_wire(send(wire, port, host=host))


def exchange(wire: bytes, port: int, *, host: str = "127.0.0.1", source: str | None = None) -> bytes:
    """The octets of the answer to one datagram, which must come from where the query went."""
    with udp_socket(port, host=host, source=source) as client:
        client.send(wire)
        return client.recv(MAX_MESSAGE)


def exchange_tcp(wire: bytes, port: int, *, host: str = "127.0.0.1", source: str | None = None) -> bytes:
    with TcpClient(port, host=host, source=source) as client:
        client.send(wire)
        return client.receive()


@contextlib.contextmanager
def udp_socket(port: int, *, host: str = "127.0.0.1", source: str | None = None) -> Iterator[socket.socket]:
    """A connected socket: the kernel drops whatever comes from elsewhere."""
    with socket.socket(_family(host), socket.SOCK_DGRAM) as client:
        if source is not None:
            client.bind((source, 0))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        client.settimeout(ANSWER_WITHIN_S)
        client.connect((host, port))
        yield client


def is_silent(wire: bytes, port: int, *, source: str | None = None) -> bool:
    """Whether nothing at all comes back."""
    with udp_socket(port, source=source) as client:
        client.settimeout(SILENCE_S)
        client.send(wire)
        try:
            client.recv(MAX_MESSAGE)
        except (TimeoutError, ConnectionRefusedError):
            return True
        return False


def answers(client: socket.socket, wanted: int, *, within_s: float = ANSWER_WITHIN_S) -> list[bytes]:
    """Up to `wanted` datagrams that arrive before the time is up."""
    end, found = time.monotonic() + within_s, list[bytes]()
    while len(found) < wanted and (left_s := end - time.monotonic()) > 0:
        client.settimeout(left_s)
        with contextlib.suppress(TimeoutError):
            found.append(client.recv(MAX_MESSAGE))
    return found


class TcpClient:
    """A DNS client over TCP; `receive` gives whole messages in the order they come."""

    def __init__(self, port: int, *, host: str = "127.0.0.1", source: str | None = None) -> None:
        self.socket = socket.socket(_family(host), socket.SOCK_STREAM)
        self.socket.settimeout(ANSWER_WITHIN_S)
        try:
            if source is not None:
                self.socket.bind((source, 0))
            self.socket.connect((host, port))
        except BaseException:
            self.socket.close()
            raise
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    @property
    def address(self) -> tuple[str, int]:
        host, port, *_ = self.socket.getsockname()
        return host, port

    def send(self, *wires: bytes) -> None:
        """All of these in one write."""
        self.socket.sendall(b"".join(framed(wire) for wire in wires))

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def receive(self) -> bytes:
        """The next message; EOFError when the other side closes first."""
        (length,) = struct.unpack("!H", self._take(2))
        return self._take(length)

    def receive_all(self, wanted: int) -> list[bytes]:
        return [self.receive() for _ in range(wanted)]

    def closed_within(self, seconds: float) -> bool:
        """Whether the other side closes (or resets) in that time, without another message."""
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        finally:
            self.socket.settimeout(ANSWER_WITHIN_S)

    def _take(self, octets: int) -> bytes:
        while len(self._received) < octets:
            chunk = self.socket.recv(MAX_MESSAGE)
            if not chunk:
                raise EOFError(f"closed with {len(self._received)} of {octets} octets")
            self._received += chunk
        taken, self._received = self._received[:octets], self._received[octets:]
        return taken


def framed(wire: bytes) -> bytes:
    """A message with its length in front, as TCP wants it."""
    return struct.pack("!H", len(wire)) + wire


def by_id(wires: Sequence[bytes]) -> dict[int, bytes]:
    return {int.from_bytes(wire[:2]): wire for wire in wires}


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET
