"""The UDP socket and the clock of one QUIC connection, which the driver serves without any task."""

from __future__ import annotations

import logging
import socket
import time
from math import inf
from typing import TYPE_CHECKING, Final, Protocol

from aioquic.quic.packet import QuicErrorCode

from dnsproxy.upstream.exchange import CLOSED, REFUSED, TLS_ERROR
from dnsproxy.upstream.quic import state
from dnsproxy.upstream.sockets import datagram_socket

if TYPE_CHECKING:
    from aioquic.quic.connection import QuicConnection
    from aioquic.quic.events import ConnectionTerminated, QuicEvent

    from dnsproxy.driver import Driver
    from dnsproxy.flight import Flights
    from dnsproxy.upstream.options import UpstreamOptions

log = logging.getLogger("dnsproxy")

MAX_DATAGRAM: Final = 65535
DATAGRAMS: Final = 64  # read in one turn: each costs about 0.1 ms, and others are waiting
BACKLOG: Final = 256  # datagrams that wait for the kernel; QUIC sends again what is lost beyond it
RECEIVE_BUFFER: Final = 1024 * 1024
TLS_ALERTS: Final = range(QuicErrorCode.CRYPTO_ERROR, QuicErrorCode.CRYPTO_ERROR + 256)


class Owner(Protocol):
    """Whoever speaks over a link. Everything here is called outside every task."""

    def take_event(self, event: QuicEvent) -> None:
        """Note what has happened; an exception ends the connection."""

    def settle(self, received_ns: int) -> None:
        """Act on what was noted; the datagram that brought it came at that time."""

    def turned(self) -> None:
        """A datagram has been dealt with, and the connection goes on."""

    def broken(self, problem: Exception) -> None:
        """`take_event` or aioquic has raised: close the link or drop it."""

    def lost(self, outcome: str) -> None:
        """The link is over, and not by `close` or `drop`: an exchange's outcome."""

    def ends_at(self) -> float:
        """When `over` is to be called, if nothing happens until then."""

    def over(self) -> None:
        """That time has come."""


class Alarm:
    """Wakes a link once, unless it is `done` before."""

    def __init__(self, link: QuicLink, when: float) -> None:
        self.link = link
        self.when = when
        self.done = False

    def expire(self) -> None:
        """The time has come."""
        self.done = True
        self.link.on_time()


def connected_socket(options: UpstreamOptions) -> socket.socket:
    """On a port of its own, so that nobody else's datagrams come in; OSError when there is none."""
    sock = datagram_socket(options)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.connect(options.address.socket_tuple())
    except OSError:
        sock.close()
        raise
    return sock


class QuicLink:
    """From `connect` until it is closed. `touch` after whatever gives aioquic something to send."""

    def __init__(
        self, owner: Owner, flights: Flights, driver: Driver, sock: socket.socket, quic: QuicConnection
    ) -> None:
        self.owner = owner
        self.flights = flights
        self.driver = driver
        self.sock = sock
        self.fd = sock.fileno()
        self.peer = sock.getpeername()
        self.quic = quic
        self.unsent: list[bytes] = []
        self.blocked = self.touched = self.closed = False
        self.unheard_since = inf  # nothing genuine has come since something was sent then
        self.due = inf  # when aioquic wants to be woken
        self.alarm = Alarm(self, inf)

    def connect(self) -> None:
        """Shake hands; the first datagram goes out with the next flush."""
        self.driver.add(self)
        self.quic.connect(self.peer, self.flights.now)
        self.touch()

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.fd

    def touch(self) -> None:
        """Send what is due with the next flush, and see when to go on."""
        if not self.touched and not self.closed:
            self.touched = True
            self.flights.touched.append(self)

    def on_readable(self) -> None:
        """Take what came in."""
        try:
            for _ in range(DATAGRAMS):
                self._receive(self.sock.recv(MAX_DATAGRAM), time.time_ns())
                if self.closed:
                    return
        except BlockingIOError:
            pass
        except OSError as exc:  # ICMP: nobody listens there
            log.debug("%r: %s", self.owner, exc)
            self._lose(REFUSED)
        self.touch()

    def _receive(self, datagram: bytes, received_ns: int) -> None:
        problem: Exception | None = None
        try:
            self.quic.receive_datagram(datagram, self.peer, self.flights.now)
            while (event := self.quic.next_event()) is not None:
                self.owner.take_event(event)
        except Exception as exc:  # noqa: BLE001  whatever a peer makes aioquic raise ends this connection, and no more
            problem = exc
        self._listen()
        self.owner.settle(received_ns)
        if problem is not None:
            log.debug("%r: %r", self.owner, problem)
            self.owner.broken(problem)
        elif state.is_stateless_reset(self.quic, datagram):
            self._lose(CLOSED)
        else:
            self._look_for_end()
        if not self.closed:
            self.owner.turned()

    def _listen(self) -> None:
        if not state.is_unheard(self.quic):
            self.unheard_since = inf
        elif self.unheard_since == inf:
            self.unheard_since = self.flights.now

    def _look_for_end(self) -> None:
        """Either side may have closed the connection."""
        ending = state.ending(self.quic)
        if ending is not None:
            log.debug("%r: %s", self.owner, ending)
            self._transmit()
            self._lose(outcome_of(ending))

    def flush(self) -> None:
        """As `touch` says."""
        self.touched = False
        if self.closed:
            return
        if self._transmit():
            self._listen()
            self._set_alarm()
        else:
            self._lose(REFUSED)

    def _transmit(self) -> bool:
        """Hand over what is due; False when the socket takes nothing any more."""
        for octets, address in self.quic.datagrams_to_send(self.flights.now):
            if address == self.peer and len(self.unsent) < BACKLOG:  # no moving to an address that the peer prefers
                self.unsent.append(octets)
        return self.blocked or self._send()

    def _send(self) -> bool:
        done = 0
        try:
            for octets in self.unsent:
                self.sock.send(octets)
                done += 1
        except BlockingIOError:
            self.blocked = True
            self.driver.want_write(self)
        except OSError as exc:
            log.debug("%r: %s", self.owner, exc)
            return False
        del self.unsent[:done]
        return True

    def on_writable(self) -> None:
        """The kernel takes more again."""
        self.blocked = False
        if not self._send():
            self._lose(REFUSED)

    def _set_alarm(self) -> None:
        due = self.quic.get_timer()
        self.due = inf if due is None else due
        when = min(self.due, self.owner.ends_at())
        if self.alarm.done or when < self.alarm.when:
            self.alarm.done = True
            self.alarm = Alarm(self, when)
            self.flights.timers.at(when, self.alarm)

    def on_time(self) -> None:
        """Something is due, or was when the alarm was set."""
        if not self.closed:
            self.on_readable()  # if we are late, the sign of life may be there already
            self._go_on()

    def _go_on(self) -> None:
        if self.closed:
            return
        now = self.flights.now
        if now >= self.due:
            self.quic.handle_timer(now)
            self._look_for_end()
        if now >= self.owner.ends_at():
            self.owner.over()
        self.touch()

    def close(self, code: int, frame_type: int | None = None) -> None:
        """Say good-bye, with an error of the application or that of a frame."""
        if not self.closed:
            self.quic.close(error_code=code, frame_type=frame_type)
            self._transmit()
            self.drop()

    def drop(self) -> None:
        """Send and receive nothing any more."""
        if not self.closed:
            self.closed = self.alarm.done = True
            self.driver.remove(self)
            self.sock.close()

    def _lose(self, outcome: str) -> None:
        if not self.closed:
            self.drop()
            self.owner.lost(outcome)


def outcome_of(ending: ConnectionTerminated) -> str:
    """What exchanges come to that had waited for the connection."""
    if ending.frame_type is None:  # said by the application
        return CLOSED
    if ending.error_code in TLS_ALERTS:
        return TLS_ERROR
    return REFUSED if ending.error_code == QuicErrorCode.CONNECTION_REFUSED else CLOSED
