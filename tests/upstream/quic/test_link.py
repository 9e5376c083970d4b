"""The socket and the clock of a QUIC connection: what ends it, what it waits for, what it drops."""

from pathlib import Path

import pytest
import trio
from aioquic.quic.events import ConnectionTerminated
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from trio.testing import MockClock, trio_test

from dnsproxy.address import Address
from dnsproxy.upstream.options import UpstreamOptions
from dnsproxy.upstream.quic.connection import SILENCE_S
from dnsproxy.upstream.quic.link import BACKLOG, connected_socket, outcome_of
from tests.dnstap.waiting import until
from tests.support.quic_server import QuicServer
from tests.upstream.quic.world import CERTIFICATE, answer, upstream

pytestmark = pytest.mark.usefixtures("autojump_clock")
HANDSHAKE_FAILURE = QuicErrorCode.CRYPTO_ERROR + 40


@pytest.mark.parametrize(
    ("code", "frame_type", "outcome"),
    [
        (HANDSHAKE_FAILURE, QuicFrameType.CRYPTO, "tls_error"),
        (HANDSHAKE_FAILURE, None, "closed"),  # a code of the application's own
        (QuicErrorCode.CONNECTION_REFUSED, 0, "refused"),
        (QuicErrorCode.CONNECTION_REFUSED, None, "closed"),
        (QuicErrorCode.PROTOCOL_VIOLATION, QuicFrameType.PING, "closed"),
        (QuicErrorCode.NO_ERROR, None, "closed"),
    ],
)
def test_how_a_connection_ends_says_what_becomes_of_exchanges(code: int, frame_type: int | None, outcome: str) -> None:
    assert outcome_of(ConnectionTerminated(code, frame_type, "")) == outcome


def test_a_socket_that_cannot_be_connected_is_an_error() -> None:
    unreachable = UpstreamOptions(Address.of("255.255.255.255", 853), "quic")
    with pytest.raises(OSError, match="denied"):
        connected_socket(unreachable)


@trio_test
async def test_an_upstream_that_cannot_be_reached_is_refused(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(options: UpstreamOptions) -> None:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr("dnsproxy.upstream.quic.pool.connected_socket", unreachable)
    async with upstream(tmp_path) as world:
        assert await world.ask() == "refused"


@trio_test
async def test_a_server_that_refuses_connections_is_refused(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE, behaviour=answer, accepts=0)) as world:
        assert await world.ask() == "refused"
        assert len(world.server.connections) == 1


@trio_test
async def test_a_sign_of_life_that_we_are_late_to_read_is_one(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path) as world:
        assert await world.ask("first.example.org") == "answered"
        (connection,) = world.connections
        world.driver.remove(connection.link)  # as if we were busy
        exchange = world.send()
        await trio.sleep(SILENCE_S + 0.1)
        assert await world.outcome(exchange) == "answered"
        assert world.connections == [connection]


@trio_test
async def test_what_waits_for_the_kernel_is_bounded_and_goes_nowhere_else(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with upstream(tmp_path) as world:
        assert await world.ask() == "answered"
        link = world.connections[0].link
        link.blocked = True  # as after EAGAIN
        datagrams = [(b"elsewhere", ("192.0.2.1", 853)), *[(b"", link.peer)] * (2 * BACKLOG)]
        monkeypatch.setattr(link.quic, "datagrams_to_send", lambda _now: datagrams)
        link.touch()
        await until(lambda: link.unsent)
        assert link.unsent == [b""] * BACKLOG
        monkeypatch.undo()


@trio_test
async def test_what_aioquic_raises_ends_one_connection(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with upstream(tmp_path) as world:
        assert await world.ask("first.example.org") == "answered"
        (connection,) = world.connections

        def fail(*_: object) -> None:
            raise AssertionError("a state that cannot be")

        monkeypatch.setattr(connection.quic, "receive_datagram", fail)
        assert await world.ask() == "answered"
        assert len(world.server.connections) == 2
