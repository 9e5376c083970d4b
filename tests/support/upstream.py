"""A DNS server that answers, lies, loses, delays and dies by script, and remembers what it saw."""

import heapq
import itertools
import queue
import selectors
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.support import wire as dns_wire
from tests.support.behaviours import Behaviour, answer

RECEIVE_OCTETS = 65_535
PORT_ATTEMPTS = 50


@dataclass(frozen=True)
class Seen:
    """A query as it arrived."""

    wire: bytes
    protocol: str  # "UDP" or "TCP"
    source: tuple[str, int]
    at_s: float  # monotonic
    connection: int  # 1, 2, … in the order of accepting; 0 for UDP

    @property
    def id(self) -> int:
        return dns_wire.message_id(self.wire)

    @property
    def qname(self) -> str:
        return dns_wire.qname(self.wire)


@dataclass(eq=False)
class Connection:
    """One accepted TCP connection."""

    socket: socket.socket
    number: int
    source: tuple[str, int]
    received: bytes = b""
    queries: int = 0

    def messages(self) -> Iterable[bytes]:
        while len(self.received) >= 2:
            (length,) = struct.unpack_from("!H", self.received)
            if len(self.received) < 2 + length:
                return
            wire, self.received = self.received[2 : 2 + length], self.received[2 + length :]
            yield wire


@dataclass
class Asked:
    """A query and the ways to react to it: what a behaviour gets."""

    upstream: "HostileUpstream"
    seen: Seen
    connection: Connection | None
    delay_s: float = 0.0

    @property
    def wire(self) -> bytes:
        return self.seen.wire

    def reply(self, wire: bytes) -> None:
        """Sends these octets, at once or after `delay_s`."""
        self.upstream.later(self.delay_s, lambda: self._send(wire))

    def reply_from(self, host: str, port: int, wire: bytes) -> None:
        """Sends from another address; port 0 is any port."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
            elsewhere.bind((host, port))
            elsewhere.sendto(wire, self.seen.source)

    def write(self, octets: bytes) -> None:
        """Puts octets on the TCP stream as they are."""
        assert self.connection is not None
        self.upstream.write(self.connection, octets)

    def close(self) -> None:
        if self.connection is not None:
            self.upstream.drop_connection(self.connection)

    def _send(self, wire: bytes) -> None:
        self.upstream.sent.append(wire)
        if self.connection is None:
            self.upstream.send_datagram(wire, self.seen.source)
        else:
            self.upstream.write(self.connection, struct.pack("!H", len(wire)) + wire)


@dataclass
class Script:
    """Behaviours for queries with a label, one after the other; the last one stays."""

    behaviours: tuple[Behaviour, ...]
    met: int = 0

    def next(self) -> Behaviour:
        chosen = self.behaviours[min(self.met, len(self.behaviours) - 1)]
        self.met += 1
        return chosen


@dataclass(eq=False)
class HostileUpstream:
    """Runs in a thread of its own from `start` (or `with`) to `stop`; one port, UDP and TCP unless told otherwise.

    A query meets the script of the first of its labels that has one, else `default`.
    """

    host: str = "127.0.0.1"
    port: int = 0
    udp: bool = True
    tcp: bool = True
    answer_address: str = "192.0.2.1"  # in its A records: tells upstreams apart
    close_after: int = 0  # queries per TCP connection; 0 is no limit
    idle_close_s: float = 0.0  # closes a TCP connection that long after its last query; 0 is never
    records: bool = True  # keep what was seen and sent
    default: Behaviour = answer
    seen: list[Seen] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    connections_made: int = 0
    parked: list[Asked] = field(default_factory=list)  # what `hold` put aside

    def __post_init__(self) -> None:
        self._scripts: dict[str, Script] = {}
        self._selector = selectors.DefaultSelector()
        self._orders: queue.SimpleQueue[tuple[Callable[[], None], threading.Event]] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._connections: dict[int, Connection] = {}
        self._udp_socket: socket.socket | None = None
        self._tcp_socket: socket.socket | None = None
        self._running = False

    def __repr__(self) -> str:
        return f"<HostileUpstream {self.address}, {len(self.seen)} queries seen>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def on(self, label: str, *behaviours: Behaviour) -> None:
        """From now on queries with this label in their name meet these behaviours in turn."""
        self._scripts[label] = Script(behaviours)

    def seen_for(self, label: str) -> list[Seen]:
        return [one for one in list(self.seen) if label in one.qname.split(".")]

    def wait_for(self, count: int, label: str | None = None, within_s: float = 5.0) -> list[Seen]:
        """Waits until so many queries (with that label) were seen; AssertionError when they don't come."""
        end = time.monotonic() + within_s
        while True:
            found = list(self.seen) if label is None else self.seen_for(label)
            if len(found) >= count:
                return found
            assert time.monotonic() < end, f"{self!r}: {len(found)} of {count} queries with label {label}"
            time.sleep(0.005)

    def start(self) -> None:
        self._waker, self._woken = socket.socketpair()
        self._woken.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._obey)
        self._bind_somewhere()
        self._running = True
        self._thread = threading.Thread(target=self._run, name=f"upstream {self.port}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._running:
            self._order(self._end)
            self._thread.join()
            self._waker.close()
            self._woken.close()
            self._selector.close()

    def close_port(self) -> None:
        """Nobody listens any more: UDP queries meet ICMP, TCP ones a reset; established connections end."""
        self._order(self._unbind)

    def open_port(self) -> None:
        """Listens again, on the same port."""
        self._order(self._bind)

    def close_connections(self) -> None:
        """Closes every TCP connection, as a server does that frees idle ones."""
        self._order(self._drop_connections)

    def release(self) -> None:
        """Answers every query that `hold` parked, and those that come to `hold` from now on meet it again."""
        self._order(self._answer_parked)

    @property
    def open_connections(self) -> int:
        return len(self._connections)

    # What follows runs in the upstream's own thread.

    def later(self, delay_s: float, action: Callable[[], None]) -> None:
        if delay_s <= 0:
            action()
        else:
            heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._count), action))

    def send_datagram(self, wire: bytes, to: tuple[str, int]) -> None:
        if self._udp_socket is not None:
            try:
                self._udp_socket.sendto(wire, to)
            except (BlockingIOError, ConnectionError):
                pass  # the asker has gone, or reads too slowly: a lost datagram is part of UDP

    def write(self, connection: Connection, octets: bytes) -> None:
        if connection.number in self._connections:
            try:
                connection.socket.setblocking(True)
                connection.socket.sendall(octets)
                connection.socket.setblocking(False)
            except OSError:
                self.drop_connection(connection)

    def drop_connection(self, connection: Connection) -> None:
        if self._connections.pop(connection.number, None) is not None:
            self._selector.unregister(connection.socket)
            connection.socket.close()

    def _order(self, action: Callable[[], None]) -> None:
        done = threading.Event()
        self._orders.put((action, done))
        self._waker.send(b"!")
        assert done.wait(5), "the upstream's thread hangs"

    def _obey(self) -> None:
        self._woken.recv(100)
        while not self._orders.empty():
            action, done = self._orders.get()
            action()
            done.set()

    def _run(self) -> None:
        while self._running:
            for key, _ in self._selector.select(self._until_timer()):
                if key.fileobj.fileno() != -1:  # type: ignore[union-attr]  # not closed by what came before it
                    key.data()
            self._fire_timers()

    def _end(self) -> None:
        self._unbind()
        self._running = False

    def _until_timer(self) -> float | None:
        return max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None

    def _fire_timers(self) -> None:
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()

    def _bind_somewhere(self) -> None:
        for _ in range(PORT_ATTEMPTS if self.port == 0 else 1):
            try:
                return self._bind()
            except OSError as exc:
                failure = exc
        raise failure

    def _bind(self) -> None:
        port = self.port
        if self.tcp:
            self._tcp_socket = listening = self._new_socket(socket.SOCK_STREAM, port)
            listening.listen(256)
            port = listening.getsockname()[1]
        if self.udp:
            try:
                self._udp_socket = self._new_socket(socket.SOCK_DGRAM, port)
            except OSError:
                if self._tcp_socket is not None:
                    self._tcp_socket.close()
                raise
            port = self._udp_socket.getsockname()[1]
        self.port = port
        if self._tcp_socket is not None:
            self._selector.register(self._tcp_socket, selectors.EVENT_READ, self._accept)
        if self._udp_socket is not None:
            self._selector.register(self._udp_socket, selectors.EVENT_READ, self._receive_datagrams)

    def _new_socket(self, kind: socket.SocketKind, port: int) -> socket.socket:
        made = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, kind)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(kind == socket.SOCK_STREAM))
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            made.bind((self.host, port))
            made.setblocking(False)
        except OSError:
            made.close()
            raise
        return made

    def _unbind(self) -> None:
        for bound in (self._udp_socket, self._tcp_socket):
            if bound is not None:
                self._selector.unregister(bound)
                bound.close()
        self._udp_socket = self._tcp_socket = None
        self._drop_connections()

    def _drop_connections(self) -> None:
        for connection in list(self._connections.values()):
            self.drop_connection(connection)

    def _answer_parked(self) -> None:
        parked, self.parked = self.parked, []
        for asked in parked:
            answer(asked)

    def _accept(self) -> None:
        assert self._tcp_socket is not None
        try:
            accepted, source = self._tcp_socket.accept()
        except OSError:
            return  # the peer has gone meanwhile
        accepted.setblocking(False)
        self.connections_made += 1
        connection = Connection(accepted, self.connections_made, source[:2])
        self._connections[connection.number] = connection
        self._selector.register(accepted, selectors.EVENT_READ, lambda: self._receive_stream(connection))

    def _receive_datagrams(self) -> None:
        for _ in range(100):
            if self._udp_socket is None:
                return
            try:
                wire, source = self._udp_socket.recvfrom(RECEIVE_OCTETS)
            except (BlockingIOError, ConnectionError):
                return
            self._meet(wire, "UDP", source[:2], None)

    def _receive_stream(self, connection: Connection) -> None:
        try:
            chunk = connection.socket.recv(RECEIVE_OCTETS)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            self.drop_connection(connection)
        connection.received += chunk
        for wire in connection.messages():
            if connection.number not in self._connections:
                return  # an earlier query of the same segment ended it
            connection.queries += 1
            self._meet(wire, "TCP", connection.source, connection)
            self._grow_tired(connection)

    def _grow_tired(self, connection: Connection) -> None:
        if self.close_after and connection.queries >= self.close_after:
            self.drop_connection(connection)
        elif self.idle_close_s:
            queries = connection.queries
            self.later(self.idle_close_s, lambda: self._close_if_idle(connection, queries))

    def _close_if_idle(self, connection: Connection, queries: int) -> None:
        if connection.queries == queries:
            self.drop_connection(connection)

    def _meet(self, wire: bytes, protocol: str, source: tuple[str, int], connection: Connection | None) -> None:
        seen = Seen(wire, protocol, source, time.monotonic(), connection.number if connection else 0)
        if self.records:
            self.seen.append(seen)
        try:
            behaviour = self._behaviour(seen.qname)
        except IndexError:
            return  # no question to speak of
        behaviour(Asked(self, seen, connection))
        if not self.records:
            self.sent.clear()

    def _behaviour(self, qname: str) -> Behaviour:
        for label in qname.split("."):
            if label in self._scripts:
                return self._scripts[label].next()
        return self.default
