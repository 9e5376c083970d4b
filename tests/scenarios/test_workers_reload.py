"""Other configurations for a proxy of several processes, while it serves."""

import contextlib
import os
import signal
import socket

import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.client import TcpClient, exchange, exchange_tcp, is_silent, udp_socket
from tests.support.collector import Collector
from tests.support.ports import free_port
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream
from tests.support.workers import CLIENTS, TWO, WWW, all_ready, answered, ask_all, clients, workers


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
