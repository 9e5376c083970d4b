"""A proxy's chain without trio and without a network: a clock moved by hand, datagrams that meet scripts."""

import errno
import ipaddress
import itertools
import socket
import time
from collections.abc import Callable, Hashable, Iterable
from math import inf
from types import SimpleNamespace
from typing import Any, TypeVar, cast

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from dnsproxy import config
from dnsproxy.address import Address, sockaddr_of
from dnsproxy.chain import Chain
from dnsproxy.driver import Pump
from dnsproxy.flight import Flights
from dnsproxy.intake import Intake
from dnsproxy.message import Endpoint, Query
from dnsproxy.plugin import Plugin
from dnsproxy.shape import shape_of
from dnsproxy.upstream.exchange import ANSWERED, REFUSED, Exchange
from dnsproxy.upstream.upstream import Upstream

T = TypeVar("T")
Script = Callable[[bytes], Any]  # octets asked -> octets, OSError, None for silence, or a list of those with delays
LISTENER = Address.of("192.0.2.53", 53)
CLIENT = "192.0.2.7"
KEYS = 'admin = false\nlisten = ["127.0.0.1:5300"]\nallow = ["192.0.2.0/24", "2001:db8::/32"]\n'


def query(name: str = "www.example.org", qtype: str = "A", id: int = 0x1234, **more: Any) -> bytes:
    return dns.message.make_query(name, qtype, id=id, **more).to_wire()


def reply(octets: bytes, address: str = "192.0.2.1", rcode: int = 0, flags: int = 0) -> bytes:
    """What a resolver answers; `flags` are set beside QR and RA."""
    response = dns.message.make_response(dns.message.from_wire(octets), recursion_available=True)
    response.set_rcode(dns.rcode.Rcode(rcode))
    response.flags |= flags
    if not rcode:
        response.answer.append(dns.rrset.from_text(response.question[0].name, 300, "IN", "A", address))
    return response.to_wire()


def answering(*args: Any, **more: Any) -> Script:
    """A server that replies as `reply` does."""
    return lambda octets: reply(octets, *args, **more)


def silent(octets: bytes) -> None:
    """A server that says nothing."""


def closed(octets: bytes) -> OSError:
    """A port on which nobody listens."""
    return ConnectionRefusedError(errno.ECONNREFUSED, "refused")


def slow(delay_s: float, script: Script) -> Script:
    return lambda octets: [(delay_s, script(octets))]


def addresses(octets: bytes) -> list[str]:
    return [record.to_text() for rrset in dns.message.from_wire(octets).answer for record in rrset]


class Network:
    """Sender and receiver of datagrams: what is sent meets the script of its destination."""

    def __init__(self) -> None:
        self.scripts: dict[str, Script] = {}
        self.asked: list[tuple[str, bytes]] = []
        self.sources: set[Any] = set()
        self.coming: list[tuple[float, int, bytes | OSError]] = []
        self.errors: list[int] = []  # of the next sends, before anything is sent
        self.now = 0.0

    def send(
        self, sock: socket.socket, fd: int, wires: list[bytes], names: list[bytes], controls: list[bytes]
    ) -> tuple[int, int]:
        if not wires:
            return 0, 0
        if self.errors:
            return 0, self.errors.pop(0)
        server = str(Address(sockaddr_of(sock.getpeername())))
        self.sources.add(sock.getsockname())
        for octets in wires:
            self.asked.append((server, octets))
            self._come(fd, self.scripts.get(server, silent)(octets))
        return len(wires), 0

    def _come(self, fd: int, replies: Any) -> None:
        for one in replies if isinstance(replies, list) else [(0.0, replies)]:
            delay_s, what = one if isinstance(one, tuple) else (0.0, one)
            if what is not None:
                self.coming.append((self.now + delay_s, fd, what))

    def take(self, fd: int) -> list[bytes]:
        here = [item for item in self.coming if item[1] == fd and item[0] <= self.now]
        errors = [item for item in here if isinstance(item[2], OSError)]
        for item in errors[:1] or here:
            self.coming.remove(item)
        if errors:
            raise cast("OSError", errors[0][2])
        return [cast("bytes", item[2]) for item in here]

    def receive_connected(self, sock: socket.socket, fd: int) -> list[bytes]:
        return self.take(fd)

    def receive(self, sock: socket.socket, fd: int, family: int) -> tuple[list[bytes], list[bytes]]:
        return self.take(fd), []

    def receive_connected_stamped(self, sock: socket.socket, fd: int) -> tuple[list[bytes], list[int]]:
        wires = self.take(fd)
        return wires, [time.time_ns()] * len(wires)

    def receive_stamped(self, sock: socket.socket, fd: int, family: int) -> tuple[list[bytes], list[bytes], list[int]]:
        return self.take(fd), [], []

    def receive_controlled(
        self, sock: socket.socket, fd: int, family: int
    ) -> tuple[list[bytes], list[bytes], list[bytes], list[int]]:
        return self.take(fd), [], [], []

    def asked_for(self, server: str) -> list[bytes]:
        return [octets for to, octets in self.asked if to == server]


class NoDriver:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.pumps: dict[int, Pump] = {}
        self.writers: list[Pump] = []

    def add(self, pump: Pump) -> None:
        self.pumps[pump.fileno()] = pump

    def remove(self, pump: Pump) -> None:
        self.pumps.pop(pump.fileno(), None)

    def want_write(self, pump: Pump) -> None:
        self.writers.append(pump)


class NoNursery:
    """Starts nothing."""

    def start_soon(self, *_: object) -> None:
        return


class ScriptedTcp:
    """An upstream's TCP side: the script answers, after nothing has gone over any connection."""

    open_connections = handshakes = resumptions = 0

    def __init__(self, upstream: Upstream, offline: "Offline") -> None:
        self.upstream = upstream
        self.offline = offline

    def send(self, exchange: Exchange) -> None:
        server = f"tcp://{self.upstream.name}"
        script = self.offline.network.scripts.get(server, silent)
        octets = exchange.query.wire
        exchange.sent(cast("Any", self), octets)
        self.offline.network.asked.append((server, octets))
        answer = script(octets)
        if isinstance(answer, OSError):
            self.offline.flights.submit(exchange.failed, REFUSED)
        elif answer is not None:
            self.offline.flights.submit(self._answer, exchange, answer)

    def _answer(self, exchange: Exchange, octets: bytes) -> None:
        if not exchange.done:
            exchange.answered(octets, exchange.sent_ns + 1)
            assert exchange.outcome == ANSWERED

    def forget(self, exchange: Exchange) -> None:
        return

    def close(self) -> None:
        return


class Asked:
    """A client's query, where its answer goes."""

    def __init__(self, query: Query, flights: Flights) -> None:
        self.query = query
        self.flights = flights
        self.answers: list[bytes] = []
        self.drops: list[str] = []
        self.at: Any = inf  # when the answer came

    def reply(self, query: Query, octets: bytes) -> None:
        self.answers.append(octets)
        self.at = self.flights.now

    def drop(self, reason: str) -> None:
        self.drops.append(reason)

    @property
    def answer(self) -> dns.message.Message:
        (octets,) = self.answers
        return dns.message.from_wire(octets)

    @property
    def addresses(self) -> list[str]:
        return addresses(self.answers[0])

    @property
    def rcode(self) -> int:
        return int(self.answer.rcode())

    @property
    def ede(self) -> int | None:
        codes = [int(option.code) for option in self.answer.options if isinstance(option, dns.edns.EDEOption)]
        return codes[0] if codes else None

    def label(self, name: str) -> object:
        """Metadata that forward left."""
        return self.query.metadata.get(f"forward/{name}")


def chain_of(
    *plugins: type[Plugin],
    zones: tuple[bytes, ...] = (b"\0",),
    allow: tuple[str, ...] = ("127.0.0.0/8", "192.0.2.0/24"),
) -> Chain:
    """A chain of plugins that need no options, named after their classes."""
    entries = [SimpleNamespace(plugin=plugin, name=plugin.__name__.lower(), stanzas=()) for plugin in plugins]
    networks = tuple(ipaddress.ip_network(network) for network in allow)
    server: Any = SimpleNamespace(zones=zones, allow=networks, listen=(), plugins=entries)
    return Chain(server)


class Offline:
    """What stands around a chain: `plugin.Server` for its plugins, and a client for its queries."""

    version = "0"
    workers = 1
    relay = None
    listen = None

    def __init__(self) -> None:
        self.flights = Flights()
        self.network = Network()
        self.driver = NoDriver()
        self.receiver = self.sender = self.network
        self.leased: dict[Hashable, Any] = {}
        self.limits = config.Limits()
        self.intake = Intake(self.flights, self.limits)
        self.chain: Chain | None = None

    def configure(self, body: str) -> Chain:
        """Build and bind the chain of a configuration's one server."""
        (server,) = config.parse(KEYS + body, "/offline.toml").servers
        chain = self.chain = Chain(server)
        self.flights.timers.fifo(chain.deadline_s)
        for plugin in chain.plugins:
            plugin.bind(chain.plugins, cast("Any", self))
        return chain

    def lease(self, key: Hashable, factory: Callable[[], T]) -> T:
        if key not in self.leased:
            thing = self.leased[key] = factory()
            if isinstance(thing, Upstream):
                thing.nursery = cast("Any", NoNursery())
                thing.tcp = cast("Any", ScriptedTcp(thing, self))
        return cast("T", self.leased[key])

    def give_back(self, key: Hashable) -> None:
        del self.leased[key]

    def listens_on(self, host: str, port: int, scheme: str | None = None) -> bool:
        return False

    @property
    def upstreams(self) -> dict[str, Upstream]:
        return {thing.name: thing for thing in self.leased.values() if isinstance(thing, Upstream)}

    def start(self, octets: bytes, *, client: str = CLIENT, protocol: str = "UDP", partition: bytes = b"") -> Asked:
        """A client's query arrives; nothing is waited for."""
        assert self.chain is not None
        sockaddr = Address.of(client, 40_000).sockaddr
        asked = Asked(Query(octets, shape_of(octets), sockaddr, Endpoint(protocol, LISTENER), 1), self.flights)
        asked.query.partition = partition
        self.intake.start(asked.query, self.chain, self.intake.client_of(sockaddr), asked)
        return asked

    def ask(self, name: str = "www.example.org", qtype: str = "A", *, run_s: float = 0.0, **more: Any) -> Asked:
        """A client's query arrives and time goes on for a while; `more` goes to `start` or to dnspython."""
        ours = {key: more.pop(key) for key in ("client", "protocol", "partition") if key in more}
        asked = self.start(query(name, qtype, **more), **ours)
        self.run(run_s)
        return asked

    def run(self, seconds: float) -> None:
        """Let time pass, and everything that happens in it."""
        until = self.flights.now + seconds
        while True:
            self._settle()
            due = min((at for at, _, _ in self.network.coming), default=inf)
            now = max(self.flights.now, min(until, due, self.flights.timers.soonest()))
            self.flights.now = self.network.now = now
            self.flights.timers.fire(now)
            self._settle()
            if now >= until:
                return

    def _settle(self) -> None:
        for _ in itertools.repeat(None, 10_000):
            self.flights.settle()
            ready = [self.driver.pumps.get(fd) for at, fd, _ in self.network.coming if at <= self.network.now]
            pumps: Iterable[Pump] = dict.fromkeys(pump for pump in ready if pump is not None)
            for pump in pumps:
                pump.on_readable()
            if not (pumps or self.flights.ready or self.flights.touched):
                self._lose_undeliverable()
                return
        raise AssertionError("this never comes to rest")

    def _lose_undeliverable(self) -> None:
        now = self.network.now
        self.network.coming = [item for item in self.network.coming if item[0] > now or item[1] in self.driver.pumps]

    def close(self) -> None:
        self.flights.close()
        for upstream in self.upstreams.values():
            upstream.udp.close()
