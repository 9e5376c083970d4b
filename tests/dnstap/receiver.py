"""A collector inside the test's own trio loop: it listens, takes frames, stalls, is rude, and goes away."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from dnsproxy.dnstap.destination import Destination
from dnsproxy.dnstap.framestreams import Broken, Reader, State, Stopped
from tests.dnstap.waiting import until


def unix_listener(path: str) -> trio.SocketListener:
    """Listens on a new socket in the place of whatever is there."""
    Path(path).unlink(missing_ok=True)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    return trio.SocketListener(trio.socket.from_stdlib_socket(listening))


Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Receiver:
    """What came over all connections; `reading` cleared means that the kernel's buffers are all there is."""

    def __init__(self, destination: Destination, tls: ssl.SSLContext | None = None) -> None:
        self.destination = destination
        self.frames: list[bytes] = []
        self.by_connection: list[list[bytes]] = []
        self.connections = 0
        self.stops = 0
        self.broken: list[str] = []
        self.silent = False
        self.stalled = 0  # connections that read no more
        self._stalls_next = False
        self._dropped = trio.Event()
        self.reading = trio.Event()
        self.reading.set()
        self._tls = tls
        self._scope = trio.CancelScope()

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[Receiver]:
        """Serves until the end of the block, or `kill`; a unix socket is removed then."""
        listener = await self._listen()
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            nursery.start_soon(trio.serve_listeners, self._serve, [listener])
            yield self
            nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint()

    def kill(self) -> None:
        self._scope.cancel()

    def stall_one(self) -> None:
        """Whichever connection gets START next reads no more."""
        self._stalls_next = True

    def drop_stalled(self) -> None:
        """Close the connection that reads no more."""
        self._dropped.set()

    async def wait_for(self, count: int) -> None:
        """Until so many frames have come."""
        await until(lambda: len(self.frames) >= count)

    async def _listen(self) -> trio.SocketListener:
        if self.destination.scheme == "unix":
            return unix_listener(self.destination.path)
        (listener,) = await trio.open_tcp_listeners(self.destination.port, host="127.0.0.1")
        port = listener.socket.getsockname()[1]
        self.destination = Destination(self.destination.scheme, host=self.destination.host, port=port)
        return listener

    async def _serve(self, plain: trio.SocketStream) -> None:
        self.connections += 1
        stream: Stream = trio.SSLStream(plain, self._tls, server_side=True) if self._tls else plain
        try:
            await self._read(stream)
        except trio.BrokenResourceError:
            self.broken.append("connection")
        finally:
            await trio.aclose_forcefully(stream)

    async def _read(self, stream: Stream) -> None:
        reader = Reader()
        frames: list[bytes] = []
        self.by_connection.append(frames)
        while True:
            await self.reading.wait()
            if self._stalls_next and reader.state is State.OPEN:
                self._stalls_next = False
                self.stalled += 1
                await self._dropped.wait()
                return
            data = await stream.receive_some(65536)
            if not data:
                return
            for event in reader.receive_data(bytes(data)):
                if isinstance(event, bytes):
                    frames.append(event)
                self._take(event)
            if not self.silent:
                await stream.send_all(reader.data_to_send())

    def _take(self, event: object) -> None:
        if isinstance(event, bytes):
            self.frames.append(event)
        elif isinstance(event, Stopped):
            self.stops += 1
        elif isinstance(event, Broken):
            self.broken.append(event.reason)
