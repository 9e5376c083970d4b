"""Collectors are as slow, rude, encrypted and forgetful as their tests believe."""

import socket
import time
from pathlib import Path

import pytest

from tests.support.authority import Authority, certificate
from tests.support.bridge import bridge
from tests.support.collector import Collector, Dialer, Receiver, connect, listen, tcp_address, unix_address, wait_until
from tests.support.framestreams import ACCEPT, FINISH, READY, START, STOP, FrameBuffer, control_frame
from tests.support.metrics import Metrics
from tests.support.tap_files import messages_in, read_file, read_files
from tests.support.tls import TlsStream

FRAME = b"\0\0\0\6\x72\x02\x08\x05\x78\x01"  # message {type: CLIENT_QUERY}, type: MESSAGE


def shake_hands(sender: socket.socket | TlsStream) -> None:
    sender.sendall(control_frame(READY, content_type=True))
    assert FrameBuffer().feed(sender.recv(100))[0][0] == ACCEPT
    sender.sendall(control_frame(START, content_type=True))


@pytest.fixture
def address(tmp_path: Path) -> str:
    return unix_address(tmp_path)


def test_a_killed_collector_loses_what_it_has_not_read(address: str) -> None:
    with Collector(address) as collector, connect(address) as sender:
        shake_hands(sender)
        collector.stall()
        sender.sendall(FRAME)  # for which it may be waiting
        time.sleep(0.05)
        sender.sendall(FRAME * 10)
        collector.kill()
        assert len(collector.messages) <= 1
        assert collector.breaks == 1


def test_a_collector_may_read_octet_by_octet(address: str) -> None:
    with Collector(address, crawl_s=0.01) as collector, connect(address) as sender:
        shake_hands(sender)
        began = time.monotonic()
        sender.sendall(FRAME)
        collector.wait_for(1)
        assert time.monotonic() - began > 0.09


def test_a_lenient_collector_leaves_the_connection_open_after_finish(address: str) -> None:
    with Collector(address, lingers=True) as collector, connect(address) as sender:
        shake_hands(sender)
        sender.sendall(control_frame(STOP))
        assert FrameBuffer().feed(sender.recv(100))[0][0] == FINISH
        sender.settimeout(0.1)
        with pytest.raises(TimeoutError):
            sender.recv(1)
        sender.close()
        collector.wait_until(lambda: collector.stops == 1, "the end")


def test_a_dialer_is_the_receiving_side_of_a_connection_that_it_made(address: str) -> None:
    with listen(address) as listening, Dialer(address) as dialer:
        sender, _ = listening.accept()
        with sender:
            shake_hands(sender)
            sender.sendall(FRAME * 3)
            dialer.wait_for(3)
            assert dialer.per_connection == [3]


def test_a_collector_over_tls_sees_the_senders_certificate(tmp_path: Path) -> None:
    authority, address = Authority(tmp_path), tcp_address()
    with Collector(address, tls=authority.server(demands=True)) as collector, connect(address) as raw:
        sender = TlsStream(raw, authority.client("sender"), host="127.0.0.1")
        shake_hands(sender)
        sender.sendall(FRAME * 1_000)
        collector.wait_for(1_000)
        assert collector.certificates == [certificate(str(tmp_path / "sender-cert.pem"))]


def test_a_sender_without_the_certificate_that_is_demanded_is_refused(tmp_path: Path) -> None:
    authority, address = Authority(tmp_path), tcp_address()
    with Collector(address, tls=authority.server(demands=True)) as collector, connect(address) as raw:
        TlsStream(raw, authority.client(), host="127.0.0.1")
        wait_until(lambda: collector.refused == 1, "refused")
        assert collector.certificates == []


def test_a_bridge_carries_both_ways(tmp_path: Path) -> None:
    ours, theirs = unix_address(tmp_path, "ours"), unix_address(tmp_path, "theirs")
    with listen(ours) as listening, Collector(theirs) as collector, bridge(ours, theirs):
        sender, _ = listening.accept()
        with sender:
            shake_hands(sender)
            sender.sendall(FRAME)
            collector.wait_for(1)


def test_files_are_read_packed_or_not_and_know_whether_they_are_whole(tmp_path: Path) -> None:
    start, stop = control_frame(START, content_type=True), control_frame(STOP)
    (tmp_path / "whole").write_bytes(start + FRAME * 2 + stop)
    (tmp_path / "cut").write_bytes(start + FRAME + FRAME[:-1])
    (tmp_path / "else").write_bytes(b"no stream")
    whole, cut = read_file(tmp_path / "whole"), read_file(tmp_path / "cut")
    assert (len(whole.messages), whole.is_complete) == (2, True)
    assert (len(cut.messages), cut.is_complete, cut.rest) == (1, False, FRAME[:-1])
    assert len(read_files(tmp_path.iterdir())) == 2
    assert len(messages_in(tmp_path.iterdir())) == 3


def test_metrics_are_summed_over_the_labels_that_are_not_asked_for() -> None:
    text = '# TYPE x counter\nx{tap="a \\"b\\"",reason="one"} 1.0\nx{tap="a \\"b\\"",reason="two"} 2.0\ny 5e3\n'
    metrics = Metrics(text, "text/plain")
    assert metrics.value("x", tap=r"a \"b\"") == 3
    assert metrics.value("x", reason="two") == 2
    assert metrics.value("y") == 5_000
    assert metrics.values("z") == []


def test_receivers_do_not_say_by_themselves_how_they_connect() -> None:
    with pytest.raises(NotImplementedError):
        Receiver("unix:///nowhere").start()
