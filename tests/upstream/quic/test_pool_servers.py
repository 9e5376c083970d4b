"""Servers over QUIC with wishes of their own, and those that do what DoQ forbids."""

import os
import socket
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.upstream.quic.doq import DoqError
from tests.dnstap.waiting import until
from tests.support.offline import reply
from tests.support.quic_server import Asked, QuicServer
from tests.upstream.quic.world import CERTIFICATE, answer, in_use, upstream

pytestmark = pytest.mark.usefixtures("autojump_clock")


@trio_test
async def test_a_server_that_wants_the_address_proved_gets_it_so(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE, behaviour=answer, retry=True)) as world:
        assert await world.ask() == "answered"


@trio_test
async def test_a_server_of_another_version_is_asked_in_it(autojump_clock: MockClock, tmp_path: Path) -> None:
    version_2 = 0x6B3343CF
    async with upstream(tmp_path, QuicServer(CERTIFICATE, behaviour=answer, versions=[version_2])) as world:
        assert await world.ask() == "answered"


@trio_test
async def test_a_server_of_no_known_version_is_a_failed_attempt(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE, behaviour=answer, versions=[0x0A0A0A0A])) as world:
        assert await world.ask() == "closed"


@trio_test
async def test_a_server_that_speaks_something_else_is_a_tls_error(autojump_clock: MockClock, tmp_path: Path) -> None:
    server = QuicServer(CERTIFICATE, behaviour=answer)
    server.configuration.alpn_protocols = ["other"]
    async with upstream(tmp_path, server) as world:
        for _ in range(3):
            assert await world.ask() == "tls_error"
        assert len(server.connections) == 1


@trio_test
async def test_garbage_does_no_harm(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE)) as world:
        exchange = world.send()
        (asked,) = await world.asked(1)
        peer = asked.connection.quic.get_peer_address()
        assert peer is not None
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
            elsewhere.sendto(os.urandom(1200), peer)
        for first in range(0, 256, 8):
            world.server.sock.sendto(bytes((first,)) + os.urandom(1199), peer)
        world.server.sock.sendto(b"", peer)
        await trio.testing.wait_all_tasks_blocked()
        asked.reply(reply(asked.octets))
        assert await world.outcome(exchange) == "answered"


@pytest.mark.parametrize(
    ("octets", "end"),
    [
        (b"\0\x05hi", True),  # ends before it is whole
        (b"", True),
        (b"\0\x0c" + bytes(12) + b"more", False),
        (b"\0\x0c" + b"\1\2" + bytes(10), True),  # another message ID than 0
    ],
    ids=["cut", "empty", "two", "id"],
)
@trio_test
async def test_what_doq_forbids_ends_the_connection(
    autojump_clock: MockClock, tmp_path: Path, octets: bytes, end: bool
) -> None:
    server = QuicServer(CERTIFICATE, behaviour=lambda asked: asked.write(octets, end))
    async with upstream(tmp_path, server) as world:
        assert await world.ask() == "closed"
        await until(lambda: world.server.connections[0].closed_with == DoqError.PROTOCOL_ERROR)


@trio_test
async def test_a_stream_that_the_server_opens_ends_the_connection(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE)) as world:
        await in_use(world)
        (served,) = world.server.connections
        served.quic.send_stream_data(1, b"hello")
        world.server.flush()
        await until(lambda: served.closed_with == DoqError.PROTOCOL_ERROR)


@trio_test
async def test_a_reset_stream_is_a_failed_attempt_and_the_connection_goes_on(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with upstream(tmp_path, QuicServer(CERTIFICATE, behaviour=lambda asked: asked.reset(1))) as world:
        assert await world.ask() == "closed"
        await in_use(world)
        assert len(world.server.connections) == 1


@trio_test
async def test_a_reply_counts_though_its_stream_does_not_end(autojump_clock: MockClock, tmp_path: Path) -> None:
    def reply_without_end(asked: Asked) -> None:
        octets = reply(asked.octets)
        for at in range(len(octets) + 2):  # in pieces
            asked.write((len(octets).to_bytes(2, "big") + octets)[at : at + 1], end_stream=False)

    async with upstream(tmp_path, QuicServer(CERTIFICATE, behaviour=reply_without_end)) as world:
        assert await world.ask() == "answered"
        await until(lambda: world.server.connections[0].stopped == {0: DoqError.NO_ERROR})
