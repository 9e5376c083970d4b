"""Connections to collectors: what they take and what they hold back, with TLS and without, and how they stay alive."""

import socket
import ssl
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import trio_test

from dnsproxy.dnstap import connection
from dnsproxy.dnstap.connection import Connection
from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.records import RecordLayer


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("tap.example.org").configure_cert(context)
    return context


@pytest.fixture
def trust(authority: trustme.CA, tmp_path: Path) -> TlsOptions:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return TlsOptions(ca=str(tmp_path / "ca.pem"))


async def pair() -> tuple[Connection, Connection]:
    """Two ends, over TCP."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        stream = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        return Connection(stream.socket), Connection((await listener.accept()).socket)


async def tls_pair(context: ssl.SSLContext, trust: TlsOptions) -> tuple[Connection, Connection]:
    ours, theirs = await pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(theirs.answer_tls, context)
        await ours.start_tls(trust, "tap.example.org")
    return ours, theirs


async def read(connection: Connection, octets: int) -> bytes:
    received = bytearray()
    while len(received) < octets:
        part = await connection.receive()
        assert part
        received += part
    return bytes(received)


@pytest.mark.parametrize("is_tls", [False, True])
@trio_test
async def test_what_the_kernel_does_not_take_is_known_and_everything_else_arrives(
    is_tls: bool, server_context: ssl.SSLContext, trust: TlsOptions
) -> None:
    ours, theirs = await (tls_pair(server_context, trust) if is_tls else pair())
    octets = bytes(range(256)) * 40_000
    taken = ours.send(octets)
    assert 0 < taken < len(octets)
    assert ours.is_clear != is_tls
    received = b""

    async def take() -> None:
        nonlocal received
        received = await read(theirs, len(octets))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        while taken < len(octets) or not ours.is_clear:
            await ours.wait_writable()
            taken += ours.send(octets[taken:])
    assert received == octets
    ours.close()
    assert await theirs.receive() == b""
    theirs.close()


@pytest.mark.parametrize("is_tls", [False, True])
@trio_test
async def test_what_is_lent_is_written_by_others_and_nothing_comes_between(
    is_tls: bool, server_context: ssl.SSLContext, trust: TlsOptions
) -> None:
    ours, theirs = await (tls_pair(server_context, trust) if is_tls else pair())
    frames = [b"one", b"two" * 10_000, b"three"]
    descriptor, pieces = ours.lend(frames)
    assert len(pieces) == 3
    assert (pieces == frames) != is_tls
    with socket.socket(fileno=socket.dup(descriptor)) as other:
        other.sendall(b"".join(pieces[:2]) + pieces[2][:2])
    assert ours.take_back(pieces[2][2:]) == is_tls
    rest = b"" if is_tls else frames[2][2:]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ours.send_all, rest + b"four")
        assert await read(theirs, 30_012) == b"".join(frames) + b"four"
    ours.close()
    theirs.close()


@trio_test
async def test_a_quiet_connection_is_probed_by_the_kernel_if_so_wished() -> None:
    ours, theirs = await pair()
    ours.keep_alive(60)
    options = {name: ours._socket.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in KEEPALIVE}
    assert options == {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 3}
    ours.keep_alive(1)
    ours.keep_alive(1e9)
    assert ours._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 32_767
    ours.close()
    theirs.close()


KEEPALIVE = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")


@trio_test
async def test_unix_sockets_need_no_probes() -> None:
    ours, theirs = (Connection(end) for end in trio.socket.socketpair())
    ours.keep_alive(60)
    await ours.send_all(b"x")
    assert await theirs.receive() == b"x"
    ours.close()
    theirs.close()


@trio_test
async def test_a_peer_that_speaks_no_tls_is_an_error_and_the_connection_closed(trust: TlsOptions) -> None:
    ours, theirs = await pair()
    await theirs.send_all(b"220 mail.example.org ESMTP\r\n")
    with pytest.raises(ssl.SSLError):
        await ours.start_tls(trust, "tap.example.org")
    assert await read(theirs, 1)
    theirs.close()


@trio_test
async def test_a_peer_that_closes_in_the_handshake_is_an_error(trust: TlsOptions) -> None:
    ours, theirs = await pair()
    async with trio.open_nursery() as nursery:

        async def close() -> None:
            await theirs.receive()
            theirs.close()

        nursery.start_soon(close)
        with pytest.raises(OSError, match=r"EOF|reset"):
            await ours.start_tls(trust, "tap.example.org")


def test_records_may_come_in_any_pieces(server_context: ssl.SSLContext, trust: TlsOptions) -> None:
    client = RecordLayer(trust.context(), "tap.example.org")
    server = RecordLayer(server_context, server_side=True)
    done = [False, False]
    while not all(done):
        done = [client.shake_hands(), server.shake_hands()]
        pass_on(client, server)
        pass_on(server, client)
    client.seal(b"x" * 40_000)
    assert server.read(100) is None
    pass_on(client, server)
    received = b""
    while part := server.read(4096):
        received += part
    assert received == b"x" * 40_000
    client.close()
    pass_on(client, server)
    assert server.read(4096) == b""
    server.receive_data(b"")
    assert server.read(4096) == b""


def pass_on(one: RecordLayer, other: RecordLayer) -> None:
    """What one has to say to the other, octet by octet."""
    for octet in one.data_to_send():
        other.receive_data(bytes([octet]))


@trio_test
@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("tap.example.org.", "tap.example.org"),
        ("TAP.", "TAP"),
        ("tap.example.org", "tap.example.org"),
        ("other.example.org.", "other.example.org."),
        ("remark.", "remark."),
    ],
)
async def test_the_last_dot_goes_only_where_the_hosts_file_has_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, asked: str
) -> None:
    """Without it the resolver would try its search list: another host than the one that was meant."""

    async def look_up(host: str, port: int) -> trio.SocketStream:
        names.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    names: list[str] = []
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n192.0.2.1\ttap.example.org  tap # remark\n")
    monkeypatch.setattr(connection, "HOSTS", hosts)
    monkeypatch.setattr(trio, "open_tcp_stream", look_up)
    with pytest.raises(socket.gaierror):
        await connection.connect(Destination.from_toml(f"tcp://{name}:6000"), TlsOptions())
    assert names == [asked]
