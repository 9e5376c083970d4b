"""A dnstap collector in threads: it receives Frame Streams, and can be stopped, killed, restarted, stalled or rude."""

import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.dnstap_decoder import TapMessage, decode
from tests.support.ports import free_port

ACCEPT, START, STOP, READY, FINISH = 1, 2, 3, 4, 5
CONTENT_TYPE = b"protobuf:dnstap.Dnstap"
RECEIVE_OCTETS = 1 << 18


def control_frame(kind: int, *, content_type: bool = False) -> bytes:
    typed = struct.pack("!II", 1, len(CONTENT_TYPE)) + CONTENT_TYPE if content_type else b""
    return struct.pack("!III", 0, 4 + len(typed), kind) + typed


@dataclass
class FrameBuffer:
    """Frame Streams cut out of octets: `(kind, payload)`, kind 0 for data frames."""

    octets: bytes = b""

    def feed(self, chunk: bytes) -> list[tuple[int, bytes]]:
        self.octets += chunk
        frames = list[tuple[int, bytes]]()
        at = 0
        while (end := self._end(at)) is not None:
            frames.append(self._frame(at, end))
            at = end
        self.octets = self.octets[at:]
        return frames

    def _end(self, at: int) -> int | None:
        """Where the frame at `at` ends, None while it isn't there as a whole."""
        if len(self.octets) < at + 8:
            return None
        length, control = struct.unpack_from("!II", self.octets, at)
        end = int(at + 8 + control if length == 0 else at + 4 + length)
        return end if end <= len(self.octets) else None

    def _frame(self, at: int, end: int) -> tuple[int, bytes]:
        if self.octets[at : at + 4] == b"\0\0\0\0":
            return int.from_bytes(self.octets[at + 8 : at + 12]), self.octets[at + 12 : end]
        return 0, self.octets[at + 4 : end]


@dataclass(eq=False)
class Collector:
    """Listens on `address` (`unix:///path` or `tcp://host:port`) from `start` to `stop` or `kill`; may start again."""

    address: str
    silent: bool = False  # accepts connections and never says ACCEPT
    keeps: bool = True  # the messages; `received` counts them anyway
    received: int = 0
    messages: list[TapMessage] = field(default_factory=list)
    connections_made: int = 0
    stops: int = 0  # STOP frames, each answered with FINISH
    breaks: int = 0  # connections that ended without STOP

    def __post_init__(self) -> None:
        self._arrival = threading.Condition()
        self._flowing = threading.Event()
        self._flowing.set()
        self._streams: dict[socket.socket, threading.Thread] = {}
        self._listening: socket.socket | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        self._listening = listen(self.address)
        self._acceptor = threading.Thread(target=self._accept, args=[self._listening], daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Refuses more, but reads what the senders' kernel has already taken: nothing that counts as sent is lost."""
        self._flowing.set()
        self._end(socket.SHUT_RD)

    def kill(self) -> None:
        """Closes everything at once; what lies unread in the kernel is lost."""
        self._flowing.set()
        self._end(socket.SHUT_RDWR)

    def stall(self) -> None:
        """Stays connected and reads nothing more."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def wait_for(self, count: int, type: str | None = None, *, within_s: float = 5.0) -> list[TapMessage]:
        """The messages (of one type) once there are so many; AssertionError when they don't come."""
        self.wait_until(lambda: len(self.of_type(type)) >= count, f"{count} messages {type or ''}", within_s=within_s)
        return self.of_type(type)

    def of_type(self, type: str | None) -> list[TapMessage]:
        return [message for message in list(self.messages) if type in (None, message.type)]

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

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                stream, _ = listening.accept()
            except OSError:
                return
            self.connections_made += 1
            reader = threading.Thread(target=self._read, args=[stream], daemon=True)
            self._streams[stream] = reader
            reader.start()

    def _read(self, stream: socket.socket) -> None:
        buffer, state = FrameBuffer(), 0
        while state != STOP:
            self._flowing.wait()
            try:
                chunk = stream.recv(RECEIVE_OCTETS)
            except OSError:
                chunk = b""
            if not chunk:
                break
            state = self._take(stream, buffer.feed(chunk), state)
        with self._arrival:
            self.stops, self.breaks = self.stops + (state == STOP), self.breaks + (state != STOP)
            self._streams.pop(stream, None)
            self._arrival.notify_all()
        stream.close()

    def _take(self, stream: socket.socket, frames: list[tuple[int, bytes]], state: int) -> int:
        for kind, payload in frames:
            if kind == READY and not self.silent:
                _send(stream, control_frame(ACCEPT, content_type=True))
            elif kind == STOP:
                _send(stream, control_frame(FINISH))
            elif kind == 0:
                assert state == START, "a data frame before START"
                self._keep(payload)
                continue
            state = kind
        return state

    def _keep(self, payload: bytes) -> None:
        with self._arrival:
            self.received += 1
            if self.keeps:
                self.messages.append(decode(payload))
                self._arrival.notify_all()

    def _end(self, how: int) -> None:
        if self._listening is None:
            return
        listening, self._listening = self._listening, None
        _shut(listening, socket.SHUT_RDWR)
        self._acceptor.join()
        listening.close()
        _remove(self.address)
        streams = dict(self._streams)
        for stream in streams:
            _shut(stream, how)
        for reader in streams.values():
            reader.join(10)


def unix_address(folder: Path, name: str = "tap.sock") -> str:
    return f"unix://{folder / name}"


def tcp_address() -> str:
    return f"tcp://127.0.0.1:{free_port()}"


def listen(address: str) -> socket.socket:
    """A listening socket on `unix:///path` or `tcp://host:port`."""
    kind, _, rest = address.partition("://")
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    host, _, port = rest.rpartition(":")
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(rest if kind == "unix" else (host, int(port)))
        listening.listen(16)
    except OSError:
        listening.close()
        raise
    return listening


def wait_until(holds: Callable[[], bool], what: str, *, within_s: float = 5.0, every_s: float = 0.02) -> None:
    """Looks again and again; AssertionError when it doesn't become true in time."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"not within {within_s} s: {what}"
        time.sleep(every_s)


def _send(stream: socket.socket, octets: bytes) -> None:
    try:
        stream.sendall(octets)
    except OSError:
        pass  # the sender has gone; its loss shows as a break


def _shut(stream: socket.socket, how: int) -> None:
    try:
        stream.shutdown(how)
    except OSError:
        pass  # closed already


def _remove(address: str) -> None:
    if address.startswith("unix://"):
        Path(address.removeprefix("unix://")).unlink(missing_ok=True)
