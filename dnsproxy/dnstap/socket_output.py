"""A tap that goes to a collector, over one connection or several."""

from __future__ import annotations

from typing import Final

import trio

from dnsproxy.dnstap.backlog import Hand
from dnsproxy.dnstap.connection import Connection, connect
from dnsproxy.dnstap.framestreams import Writer
from dnsproxy.dnstap.output import CHUNK_OCTETS, Output, OutputOptions, log
from dnsproxy.dnstap.session import deadline, finish, shake_hands, write_and_watch
from dnsproxy.dnstap.spooler import Spooler

OPEN_S: Final = 1.0  # what a spool holds counts from the beginning, unless it takes longer to look through
CONNECT_S: Final = 5.0  # a host that swallows packets; name look-up and TLS handshake included


class SocketOutput(Output):
    """To a collector, over bidirectional Frame Streams connections that are watched while nothing is sent.

    Several connections share the queue: each takes what waits when it can write, in turns, so that a slow one does not
    hold up the others. Order is kept within a connection only, and the messages of a query may go over different ones:
    collectors that pair them do that over all their connections. The tap is connected as long as one of them is.
    """

    def __init__(self, options: OutputOptions) -> None:
        super().__init__(options)
        self._turn = trio.Lock()
        self._spooler: Spooler | None = None
        if options.spool is not None:
            self._spooler = Spooler(
                self.name, options.spool, self._backlog, drops_oldest=options.overflow == "oldest", wake=self._wake
            )
        if options.tls.skip_verify:
            log.warning("tap %s does not verify its collector: skip_verify is on", self.name)

    async def _prepare(self, nursery: trio.Nursery) -> None:
        if self._spooler is not None:
            nursery.start_soon(self._spooler.run)
            with trio.move_on_after(OPEN_S):
                await self._spooler.opened.wait()

    async def _work(self, nursery: trio.Nursery) -> None:
        if self._spooler is not None:
            await self._spooler.opened.wait()  # nothing is sent before what is older
        async with trio.open_nursery() as sessions:
            for _ in range(self._options.connections):
                sessions.start_soon(self._keep_trying)

    async def _keep_rest(self) -> None:
        if self._spooler is not None:
            await self._spooler.keep_rest()

    async def _session(self) -> None:
        if self._is_done:
            return
        with deadline(CONNECT_S, "no connection"):
            connection = await connect(self.destination, self._options.tls)
        try:
            stream = Writer()
            await shake_hands(connection, stream)
            self._opened()
            await write_and_watch(connection, stream, lambda: self._write(connection, stream))
        finally:
            connection.close()

    @property
    def _is_done(self) -> bool:
        return self._stopping.is_set() and not self._backlog.available

    async def _write(self, connection: Connection, stream: Writer) -> None:
        if self._options.keepalive_s is not None:
            connection.keep_alive(self._options.keepalive_s)
        hand = Hand(self._backlog)
        try:
            while hand.has_begun or not self._is_done:
                if not await self._replay(connection, hand):
                    await self._write_chunk(connection, hand)
        finally:
            hand.give_back()
            self._wake()  # whoever waits can have it
        await finish(connection, stream)

    async def _replay(self, connection: Connection, hand: Hand) -> bool:
        """Send what is in the spool, a batch of it; whether that was next."""
        if self._spooler is None or hand.has_begun or not self._is_spools_turn:
            return False
        is_sent = True
        async with self._turn:
            if self._is_spools_turn:
                is_sent = await self._spooler.replay(connection, hand, waits=self._options.connections == 1)
        if not is_sent:
            await connection.wait_writable()
        return True

    @property
    def _is_spools_turn(self) -> bool:
        return self._backlog.spooled > 0 and not self._backlog.available

    async def _write_chunk(self, connection: Connection, hand: Hand) -> None:
        """What waits, as far as the connection takes it."""
        chunk = hand.take(CHUNK_OCTETS) if hand.has_begun else await self._next_chunk(hand)
        sent = connection.send(chunk)
        hand.written(sent)
        if sent < len(chunk) or not connection.is_clear:
            hand.put_back()
            await connection.wait_writable()

    async def _next_chunk(self, hand: Hand) -> bytes:
        try:
            self._turn.acquire_nowait()  # 4 µs less than `acquire`, for each batch
        except trio.WouldBlock:
            await self._turn.acquire()
        try:
            await self._wait_for_frames()
            return hand.take(CHUNK_OCTETS)
        finally:
            self._turn.release()
