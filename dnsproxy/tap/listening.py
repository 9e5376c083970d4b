"""A source on which producers are awaited: a unix, TCP or TLS socket, bound at once or not at all."""

from __future__ import annotations

from typing import Final

import trio

from dnsproxy.dnstap.destination import Destination
from dnsproxy.dnstap.listening_socket import ListenError, ListeningSocket
from dnsproxy.dnstap.reception import EXHAUSTED, PAUSE_S
from dnsproxy.dnstap.server_context import ServerContext
from dnsproxy.dnstap.session import reason_of
from dnsproxy.tap.damage import tell
from dnsproxy.tap.errors import Failure
from dnsproxy.tap.producers import Producers

COMPLAINTS_QUIET_S: Final = 60.0  # while there are no descriptors


class ListeningSource:
    """Listens when it is made, or Failure; `str()`, with the port that was given for 0, begins its streams' names."""

    def __init__(self, url: Destination, unix_mode: int, tls: ServerContext | None, producers: Producers) -> None:
        try:
            self._socket = ListeningSocket(url, unix_mode)
        except ListenError as exc:
            raise Failure(str(exc)) from exc
        self._tls = tls if url.scheme == "tls" else None
        self._producers = producers
        self._accepting = trio.CancelScope()
        self._quiet_until = float("-inf")
        self._taken = 0

    async def run(self) -> None:
        """Until `close`, and until whoever was let in is gone."""
        async with trio.open_nursery() as nursery:
            with self._accepting:
                while True:
                    await self._accept_one(nursery)

    def close(self) -> None:
        """Let nobody in any more; a unix socket is removed."""
        self._accepting.cancel()
        self._socket.close()

    async def _accept_one(self, nursery: trio.Nursery) -> None:
        try:
            connection, peer = await self._socket.accept()
        except OSError as exc:
            self._complain(exc)
            if exc.errno in EXHAUSTED:
                await trio.sleep(PAUSE_S)
            return
        self._taken += 1
        where = "" if self._socket.url.scheme == "unix" else peer
        nursery.start_soon(self._producers.serve, connection, f"{self}#{self._taken}", where, self._tls)

    def _complain(self, exc: OSError) -> None:
        now = trio.current_time()
        if now >= self._quiet_until:
            self._quiet_until = now + COMPLAINTS_QUIET_S
            tell(f"{self}: cannot take a connection: {reason_of(exc)}")

    def __str__(self) -> str:
        return name_of(self._socket.url)

    def __repr__(self) -> str:
        return f"<ListeningSource {self}, {self._taken} taken>"


def name_of(url: Destination) -> str:
    """How a source is called: `unix:/run/a.sock`, `tcp://127.0.0.1:6000`."""
    return f"unix:{url.path}" if url.scheme == "unix" else str(url)
