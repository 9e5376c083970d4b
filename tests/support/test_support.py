"""The kit holds what it promises: without this, a scenario's failure could be its own."""

import socket
from collections.abc import Iterator
from pathlib import Path

import dns.message
import pytest

from tests.support import behaviours, wire
from tests.support.client import TcpClient, ask, exchange, exchange_tcp, is_silent
from tests.support.collector import Collector, unix_address
from tests.support.dnstap_decoder import decode
from tests.support.framestreams import CONTENT_TYPE, READY, START, STOP, FrameBuffer, control_frame
from tests.support.name_servers import nsd, unbound
from tests.support.programs import dig, run_program, wait_for_path
from tests.support.upstream import HostileUpstream


@pytest.fixture
def server() -> Iterator[HostileUpstream]:
    with HostileUpstream() as upstream:
        yield upstream


@pytest.mark.parametrize("tcp", [False, True])
def test_a_scripted_upstream_answers_by_default(server: HostileUpstream, tcp: bool) -> None:
    answer = ask(wire.query("www.example.org", do=True), server.port, tcp=tcp)
    assert wire.addresses(answer) == ["192.0.2.1"]
    assert answer.edns == 0
    assert [seen.protocol for seen in server.seen] == ["TCP" if tcp else "UDP"]


@pytest.mark.parametrize("octets", [100, 512, 600, 4_000, 65_000])
def test_large_answers_have_exactly_the_size_asked_for(server: HostileUpstream, octets: int) -> None:
    server.on("large", behaviours.large(octets))
    for answer in (
        exchange(wire.query("large.example.org"), server.port),
        exchange_tcp(wire.query("large.example.org", do=True), server.port),
    ):
        assert len(answer) == octets
        dns.message.from_wire(answer)


def test_scripts_are_met_in_turn_and_the_last_one_stays(server: HostileUpstream) -> None:
    server.on("turns", behaviours.drop, behaviours.fail(wire.SERVFAIL), behaviours.answer)
    assert is_silent(wire.query("turns.example.org"), server.port)
    rcodes = [wire.rcode(exchange(wire.query("turns.example.org"), server.port)) for _ in range(3)]
    assert rcodes == [wire.SERVFAIL, 0, 0]


def test_lies_come_as_scripted(server: HostileUpstream) -> None:
    server.on("id", behaviours.wrong_id)
    server.on("question", behaviours.wrong_question)
    server.on("port", behaviours.wrong_port)
    server.on("address", behaviours.wrong_address)
    asked = wire.query("id.example.org", id=7)
    assert wire.message_id(exchange(asked, server.port)) != 7
    assert wire.qname(exchange(wire.query("question.example.org"), server.port)) == "other.example.org"
    assert is_silent(wire.query("port.example.org"), server.port)
    assert is_silent(wire.query("address.example.org"), server.port)


def test_a_closed_port_refuses_and_opens_again(server: HostileUpstream) -> None:
    server.close_port()
    with pytest.raises(ConnectionRefusedError):
        exchange(wire.query("www.example.org"), server.port)
    with pytest.raises(ConnectionRefusedError):
        exchange_tcp(wire.query("www.example.org"), server.port)
    server.open_port()
    assert ask(wire.query("www.example.org"), server.port).rcode() == 0


def test_tcp_answers_can_overtake_each_other(server: HostileUpstream) -> None:
    server.on("late", behaviours.delay(100))
    with TcpClient(server.port) as client:
        client.send(wire.query("late.example.org", id=1), wire.query("www.example.org", id=2))
        assert [wire.message_id(one) for one in client.receive_all(2)] == [2, 1]


def test_tcp_connections_end_as_scripted(server: HostileUpstream) -> None:
    server.on("half", behaviours.half_answer)
    server.on("reset", behaviours.reset)
    with pytest.raises(EOFError, match=r"closed with \d+ of"):
        exchange_tcp(wire.query("half.example.org"), server.port)
    with pytest.raises((ConnectionResetError, EOFError)):
        exchange_tcp(wire.query("reset.example.org"), server.port)


def test_what_stands_behind_the_end_of_a_connection_is_not_met(server: HostileUpstream) -> None:
    server.on("ends", behaviours.close)
    server.on("reset", behaviours.reset)
    with TcpClient(server.port) as client:
        client.send(wire.query("ends.example.org"), wire.query("reset.example.org"))
        with pytest.raises((ConnectionResetError, EOFError)):
            client.receive()
    assert wire.rcode(exchange(wire.query("www.example.org"), server.port)) == 0, "it goes on"


def test_held_queries_are_answered_when_released(server: HostileUpstream) -> None:
    server.on("held", behaviours.hold)
    with TcpClient(server.port) as client:
        client.send(wire.query("held.example.org"))
        server.wait_for(1, "held")
        server.release()
        assert wire.rcode(client.receive()) == 0


def test_frames_are_cut_out_of_octets_however_they_come() -> None:
    stream = control_frame(READY, content_type=True) + control_frame(START) + b"\0\0\0\3abc" + control_frame(STOP)
    buffer = FrameBuffer()
    found = [frame for octet in stream for frame in buffer.feed(bytes((octet,)))]
    assert [kind for kind, _ in found] == [READY, START, 0, STOP]
    assert found[0][1].endswith(CONTENT_TYPE)
    assert found[2][1] == b"abc"
    assert FrameBuffer().feed(stream) == found


def test_a_stopped_collector_has_everything_that_the_kernel_took(tmp_path: Path) -> None:
    frame = b"\x72\x02\x08\x05\x78\x01"  # message {type: CLIENT_QUERY}, type: MESSAGE
    with Collector(unix_address(tmp_path)) as collector, socket.socket(socket.AF_UNIX) as sender:
        sender.connect(collector.address.removeprefix("unix://"))
        sender.sendall(control_frame(READY, content_type=True))
        assert len(sender.recv(100)) == 42
        sender.sendall(control_frame(START, content_type=True))
        collector.stall()
        sender.sendall((len(frame).to_bytes(4) + frame) * 1000)
        collector.stop()
        assert len(collector.messages) == 1000
        assert collector.messages[0] == decode(frame)
        assert (collector.stops, collector.breaks) == (0, 1)
        with pytest.raises(BrokenPipeError):
            sender.sendall(frame)


@pytest.mark.interop
def test_dig_reads_what_a_scripted_upstream_says(server: HostileUpstream) -> None:
    server.on("big", behaviours.large(4_000))
    server.on("tc", behaviours.truncate)
    assert "192.0.2.1" in dig(server.port, "www.example.org", "+short")
    assert "MSG SIZE  rcvd: 4000" in dig(server.port, "big.example.org", "TXT", "+bufsize=4096", "+nocookie")
    assert "Truncated, retrying in TCP" in dig(server.port, "tc.example.org")


@pytest.mark.interop
def test_nsd_and_unbound_serve_the_zone(tmp_path: Path) -> None:
    with nsd(tmp_path) as authority, unbound(tmp_path, authority.address) as resolver_port:
        assert "192.0.2.25" in dig(authority.port, "mail.example.org", "+short")
        assert "192.0.2.25" in dig(resolver_port, "mail.example.org", "+short")


@pytest.mark.interop
def test_the_collector_reads_what_fstrm_replay_sends(tmp_path: Path) -> None:
    frame = b"\x72\x02\x08\x05\x78\x01"
    recorded = tmp_path / "recorded.fstrm"
    recorded.write_bytes(
        control_frame(START, content_type=True) + (len(frame).to_bytes(4) + frame) * 3 + control_frame(STOP)
    )
    with Collector(unix_address(tmp_path)) as collector:
        socket_path = collector.address.removeprefix("unix://")
        wait_for_path(Path(socket_path))
        run_program("fstrm_replay", "-t", CONTENT_TYPE.decode(), "-u", socket_path, "-r", str(recorded))
        assert [message.type for message in collector.wait_for(3)] == ["CQ"] * 3
        collector.wait_until(lambda: collector.stops == 1, "STOP")
