"""Several processes that share the ports, as operators meet them: one proxy, whatever becomes of its workers."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import TcpClient, answers, exchange, exchange_tcp, is_silent, udp_socket
from tests.support.collector import Collector, wait_until
from tests.support.packages import install_package
from tests.support.ports import free_port, ipv6_is_here
from tests.support.programs import run_program
from tests.support.proxy import Proxy, Status, books, run_dnsproxy, tap_balances
from tests.support.toml import dnstap, forward, stanza
from tests.support.upstream import HostileUpstream

TWO = "workers = 2\n"
WWW = wire.query("www.example.org")
CLIENTS = 32  # source ports: that all of them meet the same worker is as likely as 1 in 2 000 000 000
BACK_WITHIN_S = 1.0  # on an idle machine; tests share theirs with others
PATIENCE_S = 5.0


def workers(proxy: Proxy) -> list[int]:
    """The process IDs of the workers."""
    pid = proxy.process.pid
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_gone(pid: int) -> bool:
    """Whether the process has ended, taken note of by its parent or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@contextlib.contextmanager
def clients(proxy: Proxy, count: int = CLIENTS) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(udp_socket(proxy.port)) for _ in range(count)]


def ask_all(sockets: list[socket.socket], name: str = "www.example.org") -> None:
    """Each for another name: the same ones would share an exchange with the upstream."""
    for id, client in enumerate(sockets):
        client.send(wire.query(f"c{id}.{name}", id=id))


def answered(sockets: list[socket.socket], *, within_s: float) -> int:
    """How many of these have an answer by then."""
    end = time.monotonic() + within_s
    return sum(bool(answers(client, 1, within_s=max(end - time.monotonic(), 0.001))) for client in sockets)


def all_ready(status: Status) -> bool:
    return bool(status["workers_ready"] == status["workers"])


def test_two_workers_are_one_proxy(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    proxy = start_proxy(TWO + dnstap(to=collector, name="main") + forward(upstream))
    with clients(proxy) as sockets:
        ask_all(sockets)
        assert answered(sockets, within_s=5) == CLIENTS
    for number in range(8):
        assert wire.rcode(exchange_tcp(wire.query(f"t{number}.example.org"), proxy.port)) == 0
    collector.wait_for(4 * (CLIENTS + 8))
    status = proxy.wait_for_status(lambda now: now["taps"][0]["queued"] == 0, "sent")
    assert (status["workers"], status["workers_ready"], len(workers(proxy))) == (2, 2, 2)
    assert [(one["address"], one["queries"], one["responses"]) for one in status["listeners"]] == [
        (f"udp://127.0.0.1:{proxy.port}", CLIENTS, CLIENTS),
        (f"tcp://127.0.0.1:{proxy.port}", 8, 8),
    ]
    (tap,) = status["taps"]
    assert (tap["name"], tap["state"], tap["sent"], tap["connects"]) == ("main", "connected", 4 * (CLIENTS + 8), 2)
    assert [(one["name"], one["queries"]) for one in status["upstreams"]] == [(upstream.address, CLIENTS + 8)]
    offered, tapped = books(status)
    assert offered == tapped
    proxy.stop()
    assert proxy.tap_lines == {"main": {"offered": tapped, "sent": tapped, "queued": 0, "dropped": 0}}
    assert proxy.log.count("offered=") == 1
    assert proxy.log.count("ready") == 1
    assert collector.stops == 2


def test_what_a_stopped_worker_has_been_sent_is_answered_when_it_goes_on(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    proxy = start_proxy(TWO + forward(upstream))
    stopped = workers(proxy)[0]
    with clients(proxy) as sockets:
        os.kill(stopped, signal.SIGSTOP)
        ask_all(sockets)
        end = time.monotonic() + 0.5
        silent = [client for client in sockets if not answers(client, 1, within_s=max(end - time.monotonic(), 0.01))]
        assert 0 < len(silent) < CLIENTS, "both workers have clients"
        os.kill(stopped, signal.SIGCONT)
        assert answered(silent, within_s=5) == len(silent)


def test_a_killed_worker_is_replaced_within_a_second_and_no_client_is_forgotten(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(TWO + dnstap(to=collector) + forward(upstream))
    for kill in range(3):
        killed = workers(proxy)[0]
        with clients(proxy) as sockets:
            os.kill(killed, signal.SIGKILL)
            began = time.monotonic()
            wait_until(lambda pid=killed: is_gone(pid), "the end of the worker")  # type: ignore[misc]
            ask_all(sockets)
            assert answered(sockets, within_s=PATIENCE_S) == CLIENTS
            took_s = time.monotonic() - began
        status = proxy.wait_for_status(all_ready, "another worker")
        assert status["worker_restarts"] == kill + 1
        assert tap_balances(status["taps"][0])
        assert took_s < BACK_WITHIN_S * 2
        time.sleep(1.1)  # it has proved itself: what ends after this is an accident again, and not put off
    assert len(workers(proxy)) == 2
    assert proxy.log.count("was ended by SIGKILL") == 3


def test_a_worker_that_is_told_to_stop_answers_first_and_is_replaced(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    upstream.on("slow", behaviours.delay(500))
    proxy = start_proxy(TWO + forward(upstream, timeout="2s", deadline="4s"))
    with clients(proxy) as sockets:
        ask_all(sockets, "slow.example.org")
        upstream.wait_for(2, "slow")
        os.kill(workers(proxy)[0], signal.SIGTERM)
        assert answered(sockets, within_s=5) == CLIENTS
    proxy.wait_for_status(lambda now: now["worker_restarts"] == 1 and all_ready(now), "another worker")


def test_a_worker_that_hangs_does_not_make_status_hang(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(TWO + dnstap(to=collector) + forward(upstream))
    with clients(proxy) as sockets:
        ask_all(sockets)
        assert answered(sockets, within_s=5) == CLIENTS
    collector.wait_for(4 * CLIENTS)
    proxy.wait_for_status(lambda now: now["taps"][0]["queued"] == 0, "sent")
    hanging = workers(proxy)[1]
    os.kill(hanging, signal.SIGSTOP)
    for _ in range(2):
        began = time.monotonic()
        status = proxy.status()
        assert time.monotonic() - began < 3
        assert status["taps"][0]["sent"] == 4 * CLIENTS, "what it told last"
    os.kill(hanging, signal.SIGCONT)


@pytest.mark.parametrize("shares", [False, True], ids=["alone", "shared"])
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
def test_a_taken_port_is_one_line_with_address_and_port(
    tmp_path: Path, upstream: HostileUpstream, kind: socket.SocketKind, shares: bool
) -> None:
    proxy = Proxy(tmp_path, TWO + forward(upstream))
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shares)
        taken.bind(("127.0.0.1", proxy.port))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        proxy.launch()
        assert proxy.wait() == 1
    assert f"127.0.0.1:{proxy.port}" in proxy.log
    assert proxy.log.count("\n") == 1


UNABLE = """
import dataclasses

from dnsproxy.plugin import Plugin


class Unable(Plugin):
    @dataclasses.dataclass(frozen=True)
    class Config:
        pass

    def bind(self, plugins, server):
        raise OSError("the moon is full")
"""


def test_when_no_worker_can_start_the_reason_is_one_line_and_the_status_1(
    tmp_path: Path, upstream: HostileUpstream
) -> None:
    environment = install_package(tmp_path / "site", "unable", UNABLE, {"unable": "Unable"})
    proxy = Proxy(tmp_path, f"{TWO}[unable]\n{forward(upstream)}", environment=environment)
    proxy.launch()
    assert proxy.wait() == 1
    assert proxy.log == "dnsproxy: plugin unable cannot start: the moon is full\n"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_at_the_end_what_is_in_flight_is_answered_and_tapped(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, how: signal.Signals
) -> None:
    upstream.on("slow", behaviours.delay(500))
    proxy = start_proxy(TWO + dnstap(to=collector) + forward(upstream, timeout="2s", deadline="4s"))
    with clients(proxy, 10) as sockets, TcpClient(proxy.port) as stream:
        for id, client in enumerate(sockets):
            client.send(wire.query(f"d{id}.slow.example.org"))
        stream.send(wire.query("s.slow.example.org"))
        upstream.wait_for(11, "slow")
        for pid in (proxy.process.pid, *workers(proxy)):  # as a terminal or systemd does
            os.kill(pid, how)
        assert answered(sockets, within_s=5) == 10
        assert wire.rcode(stream.receive()) == 0
    assert proxy.wait() == 0
    assert "Traceback" not in proxy.log
    collector.wait_until(lambda: collector.stops == 2, "STOP")
    assert len(collector.of_type("CR")) == 11
    assert list(proxy.tap_lines.values()) == [{"offered": 44, "sent": 44, "queued": 0, "dropped": 0}]


def test_once_told_to_stop_nobody_listens_any_more(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    upstream.on("slow", behaviours.delay(800))
    proxy = start_proxy(TWO + forward(upstream, timeout="2s", deadline="4s"))
    with TcpClient(proxy.port) as client:
        client.send(wire.query("slow.example.org"))
        upstream.wait_for(1, "slow")
        proxy.tell_to_stop()
        time.sleep(0.3)
        with pytest.raises(ConnectionError):
            TcpClient(proxy.port).socket.close()
        assert is_silent(WWW, proxy.port)
        assert wire.rcode(client.receive()) == 0


def test_a_worker_that_hangs_does_not_hold_up_the_end_for_ever(tmp_path: Path, upstream: HostileUpstream) -> None:
    proxy = Proxy(tmp_path, TWO + stanza("[limits]", {"stop": "100ms"}) + forward(upstream)).start()
    os.kill(workers(proxy)[0], signal.SIGSTOP)
    began = time.monotonic()
    proxy.tell_to_stop()
    assert proxy.wait() == 1
    assert time.monotonic() - began < 5
    assert "does not stop" in proxy.log


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path, upstream: HostileUpstream) -> None:
    proxy = Proxy(tmp_path, TWO + forward(upstream)).start()
    left = workers(proxy)
    proxy.kill()
    wait_until(lambda: all(map(is_gone, left)), "the end of the workers")
    with Proxy(tmp_path, TWO + forward(upstream), port=proxy.port) as again:
        assert wire.rcode(exchange(WWW, again.port)) == 0


def test_a_file_tap_of_several_workers_is_one_stream_in_order(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "taps" / "dns.fstrm"
    proxy = start_proxy(TWO + dnstap(to=f"file://{path}") + forward(upstream))
    with clients(proxy) as sockets:
        for turn in range(5):
            ask_all(sockets, f"r{turn}.example.org")
            assert answered(sockets, within_s=5) == CLIENTS
    messages = 4 * 5 * CLIENTS
    status = proxy.wait_for_status(lambda now: now["taps"][0]["sent"] == messages, "in the file")
    (tap,) = status["taps"]
    assert (tap["state"], tap["offered"], tap["queued"], tap["socket"]) == ("connected", messages, 0, f"file://{path}")
    proxy.stop()
    assert list(proxy.tap_lines.values()) == [{"offered": messages, "sent": messages, "queued": 0, "dropped": 0}]
    assert [file.name for file in path.parent.iterdir()] == ["dns.fstrm"]
    types_of = dict[str, list[str]]()
    for line in run_program("dnstap", "-r", str(path), "-j").splitlines():
        message = json.loads(line)["message"]
        text = message.get("query_message") or message["response_message"]
        types_of.setdefault(re.findall(r"c\d+\.r\d", text)[0], []).append(message["type"])
    order = ["CLIENT_QUERY", "FORWARDER_QUERY", "FORWARDER_RESPONSE", "CLIENT_RESPONSE"]
    assert len(types_of) == 5 * CLIENTS
    assert all(types == order for types in types_of.values())


def test_the_file_of_a_tap_goes_on_when_a_worker_is_killed(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "dns.fstrm"
    proxy = start_proxy(TWO + dnstap(to=f"file://{path}") + forward(upstream))
    for _ in range(2):
        with clients(proxy) as sockets:
            ask_all(sockets)
            assert answered(sockets, within_s=5) == CLIENTS
        proxy.wait_for_status(lambda now: now["taps"][0]["queued"] == 0, "in the file")
        for pid in workers(proxy):
            os.kill(pid, signal.SIGKILL)
        proxy.wait_for_log(r"(?s)worker 1 was ended by.*worker 2 was ended by|worker 2 was.*worker 1 was")
        status = proxy.wait_for_status(all_ready, "other workers")
        assert all(map(tap_balances, status["taps"]))
        time.sleep(1.1)
    proxy.stop()
    assert [file.name for file in tmp_path.glob("*.fstrm")] == ["dns.fstrm"]
    summary = run_program("dnstap", "-r", str(path), "-q")
    assert summary.count("www.example.org") == 2 * 4 * CLIENTS


def test_a_reload_adds_and_removes_listeners_and_taps_in_all_workers(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(TWO + dnstap(to=collector, name="main") + forward(upstream))
    added = free_port()
    config = proxy.config.read_text()
    proxy.config.write_text(
        config.replace("listen = [", f'listen = ["127.0.0.1:{added}", ')
        .replace(upstream.address, second_upstream.address)
        .replace("[[dnstap]]", f'[[dnstap]]\nsocket = "file://{proxy.folder}/added.fstrm"\n[[dnstap]]')
    )
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_for_log("reload: done.*" + str(added))
    for port in (proxy.port, added):
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(udp_socket(port)) for _ in range(CLIENTS)]
            ask_all(sockets)
            assert answered(sockets, within_s=5) == CLIENTS
        assert wire.rcode(exchange_tcp(WWW, port)) == 0
    assert upstream.seen == []
    status = proxy.wait_for_status(lambda now: all(tap["queued"] == 0 for tap in now["taps"]), "sent")
    assert {tap["name"]: (tap["connects"], tap["sent"]) for tap in status["taps"]} == {
        "main": (2, 4 * 2 * (CLIENTS + 1)),
        f"file://{proxy.folder}/added.fstrm": (2, 4 * 2 * (CLIENTS + 1)),
    }
    os.kill(workers(proxy)[0], signal.SIGKILL)
    proxy.wait_for_status(all_ready, "another worker, with the new configuration")
    proxy.config.write_text(config)
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_for_log(r"(?s)reload: done.*reload: done")
    assert is_silent(WWW, added)
    with pytest.raises(ConnectionError):
        TcpClient(added)
    proxy.wait_for_log(r"added\.fstrm: offered=", within_s=8)
    assert len(proxy.status()["listeners"]) == 2
    assert wire.rcode(exchange(WWW, proxy.port)) == 0
    assert len(upstream.seen) == 1


def test_a_bad_file_or_a_taken_port_changes_nothing_and_says_why(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    proxy = start_proxy(TWO + forward(upstream))
    before = workers(proxy)
    config = proxy.config.read_text()
    proxy.config.write_text(config + "\nnonsense = 1\n")
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_for_log(rf"{proxy.config}:\d+: \[forward.*nonsense")
    proxy.wait_for_log("nothing changed")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", free_port()))
        port = taken.getsockname()[1]
        proxy.config.write_text(config.replace("listen = [", f'listen = ["127.0.0.1:{port}", '))
        proxy.process.send_signal(signal.SIGHUP)
        proxy.wait_for_log(rf"(?s)cannot listen on udp://127.0.0.1:{port}.*nothing changed")
    assert workers(proxy) == before
    with clients(proxy) as sockets:
        ask_all(sockets)
        assert answered(sockets, within_s=5) == CLIENTS


def test_another_number_of_workers_takes_a_restart(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    proxy = start_proxy(TWO + forward(upstream))
    proxy.config.write_text(proxy.config.read_text().replace(TWO, "workers = 3\n"))
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_for_log("workers = 3 takes a restart; there are 2")
    assert proxy.status()["workers"] == 2


def test_auto_is_a_worker_for_each_processor_that_may_be_used(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    proxy = start_proxy('workers = "auto"\n' + forward(upstream))
    assert proxy.status()["workers"] == len(os.sched_getaffinity(0))
    first = min(os.sched_getaffinity(0))
    pinned = start_proxy('workers = "auto"\n' + forward(upstream), prefix=["taskset", "--cpu-list", str(first)])
    assert pinned.status()["workers"] == 1
    assert workers(pinned) == []


def test_addresses_of_both_families_and_all_of_the_machines(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    if not ipv6_is_here():
        pytest.skip("IPv6 is missing")
    port = free_port()
    proxy = start_proxy(TWO + forward(upstream), port=port, listen=[f"0.0.0.0:{port}", f"[::]:{port}"])
    for host in ("127.0.0.1", "127.0.0.2", "::1"):
        assert wire.rcode(exchange(WWW, port, host=host)) == 0
        assert wire.rcode(exchange_tcp(WWW, port, host=host)) == 0
    assert len(proxy.status()["listeners"]) == 4


def test_any_port_is_the_same_one_for_all_workers_and_protocols(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    proxy = start_proxy(TWO + forward(upstream), listen=["127.0.0.1:0"])
    port = int(proxy.wait_for_log(r"ready: listening on udp://127\.0\.0\.1:(\d+), tcp://127\.0\.0\.1:\1\n")[1])
    assert wire.rcode(exchange(WWW, port)) == 0
    assert wire.rcode(exchange_tcp(WWW, port)) == 0


def test_a_folder_with_modules_of_our_names_is_not_imported_from(tmp_path: Path, upstream: HostileUpstream) -> None:
    (tmp_path / "trio.py").write_text("raise SystemExit('imported from the current folder')")
    proxy = Proxy(tmp_path, TWO + forward(upstream))
    command = [str(Path(sys.executable).with_name("dnsproxy")), "--config", str(proxy.config)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    log = ""
    while "ready" not in log and (line := process.stderr.readline()):
        log += line
    process.terminate()
    log += process.communicate()[1]
    assert (process.returncode, "ready" in log) == (0, True), log


def test_status_for_people_and_for_monitoring_knows_of_workers(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    proxy = start_proxy(TWO + forward(upstream))
    assert "2 workers" in run_dnsproxy("status", "--admin", str(proxy.admin)).stdout
    assert run_dnsproxy("status", "--check", "--admin", str(proxy.admin)).returncode == 0
