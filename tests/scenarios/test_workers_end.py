"""The end of workers: what is in flight is answered first, and nobody stays behind."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import TcpClient, exchange
from tests.support.collector import Collector, wait_until
from tests.support.proxy import Proxy
from tests.support.toml import dnstap, forward, stanza
from tests.support.upstream import HostileUpstream
from tests.support.workers import TWO, WWW, answered, clients, is_gone, workers


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


def test_a_worker_that_hangs_does_not_hold_up_the_end_for_ever(tmp_path: Path, upstream: HostileUpstream) -> None:
    proxy = Proxy(tmp_path, TWO + stanza("[limits]", {"stop": "100ms"}) + forward(upstream)).start()
    os.kill(workers(proxy)[0], signal.SIGSTOP)
    began = time.monotonic()
    proxy.tell_to_stop()
    assert proxy.wait() == 1
    assert time.monotonic() - began < 5
    assert "does not stop" in proxy.log


def test_a_reload_that_the_end_overtakes_is_not_said_to_be_done(tmp_path: Path, upstream: HostileUpstream) -> None:
    proxy = Proxy(tmp_path, TWO + stanza("[limits]", {"stop": "100ms"}) + forward(upstream)).start()
    os.kill(workers(proxy)[1], signal.SIGSTOP)
    proxy.config.write_text(proxy.config.read_text().replace(TWO, "workers = 3\n"))
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_for_log("takes a restart")  # one worker has the new configuration, the other one never will
    proxy.tell_to_stop()
    assert proxy.wait() == 1
    assert "reload: done" not in proxy.log


def test_workers_end_when_their_supervisor_is_killed(tmp_path: Path, upstream: HostileUpstream) -> None:
    proxy = Proxy(tmp_path, TWO + forward(upstream)).start()
    left = workers(proxy)
    proxy.kill()
    wait_until(lambda: all(map(is_gone, left)), "the end of the workers")
    with Proxy(tmp_path, TWO + forward(upstream), port=proxy.port) as again:
        assert wire.rcode(exchange(WWW, again.port)) == 0
