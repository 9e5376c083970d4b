"""Asking an upstream by TLS: as by TCP, and handshakes are shared, resumed, bounded and refused."""

import socket
import ssl
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.dnstap.schema import SocketProtocol
from dnsproxy.stream import framed
from dnsproxy.upstream.options import HealthOptions, TlsOptions
from dnsproxy.upstream.tcp import CONNECTIONS, PATIENCE, SHARE
from dnsproxy.upstream.tls import pin_of
from tests.dnstap.waiting import until
from tests.support.offline import reply
from tests.upstream.certificates import Certificates
from tests.upstream.tcp_world import World, in_use, padded, upstream
from tests.upstream.world import TIMEOUT_S, Watching

INTERVAL_S = 0.5


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def tls(certificates: Certificates) -> TlsOptions:
    return TlsOptions(ca=certificates.ca)


async def serve(world: World, connections: int) -> None:
    for _ in range(connections):
        world.nursery.start_soon((await world.accept()).serve)


@trio_test
async def test_replies_in_any_order_find_their_exchanges(
    certificates: Certificates, tls: TlsOptions, autojump_clock: MockClock
) -> None:
    async with upstream(certificates.good(), tls=tls) as world:
        exchanges = [world.send(f"{number}.example.org") for number in range(10)]
        accepted = await world.accept()
        asked = [await accepted.query() for _ in exchanges]
        await accepted.stream.send_all(b"".join(framed(reply(octets)) for octets in reversed(asked)))
        for exchange, octets in zip(exchanges, asked, strict=True):
            assert await world.outcome(exchange) == "answered"
            assert exchange.value == reply(octets)


@trio_test
async def test_attempts_are_shown_as_dot_with_our_address_and_their_octets(
    certificates: Certificates, tls: TlsOptions, autojump_clock: MockClock
) -> None:
    async with upstream(certificates.good(), tls=tls) as world:
        tap = Watching()
        exchange = world.send(taps=(tap,))
        accepted = await world.accept()
        asked = await accepted.query()
        await accepted.reply_to(asked)
        assert await world.outcome(exchange) == "answered"
        ours = accepted.socket.getpeername()
        sent, received = tap.events
        assert (sent.query_wire, received.response_wire) == (asked, reply(asked))
        for event in tap.events:
            assert event.route.socket_protocol == SocketProtocol.DOT
            assert (event.route.query_port, event.route.response_port) == (ours[1], world.upstream.address.port)


@trio_test
async def test_whoever_waits_shares_the_first_handshake_and_later_ones_resume_it(
    certificates: Certificates, tls: TlsOptions, autojump_clock: MockClock
) -> None:
    async with upstream(certificates.good(), tls=tls) as world:
        exchanges = [world.send(f"{number}.example.org") for number in range(5 * SHARE)]
        await serve(world, 1)
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
        assert (world.pool.open_connections, world.pool.handshakes) == (1, 1)
        world.nursery.start_soon(serve, world, CONNECTIONS - 1)
        while world.pool.handshakes < CONNECTIONS:
            for exchange in [world.send(f"{number}.example.org") for number in range(10 * SHARE)]:
                assert await world.outcome(exchange) == "answered"
        assert (world.pool.open_connections, world.pool.resumptions) == (CONNECTIONS, CONNECTIONS - 1)


@trio_test
async def test_large_messages_fill_several_records_and_reach_a_slow_reader_whole(
    certificates: Certificates, tls: TlsOptions, patient_clock: MockClock
) -> None:
    async with upstream(certificates.good(), tls=tls) as world:
        world.listening.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        accepted = await in_use(world)
        exchanges = [world.send(octets=padded(number)) for number in range(4 * SHARE)]
        await until(lambda: any(connection.link.waiting for connection in world.connections))
        for exchange in exchanges:
            asked = await accepted.query()
            assert asked[2:] == exchange.query.wire[2:]
            await accepted.stream.send_all(framed(reply(asked).ljust(65_535, b"\0")))
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
            assert len(exchange.value) == 65_535


@trio_test
async def test_what_was_under_way_on_a_used_connection_goes_again_on_a_new_one(
    certificates: Certificates, tls: TlsOptions, autojump_clock: MockClock
) -> None:
    async with upstream(certificates.good(), tls=tls) as world:
        accepted = await in_use(world)
        exchanges = [world.send(f"{number}.example.org") for number in range(5)]
        asked = await accepted.query()
        await accepted.stream.send_all(framed(reply(asked))[:20])
        await accepted.close()
        await serve(world, 1)
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
        assert world.upstream.failures == 0


@trio_test
async def test_an_idle_connection_ends_with_a_word(
    certificates: Certificates, tls: TlsOptions, autojump_clock: MockClock
) -> None:
    async with upstream(certificates.good(), tls=tls, idle_timeout=2.0) as world:
        accepted = await in_use(world)
        assert isinstance(accepted.stream, trio.SSLStream)
        strict = accepted.stream
        strict._https_compatible = False  # then an end without close_notify is an error
        began = trio.current_time()
        assert await accepted.until_closed() == []
        assert 1.9 <= trio.current_time() - began <= 2.1


# handshakes that stall or end


@trio_test
async def test_what_waits_for_a_stalled_handshake_goes_over_a_second_connection(
    certificates: Certificates, tls: TlsOptions, autojump_clock: MockClock
) -> None:
    async with upstream(certificates.good(), tls=tls) as world:
        began = trio.current_time()
        exchanges = [world.send(f"{number}.example.org") for number in range(3)]
        await world.accept()  # and not a word
        await serve(world, 1)
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
        assert trio.current_time() - began <= TIMEOUT_S * (PATIENCE + 0.1)
        assert (world.upstream.queries, world.upstream.failures) == (3, 0)
        later = world.send("later.example.org")
        assert await world.outcome(later) == "answered"
        await until(lambda: len(world.connections) == 1)
        assert trio.current_time() - began <= TIMEOUT_S + 0.1, "the stalled one is given up"


@trio_test
async def test_a_slow_handshake_serves_whoever_waits_before_the_second_one_does(
    certificates: Certificates, tls: TlsOptions, autojump_clock: MockClock
) -> None:
    async with upstream(certificates.good(), tls=tls) as world:
        exchange = world.send()
        slow = await world.accept()
        second = await world.accept()
        await trio.sleep(0.1)
        world.nursery.start_soon(slow.serve)
        assert await world.outcome(exchange) == "answered"
        assert second.received == []


@trio_test
async def test_when_every_handshake_stalls_each_exchange_ends_in_its_time(
    certificates: Certificates, tls: TlsOptions, autojump_clock: MockClock
) -> None:
    async with upstream(certificates.good(), tls=tls) as world:
        tap = Watching()
        for _ in range(3):
            began = trio.current_time()
            exchanges = [world.send(f"{number}.example.org", taps=(tap,)) for number in range(5)]
            for exchange in exchanges:
                assert await world.outcome(exchange) == "timeout"
            assert trio.current_time() - began <= TIMEOUT_S + 0.1
            assert len(world.connections) <= CONNECTIONS
        assert (tap.events, world.upstream.queries) == ([], 0)
        await until(lambda: not world.connections)


@trio_test
async def test_an_end_amid_the_handshake_is_a_closed_connection_and_nothing_was_sent(
    certificates: Certificates, tls: TlsOptions, autojump_clock: MockClock
) -> None:
    async with upstream(certificates.good(), tls=tls) as world:
        exchange = world.send()
        accepted = await world.accept()
        await accepted.socket.recv(10)
        accepted.socket.close()
        assert await world.outcome(exchange) == "closed"
        assert world.upstream.queries == 0


@trio_test
async def test_a_server_that_speaks_no_tls_is_a_tls_error(
    tls: TlsOptions, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with upstream(None, tls=tls) as world:
        exchange = world.send()
        accepted = await world.accept()
        await accepted.stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        assert await world.outcome(exchange) == "tls_error"
    assert "TLS with 127.0.0.1" in caplog.text


@trio_test
async def test_nonsense_after_the_handshake_is_a_tls_error_and_told(
    certificates: Certificates, tls: TlsOptions, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with upstream(certificates.good(), tls=tls) as world:
        exchange = world.send()
        accepted = await world.accept()
        await accepted.query()
        await accepted.socket.send(b"no record" * 10)
        assert await world.outcome(exchange) == "tls_error"
    assert "TLS with 127.0.0.1" in caplog.text


# certificates that will not do

BAD = pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("expired", "expired"),
        ("not_yet_valid", "not yet valid"),
        ("wrong_name", "host name mismatch"),
        ("self_signed", "self-signed"),
        ("unknown_issuer", "unknown issuer"),
        ("good", "pin"),
    ],
)


@BAD
@trio_test
async def test_a_refused_certificate_fails_everybody_at_once_with_one_handshake_per_interval(
    kind: str,
    reason: str,
    certificates: Certificates,
    tls: TlsOptions,
    autojump_clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if reason == "pin":
        tls = replace(tls, pins=(b"\0" * 32,))
    context = getattr(certificates, kind)()
    async with upstream(context, tls=tls, health=HealthOptions(interval=INTERVAL_S)) as world:
        began = trio.current_time()
        exchanges = [world.send(f"{number}.example.org") for number in range(40)]
        world.nursery.start_soon(refused_by_client, world)
        for exchange in exchanges:
            assert await world.outcome(exchange) == "tls_error"
        while trio.current_time() < began + INTERVAL_S * 0.9:
            assert await world.outcome(world.send()) == "tls_error"
        assert (len(world.accepted), world.upstream.queries, world.pool.handshakes) == (1, 0, 0)
        await trio.sleep(INTERVAL_S)
        world.nursery.start_soon(refused_by_client, world)
        assert await world.outcome(world.send()) == "tls_error"
        assert len(world.accepted) == 2
    where = world.upstream.name
    told = [line for line in caplog.messages if "refused" in line]
    assert told == [f"upstream tls://{where} certificate of {where} refused: {reason}"]


async def refused_by_client(world: World) -> None:
    accepted = await world.accept()
    with pytest.raises((trio.BrokenResourceError, trio.EndOfChannel)):
        await accepted.query()


@trio_test
async def test_an_upstream_is_asked_again_once_its_certificate_will_do(
    certificates: Certificates, tls: TlsOptions, autojump_clock: MockClock
) -> None:
    async with upstream(certificates.expired(), tls=tls) as world:
        world.nursery.start_soon(refused_by_client, world)
        assert await world.outcome(world.send()) == "tls_error"
        world.context = certificates.good()
        await trio.sleep(world.upstream.options.health.interval)
        exchange = world.send()
        await serve(world, 1)  # a probe may come along
        assert await world.outcome(exchange) == "answered"


@trio_test
async def test_the_right_pin_will_do(certificates: Certificates, tls: TlsOptions, autojump_clock: MockClock) -> None:
    issued = certificates.authority.issue_cert("127.0.0.1")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(server)
    der = ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode())
    async with upstream(server, tls=replace(tls, pins=(pin_of(der),))) as world:
        await in_use(world)
