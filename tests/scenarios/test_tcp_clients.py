"""TCP clients as RFC 7766 wants them served: patient ones, hasty ones, slow ones, and those that leave."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import TcpClient, by_id, exchange, exchange_tcp, framed
from tests.support.collector import wait_until
from tests.support.proxy import Proxy
from tests.support.shared import shared_upstream
from tests.support.toml import forward, stanza
from tests.support.upstream import HostileUpstream

IDLE_S = 0.6
SOON_S = IDLE_S + 1.5


def limits(**keys: object) -> str:
    return stanza("[limits]", keys)


upstream = shared_upstream()


@pytest.fixture(scope="module")
def proxy(upstream: HostileUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    body = limits(tcp_idle=f"{IDLE_S * 1000:.0f}ms", tcp_queries=5) + forward(upstream, timeout="3s", deadline="4s")
    with Proxy(tmp_path_factory.mktemp("proxy"), body) as running:
        yield running


def test_a_connection_serves_many_queries_in_turn(proxy: Proxy) -> None:
    with TcpClient(proxy.port) as client:
        for id in range(20):
            client.send(wire.query(f"turn{id}.example.org", id=id))
            assert wire.message_id(client.receive()) == id


def test_pipelined_queries_are_all_answered(proxy: Proxy) -> None:
    with TcpClient(proxy.port) as client:
        client.send(*[wire.query(f"pipelined{id}.example.org", id=id) for id in range(100)])
        found = by_id(client.receive_all(100))
    assert {id: wire.qname(answer) for id, answer in found.items()} == {
        id: f"pipelined{id}.example.org" for id in range(100)
    }


def test_a_fast_answer_overtakes_a_slow_one(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("slow", behaviours.delay(200))
    with TcpClient(proxy.port) as client:
        client.send(wire.query("slow.example.org", id=1), wire.query("fast.example.org", id=2))
        assert [wire.message_id(answer) for answer in client.receive_all(2)] == [2, 1]


def test_a_half_closed_client_gets_all_its_answers_and_then_the_end(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("half-closed", behaviours.delay(150))
    with TcpClient(proxy.port) as client:
        client.send(*[wire.query(f"h{id}.half-closed.example.org", id=id) for id in range(12)])
        client.half_close()
        assert set(by_id(client.receive_all(12))) == set(range(12))
        assert client.closed_within(SOON_S)


def test_a_message_may_come_octet_by_octet(proxy: Proxy) -> None:
    with TcpClient(proxy.port) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for octet in framed(wire.query("drops.example.org", id=5)):
            client.socket.sendall(bytes((octet,)))
        assert wire.message_id(client.receive()) == 5


def test_an_idle_connection_is_closed_in_time(proxy: Proxy) -> None:
    with TcpClient(proxy.port) as client:
        client.send(wire.query("idle.example.org"))
        client.receive()
        assert not client.closed_within(IDLE_S / 2)
        assert client.closed_within(SOON_S)


def test_a_connection_with_queries_in_flight_is_not_idle(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("long", behaviours.delay(2 * IDLE_S * 1000))
    with TcpClient(proxy.port) as client:
        client.send(wire.query("long.example.org", id=9))
        assert wire.message_id(client.receive()) == 9


def test_a_message_that_trickles_for_longer_than_idle_ends_the_connection(proxy: Proxy) -> None:
    started = time.monotonic()
    with TcpClient(proxy.port) as client:
        for octet in framed(wire.query("trickle.example.org")):
            try:
                client.socket.sendall(bytes((octet,)))
            except ConnectionError:
                break
            if client.closed_within(0.1):
                break
        assert time.monotonic() - started < SOON_S


def test_reading_pauses_at_the_bound_of_queries_and_nothing_is_refused(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("bounded", behaviours.hold)
    with TcpClient(proxy.port) as client:
        client.send(*[wire.query(f"b{id}.bounded.example.org", id=id) for id in range(20)])
        upstream.wait_for(5, "bounded")
        time.sleep(0.2)
        assert len(upstream.seen_for("bounded")) == 5
        upstream.on("bounded", behaviours.answer)
        upstream.release()
        assert {wire.rcode(answer) for answer in client.receive_all(20)} == {0}


def test_a_reader_that_never_reads_blocks_nobody(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("unread", behaviours.large(65_000))
    with TcpClient(proxy.port) as lazy, TcpClient(proxy.port) as brisk:
        lazy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.send(*[wire.query(f"u{id}.unread.example.org", "TXT") for id in range(200)])
        started = time.monotonic()
        for id in range(20):
            brisk.send(wire.query(f"brisk{id}.example.org", id=id))
            assert wire.message_id(brisk.receive()) == id
            exchange(wire.query(f"datagram{id}.example.org"), proxy.port)
        assert time.monotonic() - started < 2


def test_a_slow_reader_gets_everything_in_the_end(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("slowly", behaviours.large(60_000))
    with TcpClient(proxy.port) as client:
        client.send(*[wire.query(f"s{id}.slowly.example.org", "TXT", id=id) for id in range(60)])
        time.sleep(IDLE_S / 2)
        found = by_id(client.receive_all(60))
    assert set(found) == set(range(60))
    assert {len(answer) for answer in found.values()} == {60_000}


def test_clients_that_leave_in_the_middle_leave_nothing_behind(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("left", behaviours.delay(100))
    exchange_tcp(wire.query("www.example.org"), proxy.port)
    before = proxy.open_files()
    for number in range(20):
        with TcpClient(proxy.port) as client:
            client.send(wire.query(f"l{number}.left.example.org"))
            if number % 2:
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: proxy.open_files() <= before + 8, "descriptors are back")
    assert wire.rcode(exchange_tcp(wire.query("www.example.org"), proxy.port)) == 0


@pytest.mark.parametrize(
    "stream", [b"\0\0", b"\0\1x", b"\xff\xff" + b"x" * 100, framed(b"x" * 11), b"GET / HTTP/1.1\r\n\r\n"]
)
def test_streams_that_are_no_dns_harm_nobody_else(proxy: Proxy, stream: bytes) -> None:
    with TcpClient(proxy.port) as stranger, TcpClient(proxy.port) as client:
        stranger.socket.sendall(stream)
        client.send(wire.query("www.example.org", id=3))
        assert wire.message_id(client.receive()) == 3


def test_one_client_may_have_only_so_many_connections(
    start_proxy: StartProxy, second_upstream: HostileUpstream
) -> None:
    proxy = start_proxy(limits(tcp_connections_per_client=3) + forward(second_upstream))
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(admitted(proxy.port, "127.0.0.1"))
        assert is_turned_away(proxy.port, "127.0.0.1")
        assert not is_turned_away(proxy.port, "127.0.0.2")
    admitted(proxy.port, "127.0.0.1").socket.close()


def test_all_clients_together_may_have_only_so_many_connections(
    start_proxy: StartProxy, second_upstream: HostileUpstream
) -> None:
    proxy = start_proxy(limits(tcp_connections=4) + forward(second_upstream))
    with ExitStack() as stack:
        for number in range(4):
            stack.enter_context(admitted(proxy.port, f"127.0.0.{number + 1}"))
        assert is_turned_away(proxy.port, "127.0.0.9")
    admitted(proxy.port, "127.0.0.9").socket.close()


def is_turned_away(port: int, source: str) -> bool:
    try:
        exchange_tcp(wire.query("www.example.org"), port, source=source)
    except (EOFError, ConnectionError):
        return True
    return False


def admitted(port: int, source: str) -> TcpClient:
    """A connection that is served; tried again while the proxy has yet to notice that others have left."""
    end = time.monotonic() + 3
    while True:
        client = TcpClient(port, source=source)
        try:
            client.send(wire.query("www.example.org"))
            client.receive()
        except (EOFError, ConnectionError):
            client.socket.close()
            assert time.monotonic() < end, "never admitted"
            time.sleep(0.02)
        else:
            return client
