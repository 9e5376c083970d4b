"""How the proxy starts, fails to start, and ends."""

import os
import signal
import socket
import time
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import ANSWER_WITHIN_S, TcpClient, answers, by_id, exchange, is_silent, udp_socket
from tests.support.collector import Collector
from tests.support.ports import free_low_port, free_port
from tests.support.programs import require_program
from tests.support.proxy import Proxy, run_dnsproxy
from tests.support.toml import dnstap, forward, stanza
from tests.support.upstream import HostileUpstream
from tests.support.workers import TWO

WWW = wire.query("www.example.org")
READY_S = 0.6
MORE_THAN_KERNELS_HOLD = 150  # answers of 60 000 octets
WORK_S = 0.037  # processor time of `slowness` where the bound was set
STARTS = 5  # the quickest counts: a machine that does other things too is slower at times


def failed_start(proxy: Proxy) -> tuple[int, str]:
    """The exit status and the log of a proxy that is expected not to start."""
    proxy.launch()
    return proxy.wait(), proxy.log


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
def test_a_taken_port_is_one_line_with_address_and_port(
    tmp_path: Path, upstream: HostileUpstream, kind: socket.SocketKind
) -> None:
    proxy = Proxy(tmp_path, forward(upstream))
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", proxy.port))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        status, log = failed_start(proxy)
    assert status == 1
    assert f"127.0.0.1:{proxy.port}" in log
    assert "Traceback" not in log
    assert "listening" not in log
    assert log.count("\n") == 1


def test_a_second_proxy_on_the_same_port_is_a_taken_port(
    start_proxy: StartProxy, tmp_path: Path, upstream: HostileUpstream
) -> None:
    first = start_proxy(forward(upstream))
    folder = tmp_path / "second"
    folder.mkdir()
    status, log = failed_start(Proxy(folder, forward(upstream), port=first.port))
    assert status == 1
    assert f"127.0.0.1:{first.port}" in log
    assert wire.rcode(exchange(WWW, first.port)) == 0


def test_no_permission_is_one_line_with_address_and_port(tmp_path: Path, upstream: HostileUpstream) -> None:
    port = free_low_port()
    prefix: list[str] = []
    if os.geteuid() == 0:
        prefix = [require_program("setpriv"), "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"]
    status, log = failed_start(Proxy(tmp_path, forward(upstream), port=port, prefix=prefix))
    assert status == 1
    assert f"127.0.0.1:{port}" in log
    assert "ermission" in log
    assert "Traceback" not in log


def test_an_address_that_is_not_here_is_one_line(tmp_path: Path, upstream: HostileUpstream) -> None:
    port = free_port()
    status, log = failed_start(Proxy(tmp_path, forward(upstream), port=port, listen=[f"198.51.100.1:{port}"]))
    assert status == 1
    assert f"198.51.100.1:{port}" in log
    assert "Traceback" not in log


def test_a_bad_file_is_status_2_with_file_and_line(tmp_path: Path) -> None:
    proxy = Proxy(tmp_path, 'nonsense = 1\n[[forward]]\nto = ["192.0.2.1"]\npolicy = "rondom"\n')
    status, log = failed_start(proxy)
    assert status == 2
    assert f"{proxy.config}:3: [nonsense]" in log
    assert f"{proxy.config}:6: [forward[0].policy]" in log
    assert "Traceback" not in log


def test_a_missing_file_is_status_2(tmp_path: Path) -> None:
    done = run_dnsproxy("--config", str(tmp_path / "missing.toml"))
    assert done.returncode == 2
    assert str(tmp_path / "missing.toml") in done.stderr
    assert "Traceback" not in done.stderr


def test_check_says_ok_and_opens_nothing(tmp_path: Path, upstream: HostileUpstream) -> None:
    proxy = Proxy(tmp_path, dnstap(to=f"file://{tmp_path}/never.fstrm") + forward(upstream))
    done = run_dnsproxy("--config", str(proxy.config), "--check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{proxy.config}: ok")
    assert "dnstap" in done.stdout
    assert "forward" in done.stdout
    assert not (tmp_path / "never.fstrm").exists()


def test_ready_means_ready(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    started = time.monotonic()
    proxy = start_proxy(forward(upstream))
    assert wire.rcode(exchange(WWW, proxy.port)) == 0
    assert time.monotonic() - started < 3, "0.6 s on an idle machine"


def test_a_start_takes_no_more_than_six_tenths_of_a_second(tmp_path: Path, upstream: HostileUpstream) -> None:
    body = dnstap(to=f"unix://{tmp_path}/nobody.sock") + "[cache]\n" + forward(upstream)
    took_s: list[float] = []
    while len(took_s) < STARTS and min(took_s, default=1.0) > READY_S:
        with Proxy(tmp_path, body) as proxy:
            took_s.append(processor_s(proxy) / slowness())
    assert min(took_s) <= READY_S


def slowness() -> float:
    """How many times longer than that on which the bound was set this machine takes now; at least 1."""
    started = time.process_time()
    texts = {number & 1023: str(number) for number in range(500_000)}
    assert len(texts) == 1024
    return max((time.process_time() - started) / WORK_S, 1.0)


def processor_s(proxy: Proxy) -> float:
    """The processor time that a process has used: others may keep it waiting."""
    fields = Path(f"/proc/{proxy.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_at_the_end_what_is_in_flight_is_answered(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, how: signal.Signals
) -> None:
    upstream.on("slow", behaviours.delay(500))
    proxy = start_proxy(dnstap(to=collector) + forward(upstream, timeout="2s", deadline="4s"))
    with udp_socket(proxy.port) as datagrams, TcpClient(proxy.port) as stream:
        for id in range(5):
            datagrams.send(wire.query(f"d{id}.slow.example.org", id=id))
            stream.send(wire.query(f"s{id}.slow.example.org", id=id))
        upstream.wait_for(10, "slow")
        proxy.tell_to_stop(how)
        assert {wire.rcode(answer) for answer in answers(datagrams, 5)} == {0}
        assert {wire.rcode(answer) for answer in stream.receive_all(5)} == {0}
    assert proxy.wait() == 0
    collector.wait_until(lambda: collector.stops == 1, "STOP")
    assert len(collector.of_type("CR")) == 10


def test_at_the_end_a_client_that_is_slow_to_read_gets_its_answers_too(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    upstream.on("large", behaviours.large(60_000))
    proxy = start_proxy(forward(upstream))
    with TcpClient(proxy.port) as client:
        client.send(*[wire.query(f"l{id}.large.example.org", "TXT", id=id) for id in range(MORE_THAN_KERNELS_HOLD)])
        upstream.wait_for(10, "large")
        proxy.tell_to_stop()
        time.sleep(0.2)
        found = by_id(client.receive_all(MORE_THAN_KERNELS_HOLD))
    assert {len(answer) for answer in found.values()} == {60_000}
    assert len(found) == MORE_THAN_KERNELS_HOLD
    assert proxy.wait() == 0


@pytest.mark.parametrize("processes", ["", TWO], ids=["one process", "two workers"])
def test_once_told_to_stop_nobody_listens_any_more(
    start_proxy: StartProxy, upstream: HostileUpstream, processes: str
) -> None:
    upstream.on("slow", behaviours.delay(800))
    proxy = start_proxy(processes + forward(upstream, timeout="2s", deadline="4s"))
    with TcpClient(proxy.port) as client:
        client.send(wire.query("slow.example.org"))
        upstream.wait_for(1, "slow")
        proxy.tell_to_stop()
        time.sleep(0.3)
        with pytest.raises(ConnectionError):
            TcpClient(proxy.port).socket.close()
        assert is_silent(WWW, proxy.port)
        assert wire.rcode(client.receive()) == 0


def test_the_end_does_not_wait_for_ever(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    upstream.default = behaviours.drop
    proxy = start_proxy(stanza("[limits]", {"stop": "300ms"}) + forward(upstream, timeout="30s", deadline="60s"))
    with udp_socket(proxy.port) as datagrams, TcpClient(proxy.port) as stream:
        datagrams.send(WWW)
        stream.send(WWW)
        upstream.wait_for(2, "www")
        started = time.monotonic()
        proxy.stop()
        assert time.monotonic() - started < 3


def test_idle_connections_do_not_hold_up_the_end(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    proxy = start_proxy(forward(upstream))
    with TcpClient(proxy.port) as client:
        client.send(WWW)
        client.receive()
        started = time.monotonic()
        proxy.stop()
        assert time.monotonic() - started < 2
        assert client.closed_within(1)


def test_a_port_is_free_again_at_once(tmp_path: Path, upstream: HostileUpstream) -> None:
    port = free_port()
    for _ in range(2):
        with Proxy(tmp_path, forward(upstream), port=port) as proxy:
            client = TcpClient(proxy.port)
            client.send(WWW)
            assert wire.rcode(client.receive()) == 0
        client.socket.settimeout(ANSWER_WITHIN_S)
        client.socket.close()


def test_sighup_is_no_reason_to_die_nor_to_be_silent(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    proxy = start_proxy(forward(upstream))
    before = len(proxy.log)
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_for_log("(?i)reload|SIGHUP")
    assert len(proxy.log) > before
    assert wire.rcode(exchange(WWW, proxy.port)) == 0


@pytest.mark.parametrize("arguments", [("tap", "read", "x.fstrm"), ("--nonsense",), ("nonsense",), ()])
def test_what_cannot_be_done_is_said_in_a_line_or_two(arguments: tuple[str, ...]) -> None:
    done = run_dnsproxy(*arguments)
    assert done.returncode in (1, 2)
    assert done.stderr
    assert "Traceback" not in done.stderr


def test_a_stale_admin_socket_is_replaced_and_anything_else_is_not(tmp_path: Path, upstream: HostileUpstream) -> None:
    proxy = Proxy(tmp_path, forward(upstream))
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(proxy.admin))
    with proxy:
        assert proxy.status()["listeners"]
    other = Proxy(tmp_path, forward(upstream))
    other.admin.write_text("precious")
    status, log = failed_start(other)
    assert status == 1
    assert str(other.admin) in log
    assert other.admin.read_text() == "precious"


def test_the_terminal_says_what_the_proxy_does(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector) + forward(upstream))
    for fact in (f"127.0.0.1:{proxy.port}", upstream.address, collector.address):
        assert fact in proxy.log
