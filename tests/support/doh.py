"""A DoH server over HTTP/2 in the hands of a test: what it is asked, and every way to answer."""

import base64
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import trio
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import StreamClosedError
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame

from tests.support.offline import reply

MEDIA_TYPE = "application/dns-message"


@dataclass(eq=False)
class Request:
    """A request that has come whole. `message` is what it asks."""

    stream: int
    headers: dict[str, str]
    peer_port: int = 0
    body: bytearray = field(default_factory=bytearray)

    @property
    def message(self) -> bytes:
        if self.headers[":method"] == "POST":
            return bytes(self.body)
        (encoded,) = urllib.parse.parse_qs(urllib.parse.urlsplit(self.headers[":path"]).query)["dns"]
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))


class DohConnection:
    """One connection at the server's end, for a task of the test."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream], settings: dict[SettingCodes | int, int]) -> None:
        self.stream = stream
        self.http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.http.initiate_connection()
        if settings:
            self.http.update_settings(settings)
        self.partial: dict[int, Request] = {}
        self.requests: list[Request] = []
        self.resets: dict[int, Any] = {}
        self.keeps_windows = False  # never lets the client send more
        self.peer_port = int(stream.transport_stream.socket.getpeername()[1])

    async def flush(self) -> None:
        octets = self.http.data_to_send()
        if octets:
            await self.stream.send_all(octets)

    async def read(self) -> None:
        """Take what comes next; EndOfChannel when that is nothing."""
        await self.flush()
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            raise trio.EndOfChannel
        for event in self.http.receive_data(data):
            self._note(event)
        await self.flush()

    def _note(self, event: object) -> None:
        if isinstance(event, RequestReceived):
            headers = {str(name): str(value) for name, value in event.headers}
            self.partial[event.stream_id] = Request(event.stream_id, headers, self.peer_port)
        elif isinstance(event, DataReceived):
            self.partial[event.stream_id].body += event.data
            if not self.keeps_windows:
                self.http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, StreamEnded):
            self.requests.append(self.partial.pop(event.stream_id))
        elif isinstance(event, StreamReset):
            self.resets[event.stream_id] = event.error_code

    async def request(self) -> Request:
        """The next one; EndOfChannel when there will be none."""
        while not self.requests:
            await self.read()
        return self.requests.pop(0)

    async def respond(
        self, asked: Request, octets: bytes | None = None, *, status: int = 200, kind: str = MEDIA_TYPE, age: str = ""
    ) -> None:
        """Answer a request; without octets as a resolver does."""
        await self.begin(asked, status=status, kind=kind, age=age)
        await self.send(asked, reply(asked.message) if octets is None else octets, end=True)

    async def begin(self, asked: Request, *, status: int = 200, kind: str = MEDIA_TYPE, age: str = "") -> None:
        """Only the headers."""
        ages = [("age", age)] if age else []
        self.http.send_headers(asked.stream, [(":status", str(status)), ("content-type", kind), *ages])
        await self.flush()

    async def send(self, asked: Request, octets: bytes, *, end: bool = False) -> None:
        """More of a body, as far as the client's windows let it out."""
        while len(octets) > (room := min(self.http.local_flow_control_window(asked.stream), 16_384)):
            self.http.send_data(asked.stream, octets[:room])
            octets = octets[room:]
            await self.flush()
            while not self.http.local_flow_control_window(asked.stream):
                await self.read()
        self.http.send_data(asked.stream, octets, end_stream=end)
        await self.flush()

    async def reset(self, asked: Request, code: ErrorCodes = ErrorCodes.INTERNAL_ERROR) -> None:
        self.http.reset_stream(asked.stream, code)
        await self.flush()

    async def go_away(self, last_stream: int) -> None:
        """Say so and go on with the streams up to that one."""
        await self.flush()
        await self.stream.send_all(GoAwayFrame(0, last_stream_id=last_stream).serialize())

    async def serve(self) -> None:
        """Answer everything until the other end closes."""
        try:
            while True:
                await self.respond(await self.request())
        except (trio.EndOfChannel, trio.BrokenResourceError, StreamClosedError):
            await self.close()

    async def until_closed(self) -> list[Request]:
        """Requests that come before the other end closes."""
        try:
            while True:
                await self.read()
        except trio.EndOfChannel:
            return self.requests

    async def close(self) -> None:
        with trio.CancelScope() as scope:
            scope.cancel()  # at once: no TLS farewell
            await self.stream.aclose()


async def accept(
    listening: trio.SocketListener, context: ssl.SSLContext, settings: dict[SettingCodes | int, int] | None = None
) -> DohConnection:
    """The next connection, its handshake done; BrokenResourceError when that fails."""
    raw = await listening.accept()
    stream = trio.SSLStream(raw, context, server_side=True)
    try:
        await stream.do_handshake()
    except BaseException:
        raw.socket.close()
        raise
    return DohConnection(stream, settings or {})


def server_context(certificate: dict[str, str], protocols: tuple[str, ...] = ("h2",)) -> ssl.SSLContext:
    """For a server with that certificate and key (paths), which speaks those protocols."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate["cert"], certificate["key"])
    context.set_alpn_protocols(list(protocols))
    return context


class DohServer:
    """A server of its own thread for black-box tests, which answers everything.

    After `retires_after` requests on a connection it sends GOAWAY there, reads on for a while, and closes.
    """

    def __init__(self, context: ssl.SSLContext, *, retires_after: int = 0, age: str = "") -> None:
        self.context = context
        self.retires_after = retires_after
        self.age = age
        self.answer: Callable[[bytes], bytes | None] = reply  # None: status 503
        self.seen: list[Request] = []
        self.connections_made = 0
        self.connections_open = 0
        self.port = 0
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken
        self._scope = trio.CancelScope()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=trio.run, args=(self._run,), name="doh server", daemon=True)
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(5)

    def url(self, path: str = "/dns-query") -> str:
        return f"https://127.0.0.1:{self.port}{path}"

    def wait_until_closed(self, within_s: float = 5.0) -> None:
        """Until no connection is open."""
        end = time.monotonic() + within_s
        while self.connections_open:
            assert time.monotonic() < end, f"{self.connections_open} connections are still open"
            time.sleep(0.01)

    async def _run(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        (listening,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.port = listening.socket.getsockname()[1]
        self._ready.set()
        with self._scope:
            await trio.serve_listeners(self._serve, [listening])

    async def _serve(self, raw: trio.SocketStream) -> None:
        stream = trio.SSLStream(raw, self.context, server_side=True)
        try:
            await stream.do_handshake()
        except (trio.BrokenResourceError, ssl.SSLError):
            await raw.aclose()
            return
        self.connections_made += 1
        self.connections_open += 1
        connection = DohConnection(stream, {})
        try:
            await self._answer_all(connection)
        except (trio.EndOfChannel, trio.BrokenResourceError, StreamClosedError):
            pass
        await connection.close()
        self.connections_open -= 1

    async def _answer_all(self, connection: DohConnection) -> None:
        served = 0
        while not self.retires_after or served < self.retires_after:
            asked = await connection.request()
            self.seen.append(asked)
            served += 1
            await self._respond(connection, asked)
        await connection.go_away(asked.stream)
        with trio.move_on_after(0.2):  # what comes behind the last stream is not answered
            await connection.until_closed()

    async def _respond(self, connection: DohConnection, asked: Request) -> None:
        octets = self.answer(asked.message)
        if octets is None:
            await connection.respond(asked, b"out of order", status=503, kind="text/plain")
        else:
            await connection.respond(asked, octets, age=self.age)
