"""A tap that collectors dial: each that does gets a queue and a Frame Streams session of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import trio

from dnsproxy.dnstap.connection import Connection
from dnsproxy.dnstap.framestreams import Writer
from dnsproxy.dnstap.listening_tap import ListeningTap, OneSession, drain_all
from dnsproxy.dnstap.output import DOWN, OutputOptions, log
from dnsproxy.dnstap.reception import Reception
from dnsproxy.dnstap.session import reason_of, write_and_watch
from dnsproxy.dnstap.socket_output import SocketOutput

AGAIN_S: Final = 5.0  # for what collectors still get that have to come again


class ListeningOutput(ListeningTap):
    """Listens when it is made, or ListenError.

    `run` is the task; `drain` ends it: collectors get what is queued for them within a deadline, then STOP.
    """

    def __init__(self, options: OutputOptions) -> None:
        self._reception = Reception(options, self._serve, self._note)
        super().__init__(options, str(self._reception.url))
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take collectors in and serve them, until `drain` is called."""
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    await self._reception.run(task_status=task_status)
        finally:
            self.close()
            self._finish()

    async def drain(self, deadline_s: float) -> None:
        """Let nobody in any more, give the collectors what is theirs within the deadline, and end `run`."""
        self._reception.close()
        await drain_all(self._collectors, deadline_s)
        self._scope.cancel()
        await self._ended.wait()

    def close(self) -> None:
        """Listen no more: the end of an output that never ran."""
        self._reception.close()

    def configure(self, options: OutputOptions) -> None:
        """As for any; who was let in by other certificates has to come again."""
        before, self._options = self._options, options
        if options == before:
            return
        self._reception.configure(options)
        if options.tls != before.tls and self._nursery is not None:
            self._nursery.start_soon(drain_all, tuple(self._collectors), AGAIN_S)

    def reopen(self) -> None:
        """Read certificate and keys again, for the next handshakes; never waits."""
        self._reception.reopen()

    async def _serve(self, connection: Connection, stream: Writer, start: bytes, peer: str) -> None:
        self.connects += 1
        await self._serve_one(Collector(self._options, connection, stream, start, peer))


class Collector(OneSession, SocketOutput):
    """One that dialled in and was let in: it waits for START."""

    def __init__(self, options: OutputOptions, connection: Connection, stream: Writer, start: bytes, peer: str) -> None:
        super().__init__(replace(options, name=f"{options.name} ({peer})"))
        self._connection = connection
        self._stream = stream
        self._start = start

    async def _session(self) -> None:
        self._opened()
        await self._connection.send_all(self._start)
        await write_and_watch(self._connection, self._stream, self._write_all)

    async def _write_all(self) -> None:
        await self._write(self._connection, self._stream)

    def _lost(self, exc: Exception) -> None:
        self.last_error = reason_of(exc)
        self.state = DOWN
        log.info("tap %s gone: %s", self.name, self.last_error)
