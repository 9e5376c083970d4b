"""Queries over TCP (RFC 7766): persistent connections, pipelined, answered out of order."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any

import trio

from dnsproxy.address import Address, sockaddr_of
from dnsproxy.message import Endpoint, Query
from dnsproxy.shape import DROP, shape_of
from dnsproxy.stream import MessageReader, framed

if TYPE_CHECKING:
    from dnsproxy.chain import Router
    from dnsproxy.config import Limits
    from dnsproxy.intake import Client, Intake

log = logging.getLogger("dnsproxy")

READ_SIZE = 65536  # octets per read
OUT_BOUND = 256 * 1024  # octets of answers waiting for a slow reader before we stop reading its queries
ACCEPT_BACKLOG = 1024
ACCEPT_PAUSE_S = 0.1  # when descriptors have run out


class StreamConnection:
    """One client's connection: reads in a trio task, answers from the driver."""

    def __init__(
        self, listener: TcpListener, stream: trio.socket.SocketType, endpoint: Endpoint, client: Client, sockaddr: bytes
    ) -> None:
        self.listener = listener
        self.intake = listener.intake
        self.flights = listener.intake.flights
        self.stream = stream
        self.endpoint = endpoint
        self.client = client
        self.sockaddr = sockaddr
        self.reader = MessageReader()
        self.backlog: deque[tuple[bytes, int]] = deque()  # read, and not begun with: the bound is reached
        self.in_flight = 0
        self.out = bytearray()
        self.touched = False
        self.starting = False
        self.closed = False
        self.moved = trio.Event()  # an answer has left, or none is owed any more
        self.blocked = trio.Event()  # the kernel took less than we had
        self.active_at = 0.0
        self.part_at = 0.0  # since when we have been reading a message that is not whole yet
        self.reading = trio.CancelScope()

    async def run(self) -> None:
        """Serve until the client leaves, is idle for too long, or does not read."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            try:
                more_is_owed = True
                with self.reading:
                    more_is_owed = await self._read()
                if more_is_owed:
                    await self._settle()
            finally:
                self.closed = True
                nursery.cancel_scope.cancel()

    async def _read(self) -> bool:
        """Take queries; True when the client has said that there will be no more."""
        self.active_at = trio.current_time()
        while True:
            await self._wait_for_room()
            with trio.move_on_at(self._out_of_time_at()) as scope:
                try:
                    data = await self.stream.recv(READ_SIZE)
                except OSError:
                    return False
            if scope.cancelled_caught:
                if trio.current_time() < self._out_of_time_at():  # an answer has left meanwhile
                    continue
                if self.reader.has_part:  # a message that takes too long to arrive
                    return True
                if not self.in_flight:  # idle, or nothing has moved towards a client that does not read
                    return False
                self.active_at = trio.current_time()
                continue
            if not data:
                return True
            self._take(data)

    def _out_of_time_at(self) -> float:
        """Until when we wait for more: a message's time runs from its first octet, whatever else happens meanwhile."""
        return (self.part_at if self.reader.has_part else self.active_at) + self.listener.idle_s

    def _take(self, data: bytes) -> None:
        received_ns = time.time_ns()
        is_new = not self.reader.has_part
        messages = self.reader.receive_data(data)
        if messages or is_new:  # a message has all the time from its first octet on
            self.active_at = self.part_at = trio.current_time()
        self.backlog.extend((octets, received_ns) for octets in messages)
        self.flights.submit(self._start_more)

    def _start_more(self) -> None:
        """Begin with as many queries as may be in flight, and as what is queued for the client leaves room for."""
        if self.starting:  # an answer given at once comes through here
            return
        self.starting = True
        try:
            while self.backlog and self.in_flight < self.listener.queries_limit and len(self.out) <= OUT_BOUND:
                self.in_flight += 1
                self._start(*self.backlog.popleft())
        finally:
            self.starting = False
            self.moved.set()

    def _start(self, octets: bytes, received_ns: int) -> None:
        shape = shape_of(octets)
        if shape.fault == DROP:
            self.listener.dropped["malformed"] += 1
            self._leave()
            return
        self.listener.queries += 1
        query = Query(octets, shape, self.sockaddr, self.endpoint, received_ns)
        router = self.listener.router
        self.intake.start(query, router.only or router.route(query), self.client, self)

    async def _wait_for_room(self) -> None:
        """RFC 7766 section 6.2.1.1 leaves pacing to us: no more is read while too much is owed."""
        while len(self.backlog) + self.in_flight >= self.listener.queries_limit or len(self.out) > OUT_BOUND:
            self.moved = trio.Event()
            with trio.move_on_after(self.listener.idle_s) as scope:
                await self.moved.wait()
            if scope.cancelled_caught and self.out:
                raise trio.BrokenResourceError("client does not read")
            self.part_at = trio.current_time()  # nothing was read meanwhile: not the client's fault

    async def _settle(self) -> None:
        """The client has closed its side: it still gets every answer."""
        while (self.backlog or self.in_flight or self.out) and not self.closed:
            self.moved = trio.Event()
            patience_s = inf if self.in_flight else self.listener.idle_s  # queries end by themselves, readers do not
            with trio.move_on_after(patience_s) as scope:
                await self.moved.wait()
            if scope.cancelled_caught:
                return

    async def _write(self) -> None:
        """Wait where the driver may not: for the kernel to take more."""
        while True:
            await self.blocked.wait()
            self.blocked = trio.Event()
            await trio.lowlevel.wait_writable(self.stream)
            self.flights.submit(self.flush)

    def reply(self, query: Query, octets: bytes) -> None:
        """Queue an answer."""
        self.listener.responses += 1
        if not self.closed:
            self.out += framed(octets)
            if not self.touched:
                self.touched = True
                self.flights.touched.append(self)
        self._leave()

    def drop(self, reason: str) -> None:
        """Count a query that gets no answer."""
        self.listener.queries -= 1
        self.listener.dropped[reason] += 1
        self._leave()

    def _leave(self) -> None:
        self.in_flight -= 1
        self._start_more()

    def flush(self) -> None:
        """Send as much as the kernel takes."""
        self.touched = False
        if self.closed or not self.out:
            return
        try:
            sent = os.write(self.stream.fileno(), self.out)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._break()
            return
        del self.out[:sent]
        if sent:
            self.active_at = self.flights.now
            self._start_more()
        if self.out:
            self.blocked.set()

    def _break(self) -> None:
        """The client is gone: what it is still owed is thrown away."""
        self.closed = True
        self.out.clear()
        self.backlog.clear()
        self.reading.cancel()
        self.moved.set()


class TcpListener:
    """One listening TCP socket and its connections."""

    protocol = "TCP"

    def __init__(self, sock: socket.socket, router: Router, intake: Intake) -> None:
        self.sock = sock
        self.router = router
        self.intake = intake
        self.limit(intake.limits)
        self.address = Address(sockaddr_of(sock.getsockname()))
        self.url = f"tcp://{self.address}"
        self.queries = 0
        self.responses = 0
        self.dropped = {"malformed": 0, "not_allowed": 0, "port_zero": 0}
        self.connections: set[StreamConnection] = set()
        self.accepting = trio.CancelScope()

    def use(self, router: Router) -> None:
        """Route queries by this from now on."""
        self.router = router

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Accept until `stop`, then serve the connections there are to their end."""
        listening = trio.socket.from_stdlib_socket(self.sock)
        async with trio.open_nursery() as nursery:
            task_status.started()
            with self.accepting:
                await self._accept(listening, nursery)
            listening.close()  # or its backlog would still take connections

    async def _accept(self, listening: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        told = False
        while True:
            try:
                accepted, _ = await listening.accept()
            except OSError as exc:
                if not told:
                    log.warning("%s: cannot accept: %s; trying again", self.url, exc)
                told = True
                await trio.sleep(ACCEPT_PAUSE_S)
                continue
            told = False
            nursery.start_soon(self._serve, accepted)

    def limit(self, limits: Limits) -> None:
        """Work within these limits from now on."""
        self.idle_s = limits.tcp_idle
        self.queries_limit = limits.tcp_queries

    def stop(self) -> None:
        """Accept and read no more; what has been asked is answered."""
        self.accepting.cancel()
        for connection in self.connections:
            connection.reading.cancel()

    async def _serve(self, accepted: trio.socket.SocketType) -> None:
        with accepted:
            try:
                sockaddr = sockaddr_of(accepted.getpeername())
                local = Address(sockaddr_of(accepted.getsockname()))
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError:  # the client is gone already
                return
            client = self.intake.client_of(sockaddr)
            if not self.intake.admit_connection(client):
                return
            connection = StreamConnection(self, accepted, Endpoint(self.protocol, local), client, sockaddr)
            self.connections.add(connection)
            if self.accepting.cancel_called:  # accepted just before `stop`
                connection.reading.cancel()
            try:
                await connection.run()
            except* trio.BrokenResourceError:
                log.debug("%s: %s does not read", self.url, connection.endpoint)
            finally:
                self.connections.discard(connection)
                self.intake.release_connection(client)

    def status(self) -> dict[str, Any]:
        """This listener in `dnsproxy status`."""
        dropped = {reason: number for reason, number in self.dropped.items() if number}
        return {"address": self.url, "queries": self.queries, "responses": self.responses, "dropped": dropped}

    def __repr__(self) -> str:
        return f"<TcpListener {self.url}, {len(self.connections)} connections>"


def bind_tcp(host: str, port: int, v6only: bool = True, share: bool = False) -> socket.socket:
    """A listening, non-blocking TCP socket; OSError as bind raises it. Those that `share` divide the clients."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        sock.bind(Address.of(host, port).socket_tuple())
        sock.listen(ACCEPT_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
