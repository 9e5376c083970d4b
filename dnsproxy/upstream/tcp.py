"""Asking an upstream by TCP (RFC 7766): few connections, kept, pipelined, answered in any order."""

from __future__ import annotations

import logging
import os
import socket
import time
from typing import TYPE_CHECKING

import trio

from dnsproxy.address import Address, sockaddr_of
from dnsproxy.dnstap.events import Route
from dnsproxy.stream import MessageReader, framed
from dnsproxy.upstream.exchange import CANCELLED, CLOSED, REFUSED, TIMEOUT, Exchange, free_id

if TYPE_CHECKING:
    from dnsproxy.flight import Flights
    from dnsproxy.upstream.upstream import Upstream

log = logging.getLogger("dnsproxy")

CONNECTIONS = 4  # per upstream
SHARE = 16  # exchanges on a connection before another one is opened
IN_FLIGHT = 16_384  # a quarter of the IDs
IDLE_S = 10.0  # without an exchange
READ_SIZE = 65536
SILENT_TIMEOUTS = 3  # with no reply between them: the connection is dead though nobody said so
LATE_KEPT = 1024  # IDs remembered of exchanges that ended without a reply, so that a late one is no mismatch
OUT_BOUND = 4 * 1024 * 1024  # octets queued on a connection that does not move: it is given up


class TcpConnection:
    """One connection, from its connect to its loss."""

    def __init__(self, pool: TcpPool) -> None:
        self.pool = pool
        self.upstream = pool.upstream
        self.flights = pool.flights
        self.stream: trio.socket.SocketType | None = None
        self.scope = trio.CancelScope()
        self.waiting: list[Exchange] = []  # until the connection stands
        self.exchanges: dict[bytes, Exchange] = {}
        self.late: dict[bytes, bytes] = {}
        self.out = bytearray()
        self.blocked = trio.Event()
        self.touched = False
        self.closed = False
        self.was_used = False  # a reply has come: losing it now is no failure of the upstream
        self.silent_timeouts = 0
        self.route = Route.of("TCP", None, pool.upstream.address)

    @property
    def in_flight(self) -> int:
        """Exchanges that this connection has taken on."""
        return len(self.exchanges) + len(self.waiting)

    def take(self, exchange: Exchange) -> None:
        """Send an exchange now, or as soon as the connection stands."""
        if self.stream is None:
            self.waiting.append(exchange)
            exchange.carrier = self
        else:
            self._write(exchange)

    def _write(self, exchange: Exchange) -> None:
        taken = exchange.id = free_id(self.pool.ids, self.exchanges)
        self.exchanges[taken] = exchange
        octets = taken + exchange.query.wire[2:]
        self.out += framed(octets)
        exchange.sent(self, octets)
        if not self.touched:
            self.touched = True
            self.flights.touched.append(self)

    def forget(self, exchange: Exchange) -> None:
        """The exchange is over without a reply."""
        if exchange in self.waiting:
            self.waiting.remove(exchange)
        elif self.exchanges.pop(exchange.id, None) is not None:
            if len(self.late) >= LATE_KEPT:
                self.late.clear()
            self.late[exchange.id] = exchange.query.shape.question
            self.silent_timeouts += 1
            if self.silent_timeouts >= SILENT_TIMEOUTS and not self.closed:
                self.was_used = False  # a connection on which nothing comes is a failure, not an idle close
                self.closed = True
                self.flights.submit(self.lose, CLOSED)

    def flush(self) -> None:
        """Send as much as the kernel takes."""
        self.touched = False
        if self.closed or self.stream is None or not self.out:
            return
        try:
            sent = os.write(self.stream.fileno(), self.out)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.lose(CLOSED)
            return
        del self.out[:sent]
        if len(self.out) > OUT_BOUND:
            self.was_used = False  # it does not read: a failure
            self.lose(CLOSED)
        elif self.out:
            self.blocked.set()

    async def run(self) -> None:
        """Connect, then read until the connection is lost, idle for too long or given up."""
        outcome = REFUSED
        with self.scope:
            try:
                with trio.fail_after(self.upstream.timeout_s):
                    stream = await self._connect()
                outcome = CLOSED
                await self._serve(stream)
            except OSError as exc:
                log.debug("%s: %s", self.upstream.url, exc)
            except trio.TooSlowError:
                outcome = TIMEOUT
        self.flights.submit(self.lose, outcome)

    async def _connect(self) -> trio.socket.SocketType:
        address = self.upstream.address
        stream = trio.socket.socket(address.socket_family, socket.SOCK_STREAM)
        try:
            await stream.connect(address.socket_tuple())
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.route = Route.of("TCP", Address(sockaddr_of(stream.getsockname())), address)
        except BaseException:
            stream.close()
            raise
        return stream

    async def _serve(self, stream: trio.socket.SocketType) -> None:
        with stream:
            self.flights.submit(self._established, stream)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_on, stream)
                try:
                    await self._read(stream)
                except OSError as exc:
                    log.debug("%s: %s", self.upstream.url, exc)
                finally:
                    nursery.cancel_scope.cancel()

    def _established(self, stream: trio.socket.SocketType) -> None:
        """Send what has waited for the connection."""
        if self.closed:
            return
        self.stream = stream
        waiting, self.waiting = self.waiting, []
        for exchange in waiting:
            if not exchange.done:
                self._write(exchange)

    async def _read(self, stream: trio.socket.SocketType) -> None:
        reader = MessageReader()
        while True:
            with trio.move_on_after(IDLE_S) as idle:
                data = await stream.recv(READ_SIZE)
            if idle.cancelled_caught:
                if not self.in_flight:
                    self.closed = True  # at once: the driver must not choose it any more
                    return
                continue
            if not data:
                return
            messages = reader.receive_data(data)
            if messages:
                self.flights.submit(self._take_replies, messages, time.time_ns())

    def _take_replies(self, messages: list[bytes], received_ns: int) -> None:
        for octets in messages:
            exchange = self.exchanges.get(octets[:2])
            if exchange is None or not exchange.matches(octets):
                self._stray(octets)
                continue
            del self.exchanges[exchange.id]
            self.was_used = True
            self.silent_timeouts = 0
            exchange.answered(octets, received_ns)

    def _stray(self, octets: bytes) -> None:
        """A reply to nothing in flight: late, or wrong. The wait goes on."""
        question = self.late.pop(octets[:2], None)
        if question is None or octets[12 : 12 + len(question)] != question:
            self.upstream.mismatches += 1

    async def _write_on(self, stream: trio.socket.SocketType) -> None:
        """Wait where the driver may not: for the kernel to take more."""
        while True:
            await self.blocked.wait()
            self.blocked = trio.Event()
            await trio.lowlevel.wait_writable(stream)
            self.flights.submit(self.flush)

    def lose(self, outcome: str) -> None:
        """The connection is over: what was under way goes again if this one had worked before, else it has failed."""
        self.closed = True
        self.stream = None
        self.scope.cancel()
        self.pool.connections.discard(self)
        lost = [*self.exchanges.values()]
        again = [exchange for exchange in lost if self.was_used and not exchange.resent]
        self.exchanges.clear()
        for exchange in again:
            exchange.resent = True
        self.pool.resend(again)
        for exchange in [*lost, *self.waiting]:
            if exchange not in again:
                exchange.failed(outcome)

    def __repr__(self) -> str:
        return f"<TcpConnection to {self.upstream.name}, {self.in_flight} in flight{', closed' if self.closed else ''}>"


class TcpPool:
    """The connections towards one upstream."""

    def __init__(self, upstream: Upstream, flights: Flights) -> None:
        self.upstream = upstream
        self.flights = flights
        self.ids: list[bytes] = []
        self.connections: set[TcpConnection] = set()

    def send(self, exchange: Exchange) -> None:
        """Send an exchange on the least busy connection, opening one when all have their share."""
        if self.upstream.nursery is None:  # at the end
            exchange.failed(CLOSED)
            return
        usable = [connection for connection in self.connections if not connection.closed]
        chosen = min(usable, key=lambda connection: connection.in_flight, default=None)
        if chosen is None or (chosen.in_flight >= SHARE and len(usable) < CONNECTIONS):
            chosen = self._open()
        if chosen.in_flight >= IN_FLIGHT:
            exchange.failed(CLOSED)
            return
        chosen.take(exchange)

    def resend(self, exchanges: list[Exchange]) -> None:
        """Send the exchanges of a lost connection again, on a new one."""
        if exchanges:
            fresh = self._open()
            for exchange in exchanges:
                fresh.take(exchange)

    def _open(self) -> TcpConnection:
        connection = TcpConnection(self)
        self.connections.add(connection)
        self.upstream.start(connection.run)
        return connection

    def close(self) -> None:
        """End every exchange and close every connection."""
        for connection in list(self.connections):
            connection.was_used = False
            connection.lose(CANCELLED)
