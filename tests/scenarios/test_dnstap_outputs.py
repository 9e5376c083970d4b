"""How a tap writes: when it wakes, over how many connections, kept alive how, and past collectors that crawl."""

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.client import exchange
from tests.support.collector import Collector, tcp_address, unix_address, wait_until
from tests.support.load import SteadyLoad, ask_many
from tests.support.proxy import config_errors
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

ESTABLISHED, KEEPALIVE_TIMER = "01", "02"  # in /proc/net/tcp
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def tcp_collector() -> Iterator[Collector]:
    with Collector(tcp_address()) as receiver:
        yield receiver


def keep_alive_s(port: int) -> float | None:
    """When the kernel will probe the connection to this port, if it will."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (row,) = [row for row in rows if row[3] == ESTABLISHED and int(row[2].partition(":")[2], 16) == port]
    timer, _, ticks = row[5].partition(":")
    return int(ticks, 16) / TICKS_PER_S if timer == KEEPALIVE_TIMER else None


@pytest.mark.parametrize(("flush", "least", "most"), [("400ms", 1, 4), ("10ms", 7, 12)])
def test_messages_wait_for_each_other_as_long_as_the_flush_interval(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, flush: str, least: int, most: int
) -> None:
    proxy = start_proxy(dnstap(to=collector, name="main", flush=flush, batch=1000) + forward(upstream))
    proxy.wait_for_tap("main", lambda now: now["state"] == "connected", "connected")
    for number in range(10):
        exchange(wire.query(f"q{number}.example.org"), proxy.port)
        time.sleep(0.06)
    collector.wait_for(40, within_s=2)
    pauses = [later - earlier for earlier, later in itertools.pairwise(collector.arrivals_s)]
    assert least <= 1 + sum(pause_s > 0.02 for pause_s in pauses) <= most, "so many times something was written"


def test_a_batch_of_messages_wakes_the_writer_before_its_time(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector, name="main", flush="5s", batch=8) + forward(upstream))
    proxy.wait_for_tap("main", lambda now: now["state"] == "connected", "connected")
    began = time.monotonic()
    ask_many(proxy.port, 2)
    collector.wait_for(8)
    assert time.monotonic() - began < 2


def test_by_default_a_message_is_there_within_a_fraction_of_a_second(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector, name="main") + forward(upstream))
    proxy.wait_for_tap("main", lambda now: now["state"] == "connected", "connected")
    began = time.monotonic()
    exchange(wire.query("www.example.org"), proxy.port)
    collector.wait_for(4)
    assert time.monotonic() - began < 0.5


def test_several_connections_share_a_taps_messages(
    start_proxy: StartProxy, upstream: HostileUpstream, tcp_collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=tcp_collector, name="main", connections=3) + forward(upstream))
    tcp_collector.wait_until(lambda: tcp_collector.connections_made == 3, "three connections")
    wait_until(lambda: proxy.tap("main")["connects"] == 3, "three handshakes")
    ask_many(proxy.port, 500)
    tcp_collector.wait_for(2_000)
    status = proxy.wait_for_tap("main", lambda now: not now["queued"], "all is sent")
    assert (status["offered"], status["sent"], status["connects"]) == (2_000, 2_000, 3)
    assert len({message.frame for message in tcp_collector.messages}) == 2_000
    assert all(tcp_collector.per_connection), "each has its part"
    proxy.stop()
    assert (tcp_collector.stops, tcp_collector.breaks) == (3, 0)


def test_several_connections_lose_nothing_in_restarts(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector, name="main", connections=2) + forward(upstream))
    for number in range(3):
        ask_many(proxy.port, 100, f"round{number}")
        collector.stop()
        ask_many(proxy.port, 50, f"outage{number}")
        collector.start()
    proxy.wait_for_tap("main", lambda now: now["sent"] == 1800, "all is sent")
    collector.wait_for(1800)
    assert not any(proxy.tap("main")["dropped"].values())


def test_connections_are_kept_alive_by_the_kernel_if_so_told(
    start_proxy: StartProxy, upstream: HostileUpstream, tcp_collector: Collector
) -> None:
    with Collector(tcp_address()) as other:
        taps = dnstap(to=tcp_collector, name="kept", keepalive="30s") + dnstap(to=other, name="not")
        proxy = start_proxy(taps + forward(upstream))
        proxy.wait_for_status(lambda now: all(tap["state"] == "connected" for tap in now["taps"]), "connected")
        ports = [int(one.address.rpartition(":")[2]) for one in (tcp_collector, other)]
        assert 20 < (keep_alive_s(ports[0]) or 0) <= 30
        assert (keep_alive_s(ports[1]) or 7200) > 3600, "the system's, or none"


def test_a_collector_that_reads_an_octet_a_second_moves_no_clients_latency(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    upstream.records = False
    with Collector(unix_address(tmp_path, "crawling.sock"), crawl_s=1.0) as crawling:
        taps = dnstap(to=collector, name="quick") + dnstap(to=crawling, name="slow", queue=500)
        proxy = start_proxy(taps + forward(upstream))
        proxy.wait_for_status(lambda now: all(tap["state"] == "connected" for tap in now["taps"]), "connected")
        with SteadyLoad(proxy.port, 600) as load:
            wait_until(lambda: proxy.tap("slow")["dropped"]["queue_full"] > 0, "its queue is full", within_s=8)
            before = load.asked
            wait_until(lambda: load.asked > before + 600, "a second more", within_s=8)
        assert load.lost == 0
        ordinary, crawled = sorted(load.latencies_s[:before]), sorted(load.latencies_s[before:])
        middle, later = ordinary[len(ordinary) // 2], crawled[len(crawled) // 2]
        assert later < 2 * middle + 0.002
        collector.wait_for(4 * load.asked)
        assert not any(proxy.tap("quick")["dropped"].values())
        assert proxy.tap("slow")["state"] == "connected"


def test_a_collector_that_stays_after_finish_is_left(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    with Collector(unix_address(tmp_path, "lingering.sock"), lingers=True) as collector:
        proxy = start_proxy(dnstap(to=collector) + forward(upstream))
        exchange(wire.query("www.example.org"), proxy.port)
        collector.wait_for(4)
        proxy.stop()
        collector.wait_until(lambda: collector.stops == 1, "the connection's end")


def test_what_an_output_cannot_do_is_an_error_at_its_key(tmp_path: Path) -> None:
    wrong: dict[str, object] = {
        "flush": "soon",
        "batch": 0,
        "keepalive": "always",
        "connections": 0,
        "stall": "never",
        "queue": 0,
    }
    taps = [
        dnstap(to=f"tcp://127.0.0.1:{16_000 + at}", **{key: value}) for at, (key, value) in enumerate(wrong.items())
    ]
    errors = config_errors(tmp_path, "".join(taps) + forward("192.0.2.1"))
    assert len(errors) == len(wrong), errors
    for number, key in enumerate(wrong):
        assert f"[dnstap[{number}].{key}]" in errors[number]
