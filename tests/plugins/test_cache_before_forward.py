"""The cache in a chain with forward, all of it but the sockets' traffic: misses as a listener sees them."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest

import dnsproxy
from dnsproxy import config
from dnsproxy.chain import Chain
from dnsproxy.flight import Cancelled, Flights
from dnsproxy.intake import Intake
from dnsproxy.leases import Holder, Leases
from dnsproxy.message import Query
from dnsproxy.testing import make_query
from tests.plugins.cache_bench import START_S, answer

CONFIG = """
listen = ["127.0.0.1:0"]
admin = false
allow = ["192.0.2.0/24"]
[cache]
[[forward]]
to = ["127.0.0.1:5399", "127.0.0.1:5400"]
policy = "sequential"
failover = ["REFUSED"]
timeout = "1s"
deadline = "3s"
"""


class Process:
    """What a chain lives in: sockets that are opened but carry nothing, and an origin that keeps the answers."""

    version = dnsproxy.__version__
    workers = 1
    relay = None
    listen = None

    def __init__(self) -> None:
        self.flights = Flights()
        self.flights.now = START_S
        self.driver = self.receiver = self.sender = self
        self.pumps: dict[int, Any] = {}
        self.sent: list[tuple[int, bytes]] = []
        self.replies: list[bytes] = []
        self.answers: list[bytes] = []
        limits = config.Limits()
        self.intake = Intake(self.flights, limits)
        self.chain = Chain(config.parse(CONFIG, "test.toml").servers[0])
        self.flights.timers.fifo(self.chain.deadline_s)
        holder = Holder(self, Leases(1.0), self.chain.listens_on)
        for plugin in self.chain.plugins:
            plugin.bind(self.chain.plugins, holder)
        self.cache: Any = self.chain.plugins[0]

    # driver

    def add(self, pump: Any) -> None:
        self.pumps[pump.fileno()] = pump

    def remove(self, pump: Any) -> None:
        del self.pumps[pump.fileno()]

    # sender, receiver

    def send(self, _sock: object, fd: int, wires: list[bytes], *_: object) -> tuple[int, int]:
        self.sent += [(fd, octets) for octets in wires]
        return len(wires), 0

    def receive_connected(self, _sock: object, _fd: int) -> list[bytes]:
        return self.replies

    # origin

    def reply(self, _query: Query, octets: bytes) -> None:
        self.answers.append(octets)

    # what tests do

    def ask(self, **more: Any) -> Query:
        query = make_query(**more)
        self.intake.start(query, self.chain, self.intake.client_of(query.client_sockaddr), self)  # type: ignore[arg-type]
        self.settle()
        return query

    def settle(self) -> None:
        self.flights.drain()
        self.flights.flush()

    def respond(self, rcode: int = 0) -> None:
        """The upstream answers what it was asked last."""
        fd, octets = self.sent[-1]
        query = make_query().outgoing(octets)
        self.replies = [answer(query, ["www.example.org. 9 IN A 192.0.2.1"] if not rcode else [], rcode=rcode).wire]
        self.pumps[fd].on_readable()
        self.settle()

    def wait(self, seconds: float) -> None:
        self.flights.now += seconds
        self.flights.timers.fire(self.flights.now)
        self.settle()

    def close(self) -> None:
        for pump in list(self.pumps.values()):
            pump.close()


@pytest.fixture
def process() -> Iterator[Process]:
    running = Process()
    yield running
    running.close()


def test_a_miss_runs_no_coroutine_and_what_comes_is_kept(process: Process) -> None:
    query = process.ask(id=1)
    assert query.flight.coroutine is None
    process.respond()
    process.ask(id=2)
    assert [octets[:2] for octets in process.answers] == [b"\0\1", b"\0\2"]
    assert len(process.sent) == 1
    assert (process.cache.store.hits, process.cache.store.misses) == (1, 1)


def test_an_answer_that_took_another_upstream_is_kept(process: Process) -> None:
    process.ask()
    process.respond(rcode=5)
    assert len(process.sent) == 2
    process.respond()
    process.ask()
    assert len(process.answers) == len(process.sent) == 2
    assert process.answers[0][3] & 15 == 0


def test_queries_joined_in_flight_are_misses_and_their_answer_is_kept_once(process: Process) -> None:
    for number in range(5):
        process.ask(id=number)
    assert len(process.sent) == 1
    process.respond()
    assert len(process.answers) == 5
    status = process.cache.status()
    assert (status["hits"], status["misses"], status["entries"]) == (0, 5, 1)


def test_silence_is_a_failure_that_is_not_kept(process: Process) -> None:
    process.ask()
    for _ in range(4):
        process.wait(1.0)
    (octets,) = process.answers
    assert octets[3] & 15 == 2
    before = len(process.sent)
    process.ask()
    assert len(process.sent) == before + 1


def test_an_exchange_ends_with_the_client_that_gives_up(process: Process) -> None:
    query = process.ask()
    assert process.intake.in_flight == 1
    query.flight.throw(Cancelled())
    assert process.intake.in_flight == 0
    process.respond()
    process.ask()
    assert len(process.sent) == 2


def test_a_miss_leaves_nothing_to_the_garbage_collector(process: Process) -> None:
    gc.collect()
    gc.disable()
    try:
        before = living_queries()
        for number in range(100):
            process.ask(name=f"n{number}.example.org.")
            process.respond()
        assert living_queries() - before < 10
    finally:
        gc.enable()


def living_queries() -> int:
    return sum(isinstance(thing, Query) for thing in gc.get_objects())
