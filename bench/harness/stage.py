"""The proxy's path in one process without trio: real sockets, clients and an upstream, moved batch by batch."""

import gc
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from dnsproxy import config
from dnsproxy.chain import Router
from dnsproxy.datagram import BATCH, make_receiver, make_sender
from dnsproxy.flight import Flights
from dnsproxy.generation import Generation
from dnsproxy.intake import Intake
from dnsproxy.leases import Leases
from dnsproxy.listeners.udp import UdpListener, bind_udp
from dnsproxy.server import GC_ALLOCATIONS
from harness.delayed import answer
from harness.loopback import HOST
from harness.pacer import question

NAMES = 1_000
WIRE_OCTETS = 4096
EVENTS = 64
TAP_QUERIES = 64  # a tap writes for that many at once: it waits for company

POLL = "poll, timers"
RECEIVE_QUERIES = "receive queries (recvmmsg)"
TAKE_IN = "read queries, limits, chain, observers; choose an upstream, ID and socket"
SEND_QUERIES = "send queries to the upstream (sendmmsg)"
RECEIVE_ANSWERS = "receive answers (recvmmsg)"
MATCH = "match answers to queries"
FINISH = "finish: answer made the client's own, observers"
SEND_ANSWERS = "send answers to clients (sendmmsg)"
JOIN = "taps: frames put together"
WRITE = "taps: written to their sockets"
STEPS = (POLL, RECEIVE_QUERIES, TAKE_IN, SEND_QUERIES, RECEIVE_ANSWERS, MATCH, FINISH, SEND_ANSWERS, JOIN, WRITE)
OF_THE_KERNEL = (POLL, RECEIVE_QUERIES, SEND_QUERIES, RECEIVE_ANSWERS, SEND_ANSWERS, WRITE)


class Ledger:
    """Nanoseconds by step; what a step within a step takes is not the outer one's."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.spent = dict.fromkeys(STEPS, 0)
        self._inner = 0

    def spend(self, step: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """Calls the function on the account of a step."""
        outer, self._inner = self._inner, 0
        began = time.perf_counter_ns()
        try:
            return function(*arguments)
        finally:
            took = time.perf_counter_ns() - began
            self.spent[step] += took - self._inner
            self._inner = outer + took


class Gate:
    """The proxy's receiver and sender, on the ledger's account."""

    def __init__(self, ledger: Ledger) -> None:
        self._spend = ledger.spend
        self._receiver = make_receiver()
        self._sender = make_sender()

    def receive(self, sock: socket.socket, fd: int, family: int) -> tuple[list[bytes], list[bytes]]:
        return self._spend(RECEIVE_QUERIES, self._receiver.receive, sock, fd, family)  # type: ignore[no-any-return]

    def receive_stamped(self, sock: socket.socket, fd: int, family: int) -> tuple[list[bytes], list[bytes], list[int]]:
        spend = self._spend
        return spend(RECEIVE_QUERIES, self._receiver.receive_stamped, sock, fd, family)  # type: ignore[no-any-return]

    def receive_controlled(
        self, sock: socket.socket, fd: int, family: int
    ) -> tuple[list[bytes], list[bytes], list[bytes], list[int]]:
        raise NotImplementedError("no wildcard listener here")

    def receive_connected(self, sock: socket.socket, fd: int) -> list[bytes]:
        return self._spend(RECEIVE_ANSWERS, self._receiver.receive_connected, sock, fd)  # type: ignore[no-any-return]

    def receive_connected_stamped(self, sock: socket.socket, fd: int) -> tuple[list[bytes], list[int]]:
        spend = self._spend
        return spend(RECEIVE_ANSWERS, self._receiver.receive_connected_stamped, sock, fd)  # type: ignore[no-any-return]

    def send(
        self, sock: socket.socket, fd: int, wires: list[bytes], names: list[bytes], controls: list[bytes]
    ) -> tuple[int, int]:
        step = SEND_ANSWERS if names else SEND_QUERIES
        return self._spend(step, self._sender.send, sock, fd, wires, names, controls)  # type: ignore[no-any-return]


class Sockets:
    """In the driver's place: what is to be read, and by whom."""

    def __init__(self) -> None:
        self.pumps: dict[int, Any] = {}
        self.epoll = select.epoll()

    def add(self, pump: Any) -> None:
        self.pumps[pump.fileno()] = pump
        self.epoll.register(pump.fileno(), select.EPOLLIN)

    def remove(self, pump: Any) -> None:
        del self.pumps[pump.fileno()]
        self.epoll.unregister(pump.fileno())

    def want_write(self, pump: Any) -> None:
        raise RuntimeError("the loopback takes no more: a smaller batch is needed")


class Stage:
    """A listener, its chain and what that leases; `plugins` are tables of the configuration beside `[[forward]]`."""

    version = "0"
    workers = 1
    relay = None
    listen = None

    def __init__(self, plugins: str, batch: int) -> None:
        assert batch <= BATCH
        self.ledger = Ledger()
        self.upstream, self.clients = _socket(), _socket()
        configuration = config.parse(_configuration(plugins, self.upstream.getsockname()[1]), "steps.toml")
        self.flights = Flights()
        self.flights.now = time.monotonic()
        self.driver = Sockets()
        self.receiver = self.sender = Gate(self.ledger)
        self.leases = Leases(1.0)
        self.generation = Generation(configuration, self)
        self._listen(Intake(self.flights, configuration.limits))
        self._batch = batch
        self._asked = 0
        self._backlogs = [thing._backlog for thing in self.leases.things() if hasattr(thing, "tap_status")]
        self._collector, self._tap = socket.socketpair()
        gc.collect()
        gc.freeze()  # as the server does
        self._threshold = gc.get_threshold()
        gc.set_threshold(GC_ALLOCATIONS)

    def _listen(self, intake: Intake) -> None:
        sock = bind_udp(HOST, 0)
        self.clients.connect(sock.getsockname())
        driver: Any = self.driver
        self.driver.add(UdpListener(sock, Router(self.generation.chains), intake, driver, self.receiver, self.sender))

    def turn(self) -> None:
        """One batch of queries, from the clients and back."""
        for _ in range(self._batch):
            self.clients.send(self._query())
        self._pump(TAKE_IN)
        if self._answer():
            self._pump(MATCH)
        if not self._asked % TAP_QUERIES:
            for backlog in self._backlogs:
                self._write(backlog)
        for _ in range(self._batch):
            self.clients.recv(WIRE_OCTETS)

    def close(self) -> None:
        """Everything that it opened."""
        for pump in list(self.driver.pumps.values()):
            self.driver.remove(pump)
            pump.sock.close()
        self.driver.epoll.close()
        for sock in (self.upstream, self.clients, self._collector, self._tap):
            sock.close()
        gc.set_threshold(*self._threshold)
        gc.unfreeze()

    def _query(self) -> bytes:
        self._asked += 1
        return self._asked.to_bytes(4, "big")[2:] + QUESTIONS[self._asked % NAMES]

    def _pump(self, step: str) -> None:
        """As the driver does."""
        spend, flights = self.ledger.spend, self.flights
        for fd in spend(POLL, self._poll):
            spend(step, self.driver.pumps[fd].on_readable)
        spend(FINISH, flights.drain)
        spend(FINISH, flights.flush)

    def _poll(self) -> list[int]:
        events = self.driver.epoll.poll(0, EVENTS)
        now = self.flights.now = time.monotonic()
        if self.flights.timers.soonest() <= now:
            self.flights.timers.fire(now)
        return [fd for fd, _mask in events]

    def _answer(self) -> bool:
        """The upstream's part; whether it was asked at all."""
        asked = False
        while True:
            try:
                query, proxy = self.upstream.recvfrom(WIRE_OCTETS)
            except BlockingIOError:
                return asked
            asked = True
            self.upstream.sendto(answer(query, ttl=3600), proxy)

    def _write(self, backlog: Any) -> None:
        """As a tap's output does."""
        chunk = self.ledger.spend(JOIN, backlog.take, 1 << 30)
        if not chunk:
            return
        self.ledger.spend(WRITE, self._tap.send, chunk)
        self.ledger.spend(JOIN, backlog.written, len(chunk))
        self._collector.recv(len(chunk))


QUESTIONS = [question(f"name{number}.fresh.bench.example. A") for number in range(NAMES)]


def _configuration(plugins: str, upstream_port: int) -> str:
    return f'listen = ["{HOST}:0"]\nadmin = false\n{plugins}\n[[forward]]\nto = ["{HOST}:{upstream_port}"]\n'


def _socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((HOST, 0))
    sock.setblocking(False)
    return sock
