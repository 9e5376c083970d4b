"""What a supervisor and a worker say to each other: messages with descriptors, over a stream socket, never waiting."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

MAX_MESSAGE: Final = 256 * 2**20  # octets; a configuration with its zone data is the longest
MAX_DESCRIPTORS: Final = 200  # with one message; the kernel takes 253 (SCM_MAX_FD)
RECEIVE_OCTETS: Final = 65536
OWN_SIGNALS: Final = (signal.SIGINT, signal.SIGHUP)  # a terminal sends them to workers too, which leave them to us

_LENGTH = struct.Struct("!I")
_DESCRIPTOR = struct.Struct("@i")


class ControlError(Exception):
    """The other side said what makes no sense; nothing that follows can be understood."""


class Closed(ControlError):
    """The other side is gone."""


class Message(NamedTuple):
    """One message; its descriptors belong to whoever receives it."""

    kind: str
    body: dict[str, Any]
    descriptors: tuple[int, ...] = ()


def encode(kind: str, body: dict[str, Any], descriptors: int = 0) -> bytes:
    """A message's octets; how many descriptors travel with it is part of them."""
    text = json.dumps([kind, body, descriptors]).encode()
    return _LENGTH.pack(len(text)) + text


class Decoder:
    """Cuts octets into messages, whatever pieces they come in: (kind, body, number of descriptors)."""

    def __init__(self) -> None:
        self._octets = bytearray()

    def receive_data(self, data: bytes) -> list[tuple[str, dict[str, Any], int]]:
        """The messages that became whole; ControlError when these are none."""
        self._octets += data
        found = []
        while len(self._octets) >= _LENGTH.size:
            length = _LENGTH.unpack_from(self._octets)[0]
            if length > MAX_MESSAGE:
                raise ControlError(f"a message of {length} octets")
            end = _LENGTH.size + length
            if len(self._octets) < end:
                break
            found.append(_parse(bytes(self._octets[_LENGTH.size : end])))
            del self._octets[:end]
        return found


def _parse(text: bytes) -> tuple[str, dict[str, Any], int]:
    try:
        kind, body, descriptors = json.loads(text)
    except (ValueError, TypeError, RecursionError) as exc:
        raise ControlError("no message") from exc
    if type(kind) is not str or type(body) is not dict or type(descriptors) is not int:
        raise ControlError("a message of other parts")
    if not 0 <= descriptors <= MAX_DESCRIPTORS:
        raise ControlError(f"a message with {descriptors} descriptors")
    return kind, body, descriptors


@dataclass
class _Outgoing:
    octets: memoryview
    descriptors: list[int] = field(default_factory=list)  # travel with the first octet; ours until then

    def close(self) -> None:
        while self.descriptors:
            os.close(self.descriptors.pop())


class Channel:
    """One end. Nothing here waits: whoever owns it knows when the socket is readable or writable."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._decoder = Decoder()
        self._outgoing: deque[_Outgoing] = deque()
        self._descriptors: deque[int] = deque()  # received, of messages that are not whole yet

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.sock.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether something waits for the kernel to take it."""
        return bool(self._outgoing)

    def put(self, kind: str, body: dict[str, Any] | None = None, descriptors: Iterable[int] = ()) -> None:
        """Queue a message. Of the descriptors duplicates are sent: the originals may be closed at once."""
        duplicates = [os.dup(descriptor) for descriptor in descriptors]
        octets = encode(kind, body or {}, len(duplicates))
        self._outgoing.append(_Outgoing(memoryview(octets), duplicates))

    def flush(self) -> None:
        """Send what the kernel takes; Closed when nobody will read it."""
        while self._outgoing:
            first = self._outgoing[0]
            try:
                sent = self.sock.sendmsg([first.octets], _ancillary(first.descriptors))
            except (BlockingIOError, InterruptedError):
                return
            except OSError as exc:
                raise Closed(os.strerror(exc.errno or 0)) from exc
            first.close()
            first.octets = first.octets[sent:]
            if not first.octets:
                self._outgoing.popleft()

    def receive(self) -> list[Message]:
        """The messages that have come whole, none when there is nothing to read.

        Closed when the other side is gone, ControlError when it makes no sense.
        """
        data = self._read()
        return [] if data is None else [self._with_descriptors(*parts) for parts in self._decoder.receive_data(data)]

    def _read(self) -> bytes | None:
        room = socket.CMSG_SPACE(MAX_DESCRIPTORS * _DESCRIPTOR.size)
        try:
            data, ancillary, _flags, _ = self.sock.recvmsg(RECEIVE_OCTETS, room, socket.MSG_CMSG_CLOEXEC)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as exc:
            raise Closed(os.strerror(exc.errno or 0)) from exc
        for level, kind, octets in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                whole = len(octets) - len(octets) % _DESCRIPTOR.size
                self._descriptors.extend(number for (number,) in _DESCRIPTOR.iter_unpack(octets[:whole]))
        if not data:
            raise Closed("end of stream")
        return data

    def _with_descriptors(self, kind: str, body: dict[str, Any], count: int) -> Message:
        if count > len(self._descriptors):
            raise ControlError(f"{count} descriptors announced, {len(self._descriptors)} came")
        return Message(kind, body, tuple(self._descriptors.popleft() for _ in range(count)))

    def close(self) -> None:
        """Close the socket, and every descriptor on its way."""
        self.sock.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())
        while self._outgoing:
            self._outgoing.popleft().close()

    def __repr__(self) -> str:
        return f"<Channel {self.sock.fileno()}, {len(self._outgoing)} messages waiting>"


def _ancillary(descriptors: list[int]) -> list[tuple[int, int, bytes]]:
    if not descriptors:
        return []
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"".join(map(_DESCRIPTOR.pack, descriptors)))]
