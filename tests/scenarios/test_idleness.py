"""A proxy that has nothing to do does nothing, whatever state its peers have left it in."""

import os
import socket
import time
from pathlib import Path

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import TcpClient, exchange, exchange_tcp
from tests.support.collector import Collector
from tests.support.proxy import Proxy
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

WATCHED_S = 1.0
IDLE_SHARE = 0.1  # of one CPU: timers, probes and reconnects are allowed, spinning is not


def cpu_share(proxy: Proxy) -> float:
    before = cpu_s(proxy)
    time.sleep(WATCHED_S)
    return (cpu_s(proxy) - before) / WATCHED_S


def cpu_s(proxy: Proxy) -> float:
    fields = Path(f"/proc/{proxy.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_after_traffic_it_rests(start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector) -> None:
    proxy = start_proxy(dnstap(to=collector) + forward(upstream))
    for send in (exchange, exchange_tcp):
        send(wire.query("www.example.org"), proxy.port)
    assert cpu_share(proxy) < IDLE_SHARE


def test_with_everybody_gone_or_stuck_it_rests(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.on("unread", behaviours.large(65_000))
    second_upstream.close_port()
    body = forward(upstream) + forward(second_upstream, from_="gone.test")
    proxy = start_proxy(dnstap(to=collector) + body)
    with TcpClient(proxy.port) as lazy, TcpClient(proxy.port) as half, TcpClient(proxy.port) as stump:
        lazy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.send(*[wire.query(f"u{id}.unread.example.org", "TXT") for id in range(100)])
        half.send(wire.query("www.example.org"))
        half.receive()
        stump.socket.sendall(b"\0")
        for send in (exchange, exchange_tcp):
            send(wire.query("gone.test"), proxy.port)
        collector.kill()
        upstream.close_connections()
        assert cpu_share(proxy) < IDLE_SHARE
        assert wire.rcode(exchange(wire.query("www.example.org"), proxy.port)) == 0
