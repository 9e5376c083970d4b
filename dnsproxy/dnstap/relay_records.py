"""What a worker and its supervisor say to each other about a tap that listens: records over a stream socket."""

from __future__ import annotations

import socket
import struct
from collections import deque
from dataclasses import asdict
from enum import IntEnum
from typing import Any, Final, NamedTuple

import trio

from dnsproxy.dnstap.backlog import MAX_FRAME
from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.output import CHUNK_OCTETS, OutputOptions

MAX_PAYLOAD: Final = CHUNK_OCTETS + MAX_FRAME  # octets of a batch: the last frame may go beyond
RECEIVE_OCTETS: Final = 65536

_HEAD: Final = struct.Struct("!BII")  # kind, collector, octets of payload
_NUMBER: Final = struct.Struct("!I")


class Kind(IntEnum):
    """What a record says; the payload is text where nothing else is said."""

    # the supervisor's
    LISTENING = 1  # the answer to a request: at this URL
    REFUSED = 2  # the other answer: why not, and nothing follows
    CAME = 3  # a collector: offer it every frame from now on, and say OFFERING
    CAME_COUNTED = 4  # the same, and this worker is the one whose numbers have it
    CAME_ADOPTED = 5  # the same after another one's end, which has counted its coming
    WRITTEN = 6  # so many octets more of this collector's batch have left; a number
    LEFT = 7  # a collector: why; nothing is written to it any more
    FAILED = 8  # somebody was not let in: why
    # the worker's
    OFFERING = 9  # the answer to CAME
    BATCH = 10  # whole frames for a collector, the next ones after all of these are written
    OPTIONS = 11  # how to listen from now on
    END = 12  # this worker has no more for anybody; the supervisor says it too, behind the last WRITTEN


class Record(NamedTuple):
    """One record; `collector` is 0 where it is about none."""

    kind: int
    collector: int = 0
    payload: bytes = b""

    @property
    def number(self) -> int:
        """The payload of WRITTEN; RecordError when it is none."""
        if len(self.payload) != _NUMBER.size:
            raise RecordError(f"a number of {len(self.payload)} octets")
        return int(_NUMBER.unpack(self.payload)[0])

    @property
    def text(self) -> str:
        """The payload of most."""
        return self.payload.decode(errors="replace")


class RecordError(Exception):
    """The other side said what makes no sense."""


def encode(record: Record) -> bytes:
    """A record's octets."""
    return _HEAD.pack(record.kind, record.collector, len(record.payload)) + record.payload


def written(collector: int, octets: int) -> Record:
    """WRITTEN."""
    return Record(Kind.WRITTEN, collector, _NUMBER.pack(octets))


class RecordDecoder:
    """Cuts octets into records, whatever pieces they come in."""

    def __init__(self) -> None:
        self._octets = bytearray()

    def receive_data(self, data: bytes) -> list[Record]:
        """The records that became whole; RecordError when these are none."""
        self._octets += data
        records = []
        while len(self._octets) >= _HEAD.size:
            kind, collector, octets = _HEAD.unpack_from(self._octets)
            if octets > MAX_PAYLOAD:
                raise RecordError(f"a record of {octets} octets")
            end = _HEAD.size + octets
            if len(self._octets) < end:
                break
            records.append(Record(kind, collector, bytes(self._octets[_HEAD.size : end])))
            del self._octets[:end]
        return records


class RecordStream:
    """One end. `put` never waits: what is put goes out while `send_all` runs. Both sides bound what they put."""

    def __init__(self, sock: socket.socket) -> None:
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._decoder = RecordDecoder()
        self._waiting: deque[bytes] = deque()
        self._is_ending = False
        self._woken = trio.Event()

    def put(self, record: Record, *, last: bool = False) -> None:
        """Queue a record; after the last one `send_all` returns."""
        self._waiting.append(encode(record))
        self._is_ending = self._is_ending or last
        self._woken.set()

    async def send_all(self) -> None:
        """Send what is put; trio.BrokenResourceError when nobody will read it."""
        while self._waiting or not self._is_ending:
            while self._waiting:
                await self._stream.send_all(self._waiting.popleft())
            self._woken = trio.Event()
            if not self._is_ending:
                await self._woken.wait()

    async def receive(self) -> list[Record]:
        """The next records; RecordError when the other side is gone, or makes no sense."""
        while True:
            try:
                data = await self._stream.receive_some(RECEIVE_OCTETS)
            except trio.BrokenResourceError as exc:
                raise RecordError("connection lost") from exc
            if not data:
                raise RecordError("end of stream")
            if records := self._decoder.receive_data(bytes(data)):
                return records

    def close(self) -> None:
        """At once."""
        self._stream.socket.close()


def receive_first(sock: socket.socket) -> Record:
    """The first record, and no octet more, without trio; OSError or RecordError when it does not come."""
    head = _receive(sock, _HEAD.size)
    kind, collector, octets = _HEAD.unpack(head)
    if octets > MAX_PAYLOAD:
        raise RecordError(f"a record of {octets} octets")
    return Record(kind, collector, _receive(sock, octets))


def _receive(sock: socket.socket, octets: int) -> bytes:
    received = b""
    while len(received) < octets:
        part = sock.recv(octets - len(received))
        if not part:
            raise RecordError("end of stream")
        received += part
    return received


def described(options: OutputOptions) -> dict[str, Any]:
    """What whoever listens has to know of them, as JSON takes it."""
    destination, tls = asdict(options.destination), asdict(options.tls)
    return {"name": options.name, "destination": destination, "tls": tls, "keepalive_s": options.keepalive_s}


def understood(body: dict[str, Any]) -> OutputOptions:
    """What `described` was given, as far as it told; TypeError or LookupError when that is something else."""
    return OutputOptions(
        name=body["name"],
        destination=Destination(**body["destination"]),
        tls=TlsOptions(**body["tls"]),
        queue=0,
        queue_octets=0,
        keepalive_s=body["keepalive_s"],
        listening=True,
    )
