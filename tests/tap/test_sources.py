"""Producers of all kinds at once: none waits for another, whatever it does or leaves undone; damage is told."""

import os
import re
import socket
import ssl
import stat
from pathlib import Path

import pytest
import trio
import trustme
from trio.testing import trio_test

from dnsproxy.dnstap.destination import Destination, ListenUrl, TlsOptions
from dnsproxy.dnstap.framestreams import ControlType, control_frame, data_frame
from dnsproxy.dnstap.listening_output import ListeningOutput
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.tap.common import Parser
from dnsproxy.tap.errors import Failure, WrongUsage
from dnsproxy.tap.sources import Sources, add_sources
from dnsproxy.tap.trust import add_trust
from tests.dnstap.receiver import unix_listener
from tests.dnstap.waiting import until
from tests.tap.frames import START, STOP
from tests.tap.gathering import Gathered, dial, gathering, produce, read, read_all, started, url_of
from tests.tap.running import ACCEPT, FINISH, READY

Told = pytest.CaptureFixture[str]


def made(*arguments: str) -> Sources:
    parser = Parser("test", "")
    add_sources(parser)
    add_trust(parser)
    return Sources(parser.parse_args(arguments), Gathered())


# where producers are


@trio_test
async def test_any_number_of_sources_is_served_and_told_when_ready(tmp_path: Path, capsys: Told) -> None:
    path = tmp_path / "a.sock"
    async with gathering("-u", path, "-l", "127.0.0.1:0", "-l", "tcp://127.0.0.1:0") as (gathered, sources):
        ready = capsys.readouterr().err
        assert re.fullmatch(rf"ready unix:{path}( tcp://127\.0\.0\.1:[1-9]\d*){{2}}\n", ready)
        for number in range(3):
            assert await produce(url_of(sources, number), b"%d" % number) == FINISH
    assert gathered.payloads == [b"0", b"1", b"2"]
    assert gathered.streams == [f"unix:{path}#1", *(f"{each}#1" for each in ready.split()[2:])]
    assert capsys.readouterr().err == ""


@trio_test
async def test_a_unix_socket_has_the_umasks_mode_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    before = os.umask(0o027)
    try:
        async with gathering("-u", path):
            assert stat.S_IMODE(path.stat().st_mode) == 0o750
        assert not path.exists()
        async with gathering("-u", path, "--socket-mode", "660"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o660
    finally:
        os.umask(before)


@trio_test
async def test_a_dead_socket_is_replaced_and_nothing_else_is_touched(tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with gathering("-u", path):
        with pytest.raises(Failure, match="another process listens on it"):
            made("-l", "127.0.0.1:0", "-u", str(path))
        assert await produce(Destination("unix", path=str(path)), b"x") == FINISH
    path.write_bytes(b"precious")
    with pytest.raises(Failure, match="exists and is not a socket"):
        made("-u", str(path))
    assert path.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "no source; expected -u PATH, -l HOST:PORT or --connect URL"),
        (["-l", "example.org:6000"], "not an IP address"),
        (["-l", "127.0.0.1"], "has no port"),
        (["-l", "unix:///a"], "unix sockets take -u PATH"),
        (["-l", "tls://127.0.0.1:0"], "tls:// takes --tls-cert"),
        (["-u", "/a", "--tls-cert", "x"], "take -l tls://HOST:PORT"),
        (["-u", "/a", "--socket-mode", "9"], "no mode"),
        (["--connect", "file:///a"], "no socket"),
        (["--connect", "nonsense"], "has no scheme"),
        (["-u", ""], "a unix socket has a path"),
        (["-u", "/a", "--key", "x"], "--key takes --cert"),
    ],
)
def test_wrong_usage_says_what_was_expected(arguments: list[str], text: str) -> None:
    with pytest.raises(WrongUsage, match=re.escape(text)):
        made(*arguments)


# what producers do


@trio_test
async def test_a_silent_and_a_crawling_client_hold_up_nobody(tmp_path: Path, capsys: Told) -> None:
    async with gathering("-u", tmp_path / "a.sock", "--handshake-timeout", "500ms") as (gathered, sources):
        url = url_of(sources)
        silent, half = await dial(url), await dial(url)
        await half.send_all(READY[:30])
        offering = await dial(url)
        await offering.send_all(READY)
        assert await produce(url, b"x") == FINISH
        for stream in (silent, half):
            assert await read_all(stream) == b""
        assert await read_all(offering) == ACCEPT
    assert gathered.payloads == [b"x"]
    lines = capsys.readouterr().err.splitlines()
    name = f"unix:{tmp_path}/a.sock"
    assert f"{name}#1: offset 0: handshake: 0.5 s have passed before READY or START" in lines
    assert f"{name}#2: offset 30: handshake: 0.5 s have passed before READY or START" in lines
    assert f"{name}#3: offset 42: handshake: 0.5 s have passed before START" in lines
    assert f"{name}#3: 0 frames, 1 damaged (handshake 1)" in lines


@trio_test
async def test_a_client_is_named_by_its_address_where_it_has_one(capsys: Told) -> None:
    async with gathering("-l", "127.0.0.1:0") as (_, sources):
        stream = await dial(url_of(sources))
        await stream.aclose()
        await until(lambda: "1 damaged" in capsys.readouterr().err or sources.producers.damage)
    port = stream.socket  # closed; its port is in the line
    assert port.fileno() == -1
    assert sources.producers.damage == {"handshake": 1}


@trio_test
async def test_damage_is_told_for_its_stream_and_others_go_on(tmp_path: Path, capsys: Told) -> None:
    async with gathering("-u", tmp_path / "a.sock", "--max-frame", "1KiB") as (gathered, sources):
        url = url_of(sources)
        good = await started(url, bidirectional=False)
        bad = await started(url)
        await bad.send_all(data_frame(b"b1") + data_frame(bytes(1025)) + data_frame(b"b2") + READY)
        assert await read_all(bad) == b""
        await good.send_all(data_frame(b"g") + STOP)
        assert await read_all(good) == b""
    assert gathered.payloads == [b"b1", b"b2", b"g"]
    name = f"unix:{tmp_path}/a.sock#2"
    assert capsys.readouterr().err.splitlines()[1:] == [
        f"{name}: offset 90: oversize: frame of 1025 octets",
        f"{name}: offset 1125: control: READY behind START",
        f"{name}: 2 frames, 2 damaged (oversize 1, control 1)",
    ]


@trio_test
async def test_a_broken_connection_is_damage_only_inside_a_frame(tmp_path: Path, capsys: Told) -> None:
    async with gathering("-u", tmp_path / "a.sock") as (gathered, sources):
        for octets in (data_frame(b"whole"), data_frame(b"cut")[:-1]):
            stream = await started(url_of(sources))
            await stream.send_all(octets)
            await stream.aclose()
        await until(lambda: sources.producers.damage)
    assert gathered.payloads == [b"whole"]
    (line, summary) = capsys.readouterr().err.splitlines()[1:]
    assert line.endswith("#2: offset 90: truncated: the connection ended inside the frame at offset 84")
    assert summary.endswith("#2: 0 frames, 1 damaged (truncated 1)")


@trio_test
async def test_another_content_type_is_not_accepted(tmp_path: Path) -> None:
    async with gathering("-u", tmp_path / "a.sock") as (_, sources):
        stream = await dial(url_of(sources))
        await stream.send_all(control_frame(ControlType.READY, b"protobuf:other"))
        assert await read_all(stream) == b""
        assert sources.producers.damage == {"content_type": 1}


@trio_test
async def test_a_client_that_closes_behind_stop_is_no_damage(tmp_path: Path, capsys: Told) -> None:
    async with gathering("-l", "127.0.0.1:0") as (gathered, sources):
        gathered.flushing = trio.Event()
        stream = await started(url_of(sources))
        await stream.send_all(data_frame(b"x") + STOP)
        await until(lambda: gathered.payloads)
        await stream.aclose()
        gathered.flushing.set()
    assert sources.producers.damage == {}
    assert len(capsys.readouterr().err.splitlines()) == 1


@trio_test
async def test_finish_is_a_receipt(tmp_path: Path) -> None:
    async with gathering("-u", tmp_path / "a.sock") as (gathered, sources):
        gathered.flushing = trio.Event()
        stream = await started(url_of(sources))
        await stream.send_all(data_frame(b"x") + STOP)
        await until(lambda: gathered.payloads)
        with trio.move_on_after(0.05) as waiting:
            await stream.receive_some()
        assert waiting.cancelled_caught
        gathered.flushing.set()
        assert await read_all(stream) == FINISH


@trio_test
async def test_a_quiet_client_stays_unless_there_is_a_limit(tmp_path: Path, capsys: Told) -> None:
    async with gathering("-u", tmp_path / "a.sock", "--idle-timeout", "500ms") as (gathered, sources):
        stream = await started(url_of(sources))
        await stream.send_all(data_frame(b"x"))
        assert await read_all(stream) == b""
    assert gathered.payloads == [b"x"]
    assert len(capsys.readouterr().err.splitlines()) == 1, "silence is no damage"


@trio_test
async def test_of_too_many_clients_those_that_say_nothing_have_to_go(tmp_path: Path, capsys: Told) -> None:
    async with gathering("-u", tmp_path / "a.sock", "--max-clients", "2") as (gathered, sources):
        url = url_of(sources)
        first = await started(url)
        silent = await dial(url)
        second = await started(url)
        assert await read_all(silent) == b""
        third = await dial(url)
        assert await read_all(third) == b""
        for stream in (first, second):
            await stream.send_all(data_frame(b"x") + STOP)
            assert await read_all(stream) == FINISH
        assert await produce(url, b"room again") == FINISH
    assert len(gathered.payloads) == 3
    errors = capsys.readouterr().err
    assert "#2: offset 0: handshake: too slow while others wait before READY or START" in errors
    assert "#4: refused, there are 2 connections" in errors
    assert sources.producers.refused == 1


@trio_test
async def test_a_consumer_that_is_full_makes_producers_wait_and_loses_nothing(tmp_path: Path) -> None:
    async with gathering("-u", tmp_path / "a.sock") as (gathered, sources):
        gathered.is_full = True
        stream = await started(url_of(sources))
        frame = data_frame(bytes(996))
        sent = 0
        with trio.move_on_after(0.2) as filling:
            while True:
                sent += await stream.socket.send((frame * 100)[sent % len(frame) :])
        assert filling.cancelled_caught, "memory has a bound"
        assert len(gathered.payloads) < sent // len(frame)
        gathered.is_full = False
        gathered.room.set()
        await until(lambda: len(gathered.payloads) == sent // len(frame))


@trio_test
async def test_what_was_sent_before_the_end_is_taken(tmp_path: Path) -> None:
    async with gathering("-u", tmp_path / "a.sock") as (gathered, sources):
        stream = await started(url_of(sources))
        await stream.send_all(b"".join(data_frame(b"%d" % number) for number in range(5000)))
        sources.stop()
        assert await read_all(stream) == b""
    assert len(gathered.payloads) == 5000
    assert not (tmp_path / "a.sock").exists()


@trio_test
async def test_the_numbers_add_up(tmp_path: Path) -> None:
    async with gathering("-u", tmp_path / "a.sock") as (_, sources):
        await produce(url_of(sources), b"x", b"y")
        stream = await started(url_of(sources))
        await stream.send_all(data_frame(b"z"))
        octets = len(2 * (READY + START) + STOP + 3 * data_frame(b"x"))
        expected = f"2 connections (1 now), 3 frames, {octets} octets, 0 damaged"
        await until(lambda: sources.producers.summary() == expected)


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def folder(authority: trustme.CA, tmp_path: Path) -> Path:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    return tmp_path


def client(authority: trustme.CA, *, is_known: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    if is_known:
        authority.issue_cert("producer.example.org").configure_cert(context)
    return context


@trio_test
async def test_tls_lets_in_whom_it_knows(authority: trustme.CA, folder: Path, capsys: Told) -> None:
    files = ["--tls-cert", str(folder / "both.pem"), "--client-ca", str(folder / "ca.pem")]
    async with gathering("-l", "tls://127.0.0.1:0", *files) as (gathered, sources):
        for is_known in (False, True):
            plain = await dial(url_of(sources))
            stream = trio.SSLStream(plain, client(authority, is_known=is_known), server_hostname="127.0.0.1")
            try:
                await stream.send_all(READY)
                assert await read(stream, len(ACCEPT)) == ACCEPT
                await stream.send_all(START + data_frame(b"x" * 100_000) + STOP)
                assert await read(stream, len(FINISH)) == FINISH
            except trio.BrokenResourceError:
                assert not is_known
            await trio.aclose_forcefully(stream)
        await until(lambda: sources.producers.connections == 2)
    assert gathered.payloads == [b"x" * 100_000]
    assert re.search(
        r"#1: offset 0: handshake: .*certificate.*, from 127\.0\.0\.1:\d+ before READY", capsys.readouterr().err
    )


def test_a_certificate_that_will_not_do_is_a_failure(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").touch()
    for name in ("none.pem", "empty.pem"):
        with pytest.raises(Failure, match="the certificate cannot be used"):
            made("-l", "tls://127.0.0.1:0", "--tls-cert", str(tmp_path / name))


# producers that listen


@trio_test
async def test_a_producer_that_listens_is_dialled_again_and_again(tmp_path: Path, capsys: Told) -> None:
    path = tmp_path / "producer.sock"
    async with gathering("--connect", f"unix://{path}") as (gathered, _):
        await until(lambda: "cannot connect: No such file or directory" in capsys.readouterr().err)
        listener = unix_listener(str(path))
        for number in (b"1", b"2"):
            stream = await listener.accept()
            await stream.send_all(READY)
            assert await read(stream, len(ACCEPT)) == ACCEPT
            await stream.send_all(START + data_frame(number) + STOP)
            assert await read_all(stream) == FINISH
            await stream.aclose()
        await listener.aclose()
    assert gathered.payloads == [b"1", b"2"]
    assert gathered.streams == [f"unix:{path}#1", f"unix:{path}#2"]


@trio_test
async def test_a_listening_tap_over_tls_is_read(authority: trustme.CA, folder: Path) -> None:
    tls = TlsOptions(cert=str(folder / "both.pem"), key=str(folder / "both.pem"))
    url = ListenUrl.from_toml("tls://127.0.0.1:0")
    tap = ListeningOutput(OutputOptions("tap", url, tls, 1000, 1 << 26, listening=True))
    async with trio.open_nursery() as nursery:
        await nursery.start(tap.run)
        async with gathering("--connect", tap.tap_status()["socket"], "--ca", folder / "ca.pem") as (gathered, _):
            await until(lambda: tap.present)
            tap.offer(data_frame(b"x"))
            await until(lambda: gathered.payloads)
        await tap.drain(1)
    assert gathered.payloads == [b"x"]
