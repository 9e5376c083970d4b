"""What collectors have in common: streams read in threads, messages kept, and ways to be slow, stalled or rude."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support.dnstap_decoder import TapMessage, decode
from tests.support.framestreams import ACCEPT, FINISH, READY, START, STOP, FrameBuffer, control_frame
from tests.support.tls import TlsStream

RECEIVE_OCTETS = 1 << 18
JOIN_S = 10.0

Stream = socket.socket | TlsStream


@dataclass(eq=False)
class Receiver:
    """The receiving side of Frame Streams; subclasses say how connections come about."""

    address: str  # `unix:///path` or `tcp://host:port`
    silent: bool = False  # never says ACCEPT
    keeps: bool = True  # the messages; `received` counts them anyway
    lingers: bool = False  # leaves the connection open after FINISH, as golang-dnstap does
    crawl_s: float = 0.0  # for each octet after START; 0 is as fast as it can
    tls: ssl.SSLContext | None = None
    received: int = 0
    received_octets: int = 0  # of data frames, lengths included
    messages: list[TapMessage] = field(default_factory=list)
    arrivals_s: list[float] = field(default_factory=list)  # of the messages, monotonic
    connections_made: int = 0
    handshakes: int = 0  # those of them that got as far as START
    stops: int = 0  # STOP frames, each answered with FINISH
    breaks: int = 0  # connections that ended without STOP
    refused: int = 0  # TLS handshakes that failed
    certificates: list[bytes | None] = field(default_factory=list)  # of the senders, one for each TLS connection
    per_connection: list[int] = field(default_factory=list)  # messages, in the order of connecting

    def __post_init__(self) -> None:
        self._arrival = threading.Condition()
        self._flowing = threading.Event()
        self._flowing.set()
        self._over = threading.Event()
        self._killed = False
        self._streams: dict[socket.socket, threading.Thread] = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """Reads what the senders' kernel has already taken, and no more: over unix sockets nothing sent is lost."""
        self._end(socket.SHUT_RD)

    def kill(self) -> None:
        """Closes everything at once; what lies unread in the kernel is lost."""
        self._end(socket.SHUT_RDWR)

    def stall(self) -> None:
        """Stays connected and reads nothing more, after what it may be waiting for right now."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def wait_for(self, count: int, type: str | None = None, *, within_s: float = 5.0) -> list[TapMessage]:
        """The messages (of one type) once there are so many; AssertionError when they don't come."""
        self.wait_until(lambda: len(self.of_type(type)) >= count, f"{count} messages {type or ''}", within_s=within_s)
        return self.of_type(type)

    def of_type(self, type: str | None) -> list[TapMessage]:
        return [message for message in list(self.messages) if type in (None, message.type)]

    def of(self, identity: str) -> list[TapMessage]:
        """The messages of the tap with this identity, in the order of arrival."""
        return [message for message in list(self.messages) if message.identity == identity]

    def about(self, qname_label: str) -> list[TapMessage]:
        """The messages whose own octets carry this label, in the order of arrival (needs `full`)."""
        label = bytes((len(qname_label),)) + qname_label.encode().lower()
        return [message for message in list(self.messages) if label in (message.wire or b"").lower()]

    def wait_about(self, qname_label: str, count: int, *, within_s: float = 5.0) -> list[TapMessage]:
        what = f"{count} messages about {qname_label}"
        self.wait_until(lambda: len(self.about(qname_label)) >= count, what, within_s=within_s)
        return self.about(qname_label)

    def wait_until(self, holds: Callable[[], bool], what: str, *, within_s: float = 5.0) -> None:
        with self._arrival:
            reached = self._arrival.wait_for(holds, within_s)
        assert reached, f"{what} did not come; there are {[message.type for message in self.messages]}"

    def _add(self, raw: socket.socket) -> None:
        """Reads this connection in a thread of its own."""
        number, self.connections_made = self.connections_made, self.connections_made + 1
        self.per_connection.append(0)
        reader = threading.Thread(target=self._serve, args=[raw, number], daemon=True)
        self._streams[raw] = reader
        reader.start()

    def _serve(self, raw: socket.socket, number: int) -> None:
        try:
            stream = self._stream(raw)
        except OSError:
            self._leave(raw, "refused")
            return
        state = self._read(stream, number)
        if state == STOP and self.lingers:
            self._chunk(stream, state)
        self._leave(raw, "stops" if state == STOP else "breaks")

    def _stream(self, raw: socket.socket) -> Stream:
        if self.tls is None:
            return raw
        stream = TlsStream(raw, self.tls, host="127.0.0.1")
        self.certificates.append(stream.peer)
        return stream

    def _read(self, stream: Stream, number: int) -> int:
        """To STOP or the end of the connection; gives the last kind of control frame."""
        buffer, state = FrameBuffer(), 0
        while state != STOP and (chunk := self._chunk(stream, state)):
            state = self._take(stream, buffer.feed(chunk), state, number)
        return state

    def _chunk(self, stream: Stream, state: int) -> bytes:
        self._flowing.wait()
        if state == START and self.crawl_s:
            self._over.wait(self.crawl_s)
        if self._killed:
            return b""
        try:
            return stream.recv(1 if self.crawl_s else RECEIVE_OCTETS)
        except OSError:
            return b""

    def _take(self, stream: Stream, frames: list[tuple[int, bytes]], state: int, number: int) -> int:
        for kind, payload in frames:
            if kind == READY and not self.silent:
                _send(stream, control_frame(ACCEPT, content_type=True))
            elif kind == STOP:
                _send(stream, control_frame(FINISH))
            elif kind == 0:
                assert state == START, "a data frame before START"
                self._keep(payload, number)
                continue
            elif kind == START:
                self.handshakes += 1
            state = kind
        return state

    def _keep(self, payload: bytes, number: int) -> None:
        with self._arrival:
            self.received += 1
            self.received_octets += 4 + len(payload)
            self.per_connection[number] += 1
            if self.keeps:
                self.messages.append(decode(payload))
                self.arrivals_s.append(time.monotonic())
                self._arrival.notify_all()

    def _leave(self, raw: socket.socket, how: str) -> None:
        with self._arrival:
            setattr(self, how, getattr(self, how) + 1)
            self._streams.pop(raw, None)
            self._arrival.notify_all()
        raw.close()

    def _end(self, how: int) -> None:
        self._killed = how == socket.SHUT_RDWR
        self._flowing.set()
        self._over.set()
        crawl_s, self.crawl_s = self.crawl_s, 0.0
        streams = dict(self._streams)
        for raw in streams:
            shut(raw, how)
        for reader in streams.values():
            reader.join(JOIN_S)
        self._over.clear()
        self.crawl_s, self._killed = crawl_s, False


def shut(raw: socket.socket, how: int) -> None:
    try:
        raw.shutdown(how)
    except OSError:
        pass  # closed already


def wait_until(holds: Callable[[], bool], what: str, *, within_s: float = 5.0, every_s: float = 0.02) -> None:
    """Looks again and again; AssertionError when it doesn't become true in time."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        time.sleep(every_s)


def _send(stream: Stream, octets: bytes) -> None:
    try:
        stream.sendall(octets)
    except OSError:
        pass  # the sender has gone; its loss shows as a break
