"""DNS over dedicated QUIC connections (RFC 9250): a query and its reply on each stream."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from aioquic.quic.events import StreamDataReceived, StreamReset

from dnsproxy.stream import framed
from dnsproxy.upstream.quic.streams import Broken, Event, Reply, Violation, abandon, stop

if TYPE_CHECKING:
    from aioquic.quic.connection import QuicConnection
    from aioquic.quic.events import QuicEvent

ALPN: Final = "doq"
MESSAGE_ID: Final = b"\0\0"  # RFC 9250 section 4.2.1: the stream says what belongs together
LENGTH: Final = 2  # octets before each message
OPENED_BY_PEER_OR_ONE_WAY: Final = 3  # the bits of a stream's number that tell (RFC 9000 section 2.1)


class DoqError(IntEnum):
    """RFC 9250 section 4.3."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 2
    REQUEST_CANCELLED = 3


class DoqStreams:
    """Queries and replies on one connection."""

    no_error = int(DoqError.NO_ERROR)
    is_going = False

    def __init__(self, quic: QuicConnection) -> None:
        self.quic = quic
        self.replies: dict[int, bytearray] = {}  # as far as they have come

    def ask(self, octets: bytes) -> int:
        """As Streams.ask."""
        stream = self.quic.get_next_available_stream_id()
        self.quic.send_stream_data(stream, framed(octets), end_stream=True)
        self.replies[stream] = bytearray()
        return stream

    def cancel(self, stream: int) -> None:
        """As Streams.cancel (RFC 9250 section 4.3.1)."""
        if self.replies.pop(stream, None) is not None:
            abandon(self.quic, stream, DoqError.REQUEST_CANCELLED)

    def received(self, event: QuicEvent) -> list[Event]:
        """As Streams.received (RFC 9250 section 4.3.3)."""
        if isinstance(event, StreamReset) and self.replies.pop(event.stream_id, None) is not None:
            return [Broken(event.stream_id, f"stream reset: {event.error_code:#x}")]
        if not isinstance(event, StreamDataReceived):
            return []
        if event.stream_id & OPENED_BY_PEER_OR_ONE_WAY:
            raise Violation(DoqError.PROTOCOL_ERROR, "the server opens no streams")
        return self._read(event)

    def _read(self, event: StreamDataReceived) -> list[Event]:
        received = self.replies.get(event.stream_id)
        if received is None:  # cancelled, or answered already
            return []
        received += event.data
        end = LENGTH + int.from_bytes(received[:LENGTH], "big") if len(received) >= LENGTH else LENGTH + 1
        if len(received) > end:
            raise Violation(DoqError.PROTOCOL_ERROR, "more than one reply")
        if len(received) == end:
            return [self._reply(event, bytes(received[LENGTH:]))]
        if event.end_stream:
            raise Violation(DoqError.PROTOCOL_ERROR, "the end before that of the reply")
        return []

    def _reply(self, event: StreamDataReceived, octets: bytes) -> Reply:
        """The whole message has come, perhaps without the end of its stream."""
        if octets[:2] != MESSAGE_ID:
            raise Violation(DoqError.PROTOCOL_ERROR, "a message ID that is not 0")
        del self.replies[event.stream_id]
        if not event.end_stream:
            stop(self.quic, event.stream_id, DoqError.NO_ERROR)
        return Reply(event.stream_id, octets)
