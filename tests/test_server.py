"""A process's reload, and its end: nobody who asked in time goes without an answer, and nothing is left running."""

import gc
import socket
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import dns.message
import dns.rcode
import pytest
import trio
from trio.testing import trio_test

from dnsproxy import config
from dnsproxy.driver import EpollDriver
from dnsproxy.generation import Generation
from dnsproxy.server import Server
from dnsproxy.sockets import Place, Sockets, bind_all
from dnsproxy.stream import framed
from tests.dnstap.tap_files import names
from tests.dnstap.waiting import until
from tests.support.offline import query
from tests.support.toml import stanza


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """The server freezes what exists and collects less often."""
    before = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*before)


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """An upstream that says nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


def text(upstream: socket.socket, **keys: object) -> str:
    limits = stanza("[limits]", {"stop": "100ms"})
    forward = stanza("[[forward]]", {"to": [f"127.0.0.1:{upstream.getsockname()[1]}"], "prefer_udp": True, **keys})
    return f'listen = ["127.0.0.1:0"]\nadmin = false\n{limits}{forward}'


@asynccontextmanager
async def serving(body: str) -> AsyncIterator[tuple[Server, int]]:
    """A server in this process, and its port; it is stopped at the end."""
    server = Server(config.parse(body, "/server.toml"))
    server.bind()
    async with trio.open_nursery() as nursery:
        await server.start(nursery)
        (pump,) = server.udp.values()
        yield server, pump.endpoint.address.port
        with trio.fail_after(5):
            await server.stop()
        nursery.cancel_scope.cancel()
    for sock in server.sockets.values():
        sock.close()


async def ask_udp(port: int, octets: bytes) -> trio.socket.SocketType:
    client = trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    await client.connect(("127.0.0.1", port))
    await client.send(octets)
    return client


@trio_test
async def test_what_is_still_in_flight_when_the_time_is_up_gets_servfail(silent: socket.socket) -> None:
    async with serving(text(silent, timeout="30s", deadline="60s")) as (server, port):
        assert isinstance(server.driver, EpollDriver)
        clients = [await ask_udp(port, query(f"{number % 2}.example.org", id=number)) for number in range(4)]
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(framed(query("2.example.org")))
        await until(lambda: server.intake.in_flight == 5)
    for number, client in enumerate(clients):
        with client, trio.fail_after(5):
            answer = dns.message.from_wire(await client.recv(65535))
        assert (answer.id, answer.rcode()) == (number, dns.rcode.SERVFAIL)
    async with stream:
        assert dns.message.from_wire((await stream.receive_some())[2:]).rcode() == dns.rcode.SERVFAIL
    assert server.intake.in_flight == 0


@trio_test
async def test_a_reload_that_the_end_interrupts_leaves_no_socket_open(
    silent: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_start(self: Generation, *, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep_forever()

    def open_sockets(wanted: list[Place], present: Iterable[Place]) -> Sockets:
        opened.append(bind_all(wanted, present))
        return opened[-1]

    opened: list[Sockets] = []
    async with serving(text(silent)) as (server, _):
        server.open_sockets = open_sockets
        monkeypatch.setattr(Generation, "run", never_start)
        with trio.move_on_after(0.05):
            await server.replace(config.parse(text(silent).replace("127.0.0.1:0", "[::1]:0"), "/server.toml"))
    sockets = [sock for each in opened for sock in each.values()]
    assert sockets
    assert all(sock.fileno() == -1 for sock in sockets)


@trio_test
async def test_the_time_to_answer_is_one_of_the_clock(silent: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnsproxy.server.SETTLED_EVERY_S", 0.000_001)  # each look takes far longer than planned
    async with serving(text(silent, timeout="30s", deadline="60s")) as (server, port):
        with await ask_udp(port, query("www.example.org")):
            await until(lambda: server.intake.in_flight == 1)
            begin = trio.current_time()
            await server.stop()
            assert 0.1 <= trio.current_time() - begin < 1


@trio_test
async def test_what_has_arrived_by_then_is_answered_however_much_it_is(silent: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
        client.settimeout(1)
        async with serving(text(silent, from_="example.net")) as (server, port):
            client.connect(("127.0.0.1", port))
            for number in range(500):
                client.send(query(f"{number}.example.org", id=number))
        assert len({client.recv(65535)[:2] for _ in range(500)}) == 500
        (pump,) = server.udp.values()
        assert (pump.queries, pump.responses) == (500, 500)


@trio_test
async def test_nothing_is_logged_when_a_process_ends_with_queries_in_flight(
    silent: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(text(silent, timeout="30s", deadline="60s")) as (server, port):
        clients = [await ask_udp(port, query(f"{number}.example.org")) for number in range(10)]
        await until(lambda: server.intake.in_flight == 10)
    for client in clients:
        client.close()
    assert caplog.messages == []


@trio_test
async def test_a_reload_reopens_the_files_that_are_kept_and_no_others(silent: socket.socket, tmp_path: Path) -> None:
    def with_taps(queues: dict[str, int]) -> str:
        taps = [
            stanza("[[dnstap]]", {"socket": f"file://{tmp_path}/{name}.fstrm", "queue": queue})
            for name, queue in queues.items()
        ]
        return text(silent) + "".join(taps)

    async with serving(with_taps({"kept": 100, "changed": 100})) as (server, port):
        with await ask_udp(port, query("www.example.org")):
            await until(lambda: sum(tap["sent"] for tap in server.snapshot()["taps"]) == 4)
        await server.replace(config.parse(with_taps({"kept": 100, "changed": 200, "new": 100}), "/server.toml"))
        expected = ["changed.1.fstrm", "changed.fstrm", "kept.1.fstrm", "kept.fstrm", "new.fstrm"]
        await until(lambda: names(tmp_path) == expected)
        await trio.sleep(0.1)
        assert names(tmp_path) == expected
