"""DoH over HTTP/3 (RFC 8484, RFC 9114): a request and its response on each stream of a QUIC connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from aioquic.h3.connection import ErrorCode, H3Connection
from aioquic.h3.events import DataReceived, H3Event, HeadersReceived
from aioquic.quic.events import StreamDataReceived, StreamReset

from dnsproxy.upstream.http.messages import BadResponse, ResponseReader
from dnsproxy.upstream.quic.h3_goaway import GoawayReader
from dnsproxy.upstream.quic.streams import Broken, Event, Reply, Violation, abandon

if TYPE_CHECKING:
    from aioquic.quic.connection import QuicConnection
    from aioquic.quic.events import QuicEvent

    from dnsproxy.upstream.http.messages import Requests

ALPN: Final = "h3"
MAX_RESPONSE: Final = 96 * 1024  # octets of one stream: a whole DNS message with its headers
MAX_BESIDE: Final = 256 * 1024  # octets of settings and header tables between two responses
ONE_WAY_FROM_SERVER: Final = 3  # the bits of such a stream's number (RFC 9000 section 2.1)


class H3Streams:
    """Requests and responses on one connection, which has shaken hands."""

    no_error = int(ErrorCode.H3_NO_ERROR)

    def __init__(self, quic: QuicConnection, requests: Requests) -> None:
        self.quic = quic
        self.h3 = H3Connection(quic)
        self.requests = requests
        self.responses: dict[int, ResponseReader] = {}
        self.sizes: dict[int, int] = {}
        self.beside = 0
        self.goaways = GoawayReader()
        self.is_going = False

    def ask(self, octets: bytes) -> int:
        """As Streams.ask."""
        headers, body = self.requests.make(octets)
        stream = self.quic.get_next_available_stream_id()
        self.h3.send_headers(stream, headers, end_stream=not body)
        if body:
            self.h3.send_data(stream, body, end_stream=True)
        self.responses[stream] = ResponseReader()
        self.sizes[stream] = 0
        return stream

    def cancel(self, stream: int) -> None:
        """As Streams.cancel (RFC 9114 section 4.1.1)."""
        if self._drop(stream):
            abandon(self.quic, stream, ErrorCode.H3_REQUEST_CANCELLED)

    def received(self, event: QuicEvent) -> list[Event]:
        """As Streams.received. What aioquic itself finds wrong closes the connection."""
        events: list[Event] = []
        if isinstance(event, StreamDataReceived):
            self._limit(event)
            if event.stream_id & ONE_WAY_FROM_SERVER == ONE_WAY_FROM_SERVER:
                events += self._go(self.goaways.receive_data(event.stream_id, event.data))
        for happened in self.h3.handle_event(event):
            events += self._happened(happened)
        if isinstance(event, StreamReset) and self._drop(event.stream_id):
            rejected = event.error_code == ErrorCode.H3_REQUEST_REJECTED  # safe to try again: RFC 9114 section 4.1.1
            events.append(Broken(event.stream_id, f"stream reset: {event.error_code:#x}", rejected))
        return events

    def _limit(self, event: StreamDataReceived) -> None:
        """Nobody makes us keep more than an answer takes."""
        size = self.sizes.get(event.stream_id)
        if size is None:
            self.beside += len(event.data)
        else:
            self.sizes[event.stream_id] = size = size + len(event.data)
        if self.beside > MAX_BESIDE or (size or 0) > MAX_RESPONSE:
            raise Violation(ErrorCode.H3_EXCESSIVE_LOAD, "more than an answer takes")

    def _go(self, last: int | None) -> list[Event]:
        """After GOAWAY the streams from `last` on will bring nothing (RFC 9114 section 5.2)."""
        if last is None:
            return []
        self.is_going = True
        lost = [stream for stream in self.responses if stream >= last]
        for stream in lost:
            self._drop(stream)
        return [Broken(stream, "connection is going away", is_unprocessed=True) for stream in lost]

    def _happened(self, event: H3Event) -> list[Event]:
        if not isinstance(event, HeadersReceived | DataReceived) or event.push_id is not None:
            return []
        response = self.responses.get(event.stream_id)
        if response is None:  # cancelled
            return []
        try:
            _read(response, event)
            if not event.stream_ended:
                return []
            reply = Reply(event.stream_id, response.end(), response.age)
        except BadResponse as exc:
            self.cancel(event.stream_id)
            return [Broken(event.stream_id, str(exc))]
        self._drop(event.stream_id)
        self.beside = 0
        return [reply]

    def _drop(self, stream: int) -> bool:
        self.sizes.pop(stream, None)
        return self.responses.pop(stream, None) is not None


def _read(response: ResponseReader, event: HeadersReceived | DataReceived) -> None:
    if isinstance(event, DataReceived):
        response.receive_data(event.data)
    elif not response.has_headers and not _is_interim(event):  # else they are trailers, in which nothing is of use
        response.receive_headers(event.headers)


def _is_interim(event: HeadersReceived) -> bool:
    return any(name == b":status" and value.startswith(b"1") for name, value in event.headers)
