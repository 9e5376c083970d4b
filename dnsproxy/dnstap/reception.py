"""Lets collectors in: accepts, TLS, READY and ACCEPT, each within limits that no collector can make another one pay."""

from __future__ import annotations

import errno
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from dnsproxy.dnstap.connection import Connection
from dnsproxy.dnstap.framestreams import ProtocolError, Writer
from dnsproxy.dnstap.listening_socket import ListenError, ListeningSocket
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.server_context import ServerContext
from dnsproxy.dnstap.session import HANDSHAKE_S, accepted, deadline, reason_of

COLLECTORS_MAX: Final = 64  # each may fill a queue; one tap has one or two
NEWCOMERS_MAX: Final = 64  # in their handshakes; the oldest makes room for one more
PAUSE_S: Final = 0.1  # without descriptors or memory: accepting again at once would fail again
REFUSAL_QUIET_S: Final = 60.0  # whoever is refused may come again at once, a thousand times a second
EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

# connection, stream, the START that the collector waits for, and what to call it; returns when the collector is gone
Serve = Callable[[Connection, Writer, bytes, str], Awaitable[None]]

log = logging.getLogger("dnsproxy")


class Reception:
    """Listens when it is made, or ListenError; takes collectors in while it runs, and serves each in a task.

    A collector that only reads gets READY and, as it never answers, is closed after HANDSHAKE_S.
    """

    def __init__(self, options: OutputOptions, serve: Serve, tell: Callable[[str], None]) -> None:
        """`tell` is called with the reason whenever somebody is not let in."""
        self._options = options
        self._serve = serve
        self._tell = tell
        self._tls = _context(options)
        self._socket = ListeningSocket(options.destination)
        self._newcomers: dict[trio.CancelScope, None] = {}
        self._nursery: trio.Nursery | None = None
        self._accepting = trio.CancelScope()
        self._quiet_until = float("-inf")
        self.url = self._socket.url
        self.present = 0  # collectors that are being served

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until `close`, and until whoever was let in is gone."""
        async with trio.open_nursery() as self._nursery:
            task_status.started()
            with self._accepting:
                await self._accept_all(self._nursery)

    def close(self) -> None:
        """Let nobody in any more, whoever is in a handshake included."""
        self._accepting.cancel()
        for scope in self._newcomers:
            scope.cancel()
        self._socket.close()

    def configure(self, options: OutputOptions) -> None:
        """For whoever comes from now on; the address stays."""
        self._options = options
        self.reopen()

    def reopen(self) -> None:
        """Read certificate and keys again, for the next handshakes; never waits."""
        if self._tls is not None:
            self._tls.expire(self._options.tls)
            if self._nursery is not None:
                self._nursery.start_soon(self._tls.get, self._options.name)  # a bad file is told now

    async def _accept_all(self, nursery: trio.Nursery) -> None:
        while True:
            try:
                connection, peer = await self._socket.accept()
            except OSError as exc:
                self._note("a collector", exc)
                if exc.errno in EXHAUSTED:
                    await trio.sleep(PAUSE_S)
            else:
                nursery.start_soon(self._take_in, connection, peer)

    async def _take_in(self, connection: Connection, peer: str) -> None:
        stream = Writer()
        try:
            self._check_room()
            if self._options.keepalive_s is not None:
                connection.keep_alive(self._options.keepalive_s)
            start = await self._welcome(connection, stream)
            self._check_room()
        except (OSError, ProtocolError) as exc:
            self._note(peer, exc)
        else:
            await self._serve_one(connection, stream, start, peer)
        finally:
            connection.close()

    def _check_room(self) -> None:
        if self.present >= COLLECTORS_MAX:
            raise ConnectionRefusedError(f"there are {COLLECTORS_MAX} collectors")

    async def _welcome(self, connection: Connection, stream: Writer) -> bytes:
        """The START that the collector now waits for."""
        with trio.CancelScope() as scope:
            self._newcomers[scope] = None
            if len(self._newcomers) > NEWCOMERS_MAX:
                oldest = next(iter(self._newcomers))
                del self._newcomers[oldest]
                oldest.cancel()
            try:
                if self._tls is not None:
                    with deadline(HANDSHAKE_S, "no TLS handshake"):
                        await connection.answer_tls(await self._tls.get(self._options.name))
                return await accepted(connection, stream)
            finally:
                self._newcomers.pop(scope, None)
        raise ConnectionAbortedError("too slow while others wait")

    async def _serve_one(self, connection: Connection, stream: Writer, start: bytes, peer: str) -> None:
        self.present += 1
        try:
            await self._serve(connection, stream, start, peer)
        finally:
            self.present -= 1

    def _note(self, peer: str, exc: Exception) -> None:
        """Why somebody was not let in: for the status, and every now and then for the log."""
        reason = reason_of(exc)
        self._tell(reason)
        now = trio.current_time()
        if now >= self._quiet_until:
            self._quiet_until = now + REFUSAL_QUIET_S
            log.warning("tap %s does not take %s: %s", self._options.name, peer, reason)


def _context(options: OutputOptions) -> ServerContext | None:
    if options.destination.scheme != "tls":
        return None
    try:
        return ServerContext(options.tls)
    except OSError as exc:
        raise ListenError(f"cannot listen on {options.destination}: {reason_of(exc)}") from exc
