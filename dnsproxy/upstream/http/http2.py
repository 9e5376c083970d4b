"""The client's side of one HTTP/2 connection (RFC 9113): bytes in, responses out, no socket and no clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError, StreamClosedError
from h2.settings import SettingCodes, Settings
from hpack import NeverIndexedHeaderTuple

from dnsproxy.upstream.http.goaway import FrameTooLong, GoawayFilter
from dnsproxy.upstream.http.messages import BadResponse, ResponseReader

if TYPE_CHECKING:
    from collections.abc import Callable

    from dnsproxy.upstream.http.messages import Headers

ALPN: Final = "h2"
WINDOW: Final = 1024 * 1024  # octets of responses that may be on their way at once on a connection
STREAMS_ASSUMED: Final = 100  # until the peer says how many; RFC 9113 section 6.5.2 recommends no fewer
STREAMS_AT_MOST: Final = 1000  # even if the peer takes more: h2 counts them all for each new one
LAST_STREAM_ID: Final = 1 << 30  # half of what there are; then the connection is replaced
MAX_HEADERS: Final = 16_384  # octets of one response's headers
PATH: Final = b":path"
PING: Final = b"dnsproxy"

_SETTINGS: Final = {
    SettingCodes.ENABLE_PUSH: 0,
    SettingCodes.MAX_CONCURRENT_STREAMS: STREAMS_ASSUMED,
    SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADERS,
}

# Our headers are well formed, and of the peer's only three are looked at: 9 of 90 µs where it sends two, as usual more
_CONFIGURATION: Final = H2Configuration(
    validate_outbound_headers=False,
    normalize_outbound_headers=False,
    validate_inbound_headers=False,
    normalize_inbound_headers=False,
)


class Http2Error(Exception):
    """The peer has broken the protocol: what `outgoing` gives is still to be sent, then the connection is over."""


class Reply(NamedTuple):
    """A stream has ended well: its body, and how many seconds that lay in caches."""

    stream: int
    octets: bytes
    age: int


class Broken(NamedTuple):
    """A stream has ended otherwise; `is_unprocessed` promises that the query was not looked at."""

    stream: int
    why: str
    is_unprocessed: bool


class Sent(NamedTuple):
    """The rest of a query that had waited for flow control is in `outgoing`."""

    stream: int


Event = Reply | Broken | Sent


class Http2:
    """Opens streams and reads responses. After a GOAWAY (`is_going`) the streams up to its last one go on.

    `streams_at_most` is a guess until the peer says how many it takes.
    """

    def __init__(self, streams_at_most: int = STREAMS_ASSUMED) -> None:
        self.h2 = H2Connection(_CONFIGURATION)
        self.h2.local_settings = Settings(client=True, initial_values=_SETTINGS)
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(WINDOW)
        self.goaways = GoawayFilter()
        self.responses: dict[int, ResponseReader] = {}
        self.unsent: dict[int, memoryview] = {}  # of bodies, until the peer's windows let them out
        self.streams_at_most = max(1, min(STREAMS_ASSUMED, streams_at_most))
        self.is_going = False
        self.events: list[Event] = []
        self.handlers: dict[type, Callable[[Any], None]] = {
            ResponseReceived: self._headers_received,
            DataReceived: self._data_received,
            StreamEnded: self._stream_ended,
            StreamReset: self._stream_reset,
            TrailersReceived: _passed_over,
            WindowUpdated: self._window_grown,
            RemoteSettingsChanged: self._settings_changed,
        }

    @property
    def has_room(self) -> bool:
        """Whether another stream may be opened now."""
        return len(self.responses) < self.streams_at_most and not self.is_going

    def open(self, headers: Headers, body: bytes) -> int:
        """Begin a stream; `is_sent` says whether all of it is in `outgoing`. Only where there is room."""
        stream: int = self.h2.get_next_available_stream_id()
        self.is_going = stream >= LAST_STREAM_ID
        self.h2.send_headers(stream, headers if body else _path_unindexed(headers), end_stream=not body)
        self.responses[stream] = ResponseReader()
        if body:
            self.unsent[stream] = memoryview(body)
            self._send_body(stream)
        return stream

    def is_sent(self, stream: int) -> bool:
        """Whether no part of its query waits for flow control."""
        return stream not in self.unsent

    def cancel(self, stream: int) -> None:
        """Nobody wants the response any more."""
        if self.responses.pop(stream, None) is not None:
            self.unsent.pop(stream, None)
            try:
                self.h2.reset_stream(stream, ErrorCodes.CANCEL)
            except (StreamClosedError, ProtocolError):
                return  # the connection is over

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.h2.ping(PING)

    def close(self) -> None:
        """Say that there will be no more streams."""
        try:
            self.h2.close_connection()
        except ProtocolError:
            return  # that has been said

    def outgoing(self) -> bytes:
        """What is to be sent now."""
        return self.h2.data_to_send()

    def receive_data(self, data: bytes) -> list[Event]:
        """What has happened to streams; Http2Error ends everything."""
        try:
            data, goaways = self.goaways.receive_data(data)
            received = self.h2.receive_data(data)
        except (ProtocolError, FrameTooLong) as exc:
            raise Http2Error(str(exc)) from exc
        for event in received:
            handler = self.handlers.get(type(event))
            if handler is not None:
                handler(event)
        for last_stream in goaways:
            self._go(last_stream)
        events, self.events = self.events, []
        return events

    def _headers_received(self, event: ResponseReceived) -> None:
        self._read(event.stream_id, lambda response: response.receive_headers(event.headers))

    def _data_received(self, event: DataReceived) -> None:
        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self._read(event.stream_id, lambda response: response.receive_data(event.data))

    def _read(self, stream: int, read: Callable[[ResponseReader], None]) -> None:
        response = self.responses.get(stream)
        if response is not None:
            try:
                read(response)
            except BadResponse as exc:
                self.cancel(stream)
                self.events.append(Broken(stream, str(exc), is_unprocessed=False))

    def _stream_ended(self, event: StreamEnded) -> None:
        stream = event.stream_id
        response = self.responses.pop(stream, None)
        if response is None:
            return
        try:
            if self.unsent.pop(stream, None) is not None:
                self.h2.reset_stream(stream, ErrorCodes.CANCEL)
                raise BadResponse("response to less than the query")
            self.events.append(Reply(stream, response.end(), response.age))
        except BadResponse as exc:
            self.events.append(Broken(stream, str(exc), is_unprocessed=False))

    def _stream_reset(self, event: StreamReset) -> None:
        self.unsent.pop(event.stream_id, None)
        if self.responses.pop(event.stream_id, None) is not None:
            refused = event.error_code == ErrorCodes.REFUSED_STREAM  # RFC 9113 section 8.7: safe to try again
            self.events.append(Broken(event.stream_id, f"stream reset: {_named(event.error_code)}", refused))

    def _go(self, last_stream: int) -> None:
        """The peer ends the connection behind `last_stream`."""
        self.is_going = True
        for stream in [stream for stream in self.responses if stream > last_stream]:
            self.responses.pop(stream)
            self.unsent.pop(stream, None)
            self.events.append(Broken(stream, "connection is going away", is_unprocessed=True))

    def _settings_changed(self, _event: RemoteSettingsChanged) -> None:
        self.streams_at_most = min(STREAMS_AT_MOST, self.h2.remote_settings.max_concurrent_streams)
        self._send_bodies()

    def _window_grown(self, event: WindowUpdated) -> None:
        if event.stream_id:
            self._send_more(event.stream_id)
        else:
            self._send_bodies()

    def _send_bodies(self) -> None:
        for stream in list(self.unsent):
            self._send_more(stream)

    def _send_more(self, stream: int) -> None:
        if stream in self.unsent and self._send_body(stream):
            self.events.append(Sent(stream))

    def _send_body(self, stream: int) -> bool:
        """As much as the windows take; whether that was all."""
        rest = self.unsent[stream]
        while rest:
            size = min(len(rest), self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if size <= 0:
                self.unsent[stream] = rest
                return False
            self.h2.send_data(stream, rest[:size], end_stream=size == len(rest))
            rest = rest[size:]
        del self.unsent[stream]
        return True


def _path_unindexed(headers: Headers) -> Headers:
    """A path that holds a question is of no use in HPACK's table, and nobody's business (RFC 7541 section 7.1.3)."""
    return [NeverIndexedHeaderTuple(*field) if field[0] == PATH else field for field in headers]


def _passed_over(_event: object) -> None:
    """Nothing in trailers is of use."""


def _named(code: ErrorCodes | int | None) -> str:
    return code.name if isinstance(code, ErrorCodes) else str(code)
