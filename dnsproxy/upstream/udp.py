"""Asking an upstream by UDP: many queries over a pool of connected sockets on random ports (RFC 5452 section 4.5)."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Iterable
from itertools import islice, repeat
from typing import TYPE_CHECKING

from dnsproxy import wire
from dnsproxy.address import Address, sockaddr_of
from dnsproxy.datagram import stamp
from dnsproxy.dnstap.events import Route
from dnsproxy.flight import Waiter
from dnsproxy.upstream.exchange import CANCELLED, REFUSED, SEND_ERROR, Exchange, draw_ids
from dnsproxy.upstream.sockets import datagram_socket

if TYPE_CHECKING:
    from dnsproxy.datagram import DatagramReceiver, DatagramSender
    from dnsproxy.driver import Driver
    from dnsproxy.flight import Flights
    from dnsproxy.upstream.upstream import Upstream

SOCKETS = 16  # per upstream: with random IDs an off-path guess has 20 bits to hit at any moment
SOCKET_AGE_S = 10.0
SOCKET_QUERIES = 10_000
SOCKET_IN_FLIGHT = 16_384  # a quarter of the IDs: drawing a free one stays cheap
RECEIVE_BUFFER = 1024 * 1024
LATE_KEPT = 1024  # IDs remembered of exchanges that ended without a reply, so that a late one is no mismatch
ASKED_AT_MOST = 256  # exchanges looked at, from the oldest, to find whom a wrong reply was meant for: 0.1 ms at most
BACKLOG = 4096
DICE = 64  # random octets read at once: a system call for each pick would show at low load


class UdpSocket:
    """One connected socket and the exchanges in flight on it."""

    def __init__(self, pool: UdpPool, sock: socket.socket, now: float) -> None:
        self.pool = pool
        self.sock = sock
        self.fd = sock.fileno()
        self.exchanges: dict[bytes, Exchange] = {}
        self.late: dict[bytes, bytes] = {}
        self.wires: list[bytes] = []
        self.used = 0
        self.retire_at = now + SOCKET_AGE_S
        self.blocked = False
        self.is_stamped = pool.upstream.is_watched and stamp(sock)
        self.route = Route.of("UDP", Address(sockaddr_of(sock.getsockname())), pool.upstream.address)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.fd

    def on_readable(self) -> None:
        """Match a batch of replies to their exchanges."""
        times: Iterable[int]
        try:
            if self.is_stamped:
                wires, times = self.pool.receiver.receive_connected_stamped(self.sock, self.fd)
            else:
                wires = self.pool.receiver.receive_connected(self.sock, self.fd)
                times = repeat(time.time_ns())
        except OSError:
            self._refused(self.wires)
            return
        exchanges = self.exchanges
        for octets, received_ns in zip(wires, times, strict=False):
            exchange = exchanges.get(octets[:2])
            if exchange is None:
                self._stray(octets, None)
                continue
            shape = exchange.query.shape
            exact = octets[12 : shape.question_end] == shape.question and octets[2] & 0x80 and octets[5] == 1
            if (not exact or exchange.edit is not None) and not exchange.matches(octets):
                self._stray(octets, exchange)
                continue
            del exchanges[octets[:2]]
            exchange.answered(octets, received_ns, octets[2] & wire.TC != 0)

    def _stray(self, octets: bytes, exchange: Exchange | None) -> None:
        """A reply that answers nothing in flight here: late, or a guess. The wait goes on."""
        question = self.late.pop(octets[:2], None)
        if exchange is None and question is not None and octets[12 : 12 + len(question)] == question:
            return
        self.pool.upstream.mismatches += 1
        victim = exchange or self._asked(octets)
        if victim is not None:
            victim.mismatched()

    def _asked(self, octets: bytes) -> Exchange | None:
        """Whom a reply whose ID nobody has was meant for: who waits for an answer to its question.

        One without a question that can be read, whoever waits alone. A reply to what nobody waits for may be a second
        copy, and says nothing about others.
        """
        exchanges = self.exchanges
        for exchange in islice(exchanges.values(), ASKED_AT_MOST):
            if exchange.asks(octets):
                return exchange
        return next(iter(exchanges.values())) if len(exchanges) == 1 and octets[4:6] != b"\0\1" else None

    def forget(self, exchange: Exchange) -> None:
        """Free the ID of an exchange that is over."""
        if self.exchanges.pop(exchange.id, None) is not None:
            if len(self.late) >= LATE_KEPT:
                self.late.clear()
            self.late[exchange.id] = exchange.query.shape.question

    def _refused(self, unsent: list[bytes]) -> None:
        """The upstream's port is closed: what was sent from this socket gets no reply."""
        waiting = {octets[:2] for octets in unsent}
        for taken, exchange in list(self.exchanges.items()):
            if taken not in waiting:
                exchange.failed(REFUSED)

    def flush(self) -> None:
        """Send what is queued."""
        self.pool.current = None
        wires, self.wires = self.wires, []
        sent, code = self.pool.sender.send(self.sock, self.fd, wires, [], [])
        if code:
            self._resume(wires, sent, code)

    def on_writable(self) -> None:
        """The kernel takes more again."""
        self.blocked = False
        if self.wires:
            self.flush()

    def _resume(self, wires: list[bytes], done: int, code: int) -> None:
        """Go on behind the datagram that the kernel stopped at; it is tried once more after ECONNREFUSED."""
        retried = -1
        while code:
            if code in (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS):
                self._wait(wires[done:])
                return
            if code == errno.ECONNREFUSED and retried != done:
                retried = done
                self._refused(wires[done:])
            else:
                self._unsendable(wires[done])
                done += 1
            sent, code = self.pool.sender.send(self.sock, self.fd, wires[done:], [], [])
            done += sent

    def _unsendable(self, octets: bytes) -> None:
        exchange = self.exchanges.get(octets[:2])
        if exchange is not None:
            exchange.failed(SEND_ERROR)

    def _wait(self, wires: list[bytes]) -> None:
        for octets in wires[BACKLOG:]:
            self._unsendable(octets)
        self.wires = wires[:BACKLOG] + self.wires
        self.blocked = True
        self.pool.driver.want_write(self)

    def close(self) -> None:
        """Nothing is expected here any more, and nothing goes out."""
        self.pool.driver.remove(self)
        for exchange in list(self.exchanges.values()):
            exchange.failed(CANCELLED)
        self.wires = []  # or a flush to come would send them on whatever has the descriptor by then
        self.sock.close()


class _Retired(Waiter):
    """Closes a socket that has been replaced, when the replies to its last queries must have come."""

    __slots__ = ("retired",)

    def __init__(self, retired: UdpSocket) -> None:
        super().__init__()
        self.retired = retired

    def expire(self) -> None:
        """The time is up."""
        if not self.done:
            self.done = True
            self.retired.pool.retired.discard(self.retired)
            self.retired.close()


class UdpPool:
    """The sockets towards one upstream; a random one carries each batch."""

    def __init__(
        self, upstream: Upstream, flights: Flights, driver: Driver, receiver: DatagramReceiver, sender: DatagramSender
    ) -> None:
        self.upstream = upstream
        self.flights = flights
        self.touched = flights.touched
        self.driver = driver
        self.receiver = receiver
        self.sender = sender
        self.ids: list[bytes] = []
        self.sockets: list[UdpSocket | None] = [None] * SOCKETS
        self.current: UdpSocket | None = None
        self.retired: set[UdpSocket] = set()
        self.dice = b""  # random octets for picking sockets

    def limit(self, sockets: int) -> None:
        """Use no more than that many sockets: when many upstreams share the descriptors."""
        for surplus in self.sockets[sockets:]:
            if surplus is not None:
                self._retire(surplus)
        self.sockets = self.sockets[:sockets]

    def send(self, exchange: Exchange) -> None:
        """Queue an exchange for the next flush; it may have failed when this returns."""
        current = self.current
        if current is None or current.used >= SOCKET_QUERIES:
            try:
                current = self.current = self._pick()
            except OSError:
                exchange.failed(SEND_ERROR)
                return
        exchanges = current.exchanges
        ids = self.ids
        taken = ids.pop() if ids else draw_ids(ids)
        while taken in exchanges:
            taken = ids.pop() if ids else draw_ids(ids)
        exchange.id = taken
        exchanges[taken] = exchange
        current.used += 1
        wires = current.wires
        if not wires and not current.blocked:
            self.touched.append(current)
        octets = taken + exchange.query.wire[2:]
        wires.append(octets)
        if exchange.taps is not None:
            exchange.sent(current, octets)
        else:  # the same without a call: 0.1 µs
            exchange.carrier = current
            exchange.sent_ns = time.time_ns()
            if exchange.attempt:
                self.upstream.queries += 1

    def _pick(self) -> UdpSocket:
        """A socket at random, replaced when it is worn or has too much in flight; OSError when none can be had."""
        if not self.sockets:
            raise OSError(errno.ESHUTDOWN, os.strerror(errno.ESHUTDOWN))
        if not self.dice:
            self.dice = os.urandom(DICE)
        index = self.dice[0] % len(self.sockets)
        self.dice = self.dice[1:]
        chosen = self.sockets[index]
        if chosen is not None:
            worn = chosen.used >= SOCKET_QUERIES or self.flights.now >= chosen.retire_at
            if not worn and len(chosen.exchanges) < SOCKET_IN_FLIGHT:
                return chosen
        try:
            fresh = self._open()
        except OSError:
            return self._one_that_is_open()
        if chosen is not None:
            self._retire(chosen)
        self.sockets[index] = fresh
        return fresh

    def _one_that_is_open(self) -> UdpSocket:
        """When descriptors have run out, a worn socket is better than none."""
        usable = [one for one in self.sockets if one is not None and len(one.exchanges) < SOCKET_IN_FLIGHT]
        if not usable:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return min(usable, key=lambda one: len(one.exchanges))

    def _retire(self, replaced: UdpSocket) -> None:
        """Read it for as long as a reply may still come."""
        self.retired.add(replaced)
        self.flights.timers.at(self.flights.now + self.upstream.timeout_s, _Retired(replaced))

    def _open(self) -> UdpSocket:
        """A socket on a port that the system draws at random."""
        sock = datagram_socket(self.upstream.options)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            sock.connect(self.upstream.address.socket_tuple())
            opened = UdpSocket(self, sock, self.flights.now)
            self.driver.add(opened)
        except OSError:
            sock.close()
            raise
        return opened

    def close(self) -> None:
        """End every exchange and close every socket, for good."""
        opened = [*self.sockets, *self.retired]
        self.sockets, self.current = [], None
        self.retired.clear()
        for one in opened:
            if one is not None:
                one.close()
