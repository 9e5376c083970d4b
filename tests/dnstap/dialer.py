"""A collector inside the test's own trio loop that dials in: it takes frames, stalls, is rude, and goes away."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from dnsproxy.dnstap.destination import Destination
from dnsproxy.dnstap.framestreams import Started
from tests.dnstap.receiver import Receiver, Stream
from tests.dnstap.waiting import until


class Dialer(Receiver):
    """One connection at a time; `gone` once the tap, or a failed handshake, has ended it."""

    def __init__(self, destination: Destination, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(destination, tls)
        self.started = False
        self.gone = trio.Event()
        self.refused: str | None = None  # why TLS did not come about

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Dialer]:
        """From START to the end of the block, or `kill`."""
        async with self.dialling():
            await until(lambda: self.started)
            yield self

    @asynccontextmanager
    async def dialling(self) -> AsyncIterator[Dialer]:
        """Connects, and does not wait for more."""
        plain = await dial(self.destination)
        async with trio.open_nursery() as nursery:
            self._scope = nursery.cancel_scope
            nursery.start_soon(self._talk, plain)
            yield self
            nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint()

    async def _talk(self, plain: trio.SocketStream) -> None:
        stream: Stream = trio.SSLStream(plain, self._tls, server_hostname="127.0.0.1") if self._tls else plain
        try:
            await self._read(stream)
        except trio.BrokenResourceError as exc:
            self.refused = str(exc.__cause__)
        finally:
            self.gone.set()
            await trio.aclose_forcefully(stream)

    def _take(self, event: object) -> None:
        self.started = self.started or isinstance(event, Started)
        super()._take(event)


async def dial(destination: Destination) -> trio.SocketStream:
    """A bare connection."""
    if destination.scheme == "unix":
        return await trio.open_unix_socket(destination.path)
    return await trio.open_tcp_stream(destination.host, destination.port)


def address(status: dict[str, Any]) -> Destination:
    """Where a tap with that status listens."""
    return Destination.from_toml(status["socket"])
