"""Queries over UDP (RFC 1035 section 4.2.1), a batch at a time."""

from __future__ import annotations

import errno
import logging
import socket
import struct
import time
from collections.abc import Iterable
from itertools import repeat
from typing import TYPE_CHECKING, Any

from dnsproxy.address import KEY_END, KEY_START, Address, sockaddr_of
from dnsproxy.datagram import stamp
from dnsproxy.message import Endpoint, Query
from dnsproxy.shape import DROP, SHAPES, shape_of

if TYPE_CHECKING:
    from dnsproxy.chain import Router
    from dnsproxy.datagram import DatagramReceiver, DatagramSender
    from dnsproxy.driver import Driver
    from dnsproxy.intake import Intake

log = logging.getLogger("dnsproxy")

RECEIVE_BUFFER = 4 * 1024 * 1024  # asked of the kernel, which may give less: room for a burst while we work
BACKLOG = 4096  # answers kept while the kernel takes none; more are dropped and counted
ENDPOINTS = 1024  # own addresses remembered by a wildcard listener
NO_PORT = b"\0\0"  # cannot be answered
_CMSG = struct.Struct("@Nii")
_ALIGNED = 16  # struct cmsghdr on 64-bit systems


class UdpListener:
    """One UDP socket. Answers leave from the address that was asked."""

    def __init__(
        self,
        sock: socket.socket,
        router: Router,
        intake: Intake,
        driver: Driver,
        receiver: DatagramReceiver,
        sender: DatagramSender,
    ) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.family = sock.family
        self.is_stamped = False
        self.use(router)
        self.intake = intake
        self.driver = driver
        self.receiver = receiver
        self.sender = sender
        self.touched = intake.flights.touched
        self.endpoint = Endpoint("UDP", Address(sockaddr_of(sock.getsockname())))
        self.url = f"udp://{self.endpoint.address}"
        self.wires: list[bytes] = []
        self.names: list[bytes] = []
        self.controls: list[bytes] = []
        self.blocked = False
        self.counted = 0  # answers in `wires` that are among `responses` already
        self.queries = 0
        self.responses = 0
        self.send_failed = 0
        self.dropped = {"malformed": 0, "not_allowed": 0, "port_zero": 0}

    def use(self, router: Router) -> None:
        """Route queries by this from now on; where somebody watches, the kernel says when they came."""
        self.router = router
        if router.is_watched and not self.is_stamped:
            self.is_stamped = stamp(self.sock)

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.fd

    @property
    def taken(self) -> int:
        """Datagrams that have come in."""
        return self.queries + sum(self.dropped.values())

    def on_readable(self) -> None:
        """Take a batch of queries; those that need nobody else are answered before this returns."""
        times: Iterable[int]
        try:
            if self.is_stamped:
                wires, names, times = self.receiver.receive_stamped(self.sock, self.fd, self.family)
            else:
                wires, names = self.receiver.receive(self.sock, self.fd, self.family)
                times = repeat(time.time_ns())
        except OSError as exc:
            log.debug("%s: %s", self.url, exc)
            return
        if wires:
            self.take(wires, names, repeat(self.endpoint), times)

    def take(self, wires: list[bytes], names: list[bytes], endpoints: Iterable[Endpoint], times: Iterable[int]) -> None:
        """A batch of datagrams: with senders' raw sockaddrs, the endpoints they were sent to, and when they came."""
        if self.blocked:
            self._trim()
        shapes, clients = SHAPES, self.intake.clients  # looked up here: 0.2 µs a query less than by calls
        start, only = self.intake.start, self.router.only
        self.queries += len(wires)
        for octets, name, endpoint, received_ns in zip(wires, names, endpoints, times, strict=False):
            shape = shapes.get(octets[2:]) or shape_of(octets)
            if shape.fault == DROP or name[2:4] == NO_PORT:
                self.drop("malformed" if shape.fault == DROP else "port_zero")
                continue
            query = Query(octets, shape, name, endpoint, received_ns)
            client = clients.get(name[KEY_START:KEY_END]) or self.intake.client_of(name)
            start(query, only or self.router.route(query), client, self)

    def reply(self, query: Query, octets: bytes) -> None:
        """Queue an answer for the next flush."""
        if not self.wires and not self.blocked:
            self.touched.append(self)
        self.wires.append(octets)
        self.names.append(query.client_sockaddr)

    def drop(self, reason: str) -> None:
        """Count a datagram that gets no answer."""
        self.queries -= 1
        self.dropped[reason] += 1

    def flush(self) -> None:
        """Send what is queued."""
        wires, names, controls = self.wires, self.names, self.controls
        self.responses += len(wires) - self.counted
        self.counted = 0
        sent, code = self.sender.send(self.sock, self.fd, wires, names, controls)
        if code:
            self._resume(sent, code)
        else:
            self.wires, self.names, self.controls = [], [], []

    def on_writable(self) -> None:
        """The kernel takes more again."""
        self.blocked = False
        if self.wires:
            self.flush()

    def _resume(self, done: int, code: int) -> None:
        """Go on behind the datagram that the kernel stopped at.

        That one is tried once more when the error was an old datagram's (ECONNREFUSED), else dropped and counted.
        """
        wires, names, controls = self.wires, self.names, self.controls
        retried = -1
        while code:
            if code in (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS):
                self._wait(done)
                return
            if code == errno.ECONNREFUSED and retried != done:
                retried = done
            else:
                self.send_failed += 1
                done += 1
            sent, code = self.sender.send(self.sock, self.fd, wires[done:], names[done:], controls[done:])
            done += sent
        self.wires, self.names, self.controls = [], [], []

    def _wait(self, done: int) -> None:
        """Keep what the kernel has no room for, within a bound, until it has."""
        self.wires, self.names, self.controls = self.wires[done:], self.names[done:], self.controls[done:]
        self.counted = len(self.wires)
        self.blocked = True
        self._trim()
        self.driver.want_write(self)

    def _trim(self) -> None:
        """Drop and count what has come since the kernel stopped taking answers, beyond the bound."""
        surplus = len(self.wires) - BACKLOG
        if surplus > 0:
            self.send_failed += surplus
            self.responses += len(self.wires) - self.counted
            del self.wires[BACKLOG:], self.names[BACKLOG:], self.controls[BACKLOG:]
            self.counted = BACKLOG

    def status(self) -> dict[str, Any]:
        """This listener in `dnsproxy status`."""
        dropped = {reason: number for reason, number in self.dropped.items() if number}
        status: dict[str, Any] = {
            "address": self.url,
            "queries": self.queries,
            "responses": self.responses + len(self.wires) - self.counted,  # what waits for room has been shown to taps
            "dropped": dropped,
        }
        if self.send_failed:
            status["send_failed"] = self.send_failed
        return status

    def __repr__(self) -> str:
        return f"<UdpListener {self.url}, {self.queries} queries>"


class WildcardUdpListener(UdpListener):
    """A UDP socket on every address of the machine: the ancillary data say which was asked (RFC 3542 section 6)."""

    def __init__(
        self,
        sock: socket.socket,
        router: Router,
        intake: Intake,
        driver: Driver,
        receiver: DatagramReceiver,
        sender: DatagramSender,
    ) -> None:
        super().__init__(sock, router, intake, driver, receiver, sender)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_PKTINFO", 8), 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        self.endpoints: dict[bytes, Endpoint] = {}

    def on_readable(self) -> None:
        """As UdpListener.on_readable, with the address that each datagram was sent to."""
        try:
            wires, names, controls, times = self.receiver.receive_controlled(self.sock, self.fd, self.family)
        except OSError as exc:
            log.debug("%s: %s", self.url, exc)
            return
        if wires:
            known = self.endpoints
            endpoints = [known.get(control) or self._endpoint_of(control) for control in controls]
            self.take(wires, names, endpoints, times)

    def reply(self, query: Query, octets: bytes) -> None:
        """Queue an answer that leaves from the address that was asked."""
        UdpListener.reply(self, query, octets)
        self.controls.append(query.endpoint.control)

    def _endpoint_of(self, control: bytes) -> Endpoint:
        if len(self.endpoints) >= ENDPOINTS:
            self.endpoints.clear()
        endpoint = self.endpoints[control] = self._read_control(control)
        return endpoint

    def _read_control(self, control: bytes) -> Endpoint:
        if len(control) < _ALIGNED + 12:
            return self.endpoint
        _size, level, kind = _CMSG.unpack_from(control)
        packed = control[_ALIGNED + 4 : _ALIGNED + 8]
        scope = 0
        if level == socket.IPPROTO_IP:
            answer_with = struct.pack("=I", 0) + packed + b"\0\0\0\0"
        else:
            packed = control[_ALIGNED : _ALIGNED + 16]
            interface = control[_ALIGNED + 16 : _ALIGNED + 20]
            link_local = packed[0] == 0xFE and packed[1] & 0xC0 == 0x80
            scope = int.from_bytes(interface, "little") if link_local else 0
            answer_with = packed + (interface if link_local else b"\0\0\0\0")
        family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
        address = Address.of(socket.inet_ntop(family, packed), self.endpoint.address.port, scope)
        header = _CMSG.pack(_CMSG.size + len(answer_with), level, kind)
        aligned = (header + answer_with).ljust((len(header) + len(answer_with) + 7) // 8 * 8, b"\0")
        return Endpoint("UDP", address, control=aligned)


def bind_udp(host: str, port: int, v6only: bool = True, share: bool = False) -> socket.socket:
    """A bound, non-blocking UDP socket; OSError as bind raises it. Those that `share` divide the clients among them."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(Address.of(host, port).socket_tuple())
    except OSError:
        sock.close()
        raise
    return sock
