"""What Prometheus gets from a running proxy, of one process and of several."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import answers, exchange, udp_socket
from tests.support.collector import Collector, unix_address, wait_until
from tests.support.metrics import Metrics, http_status, scrape
from tests.support.packages import install_package
from tests.support.ports import free_port
from tests.support.proxy import Proxy
from tests.support.toml import dnstap, forward, stanza
from tests.support.upstream import HostileUpstream

CLIENTS = 32  # source ports: that all of them meet the same worker is as likely as 1 in 2 000 000 000
BOOKS = ("offered_total", "sent_total", "dropped_total", "queued")


@pytest.fixture
def port() -> int:
    """Where the metrics are."""
    return free_port()


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def head(request: pytest.FixtureRequest, port: int) -> str:
    """The top of a configuration with metrics."""
    return f"workers = {request.param}\n" + metrics(port)


def metrics(port: int) -> str:
    return stanza("[metrics]", {"listen": f"127.0.0.1:{port}"})


def ask_all(proxy: Proxy, count: int = CLIENTS, name: str = "example.org") -> None:
    """As many queries as clients, each for a name of its own; returns when all are answered."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(udp_socket(proxy.port)) for _ in range(count)]
        for id, client in enumerate(sockets):
            client.send(wire.query(f"c{id}.{name}", id=id))
        for client in sockets:
            assert answers(client, 1, within_s=5)


def balances(taken: Metrics, tap: str = "main") -> bool:
    offered, sent, dropped, queued = (taken.value(f"dnsproxy_tap_{name}", tap=tap) for name in BOOKS)
    return offered == sent + dropped + queued


def wait_for(port: int, name: str, value: float, **labels: str) -> Metrics:
    """The first scrape in which this is so."""
    end = time.monotonic() + 8
    while (taken := scrape(port)).value(name, **labels) != value:
        assert time.monotonic() < end, f"{name} is {taken.value(name, **labels)}, not {value}"
        time.sleep(0.05)
    return taken


def test_metrics_are_the_numbers_of_status(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, head: str, port: int
) -> None:
    proxy = start_proxy(head + dnstap(to=collector, name="main") + forward(upstream))
    ask_all(proxy)
    collector.wait_for(4 * CLIENTS)
    status = proxy.wait_for_status(lambda now: now["taps"][0]["queued"] == 0, "sent")
    taken = scrape(port)
    assert taken.content_type.startswith("text/plain; version=0.0.4")
    for listener in status["listeners"]:
        where = listener["address"]
        assert taken.value("dnsproxy_listener_queries_total", listener=where) == listener["queries"]
        assert taken.value("dnsproxy_listener_responses_total", listener=where) == listener["responses"]
    assert taken.value("coredns_dns_requests_total", proto="udp", server=f"dns://127.0.0.1:{proxy.port}") == CLIENTS
    (tap,) = status["taps"]
    assert tap["offered"] == 4 * CLIENTS
    for key in ("offered", "sent"):
        assert taken.value(f"dnsproxy_tap_{key}_total", tap="main") == tap[key]
    assert taken.value("dnsproxy_tap_queued", tap="main") == tap["queued"]
    assert taken.value("dnsproxy_tap_sent_bytes_total", tap="main") == tap["bytes"]
    assert balances(taken)
    assert taken.value("dnsproxy_tap_connected", tap="main") == 1
    assert taken.value("dnsproxy_tap_stalled", tap="main") == 0
    assert taken.value("dnsproxy_upstream_queries_total", upstream=upstream.address) == CLIENTS
    assert taken.value("dnsproxy_upstream_up", upstream=upstream.address) >= 1
    assert taken.value("dnsproxy_workers_ready") == status["workers"]
    assert taken.value("dnsproxy_uptime_seconds") > 0


def test_the_cache_and_forward_have_coredns_names(
    start_proxy: StartProxy, upstream: HostileUpstream, head: str, port: int
) -> None:
    upstream.on("slow", behaviours.delay(300))
    proxy = start_proxy(head + "[cache]\n" + forward(upstream, timeout="2s", deadline="4s", max_concurrent=1))
    for _ in range(8):
        exchange(wire.query("same.example.org"), proxy.port)
    taken = scrape(port)
    assert taken.value("coredns_cache_requests_total") == 8
    assert taken.value("coredns_cache_hits_total") >= 6, "each worker has a cache"
    entries = 8 - taken.value("coredns_cache_hits_total")
    assert taken.value("coredns_cache_entries") == entries
    assert taken.value("dnsproxy_plugin_status", plugin="cache", key="misses") == entries
    ask_all(proxy, 16, "slow.example.org")
    assert scrape(port).value("coredns_forward_max_concurrent_rejects_total") >= 14


def test_the_books_balance_in_every_scrape_while_the_collector_comes_and_goes(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, head: str, port: int
) -> None:
    proxy = start_proxy(head + dnstap(to=collector, name="main", queue=100) + forward(upstream))
    ended = threading.Event()

    def load() -> None:
        while not ended.is_set():
            ask_all(proxy, 16)

    loading = threading.Thread(target=load)
    loading.start()
    try:
        for restart in range(8):
            if restart % 2:
                collector.start()
            else:
                collector.kill()
            taken = [scrape(port) for _ in range(12)]
            assert all(map(balances, taken))
            offered = [each.value("dnsproxy_tap_offered_total", tap="main") for each in taken]
            assert offered == sorted(offered)
    finally:
        ended.set()
        loading.join()
    assert scrape(port).value("dnsproxy_tap_dropped_total", tap="main", reason="queue_full") > 0


def test_a_tap_and_an_upstream_that_are_down_show(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path, head: str, port: int
) -> None:
    nobody = unix_address(tmp_path / "nobody")
    taps = dnstap(to=collector, name="main") + dnstap(to=nobody, name="away")
    proxy = start_proxy(head + taps + forward(upstream, timeout="100ms", deadline="200ms"))
    upstream.default = behaviours.drop
    ask_all(proxy, 16)
    taken = wait_for(port, "dnsproxy_upstream_up", 0, address=f"udp://{upstream.address}")
    assert taken.value("dnsproxy_upstream_timeouts_total", upstream=upstream.address) > 3
    assert taken.value("dnsproxy_tap_connected", tap="away") == 0
    assert taken.value("dnsproxy_tap_connected", tap="main") == 1
    assert taken.value("dnsproxy_tap_queued", tap="away") == taken.value("dnsproxy_tap_offered_total", tap="away") > 0


def test_with_another_file_the_metrics_are_elsewhere_or_nowhere(
    start_proxy: StartProxy, upstream: HostileUpstream, head: str, port: int
) -> None:
    proxy = start_proxy(head + forward(upstream))
    other = free_port()
    text = proxy.config.read_text()
    assert http_status(port, "/metrics") == 200
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        reload(proxy, text.replace(str(port), str(taken.getsockname()[1])), "nothing changed")
    assert "metrics: cannot listen on tcp://127.0.0.1:" in proxy.log
    assert http_status(port, "/metrics") == 200
    reload(proxy, text.replace(str(port), str(other)), "done")
    assert http_status(other, "/metrics") == 200
    assert is_closed(port)
    reload(proxy, text.replace(metrics(port), ""), "done")
    assert is_closed(other)
    exchange(wire.query("www.example.org"), proxy.port)


def reload(proxy: Proxy, text: str, how: str) -> None:
    count = proxy.log.count(f"reload: {how}")
    proxy.config.write_text(text)
    proxy.process.send_signal(signal.SIGHUP)
    wait_until(lambda: proxy.log.count(f"reload: {how}") > count, f"reload: {how}")


def is_closed(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_a_taken_port_is_one_line_and_status_1(tmp_path: Path, upstream: HostileUpstream, head: str, port: int) -> None:
    proxy = Proxy(tmp_path, head + forward(upstream))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        proxy.launch()
        assert proxy.wait() == 1
    assert proxy.log == f"dnsproxy: metrics: cannot listen on tcp://127.0.0.1:{port}: Address already in use\n"


@contextlib.contextmanager
def besieged(port: int) -> Iterator[None]:
    """Hundreds who say nothing, or half a request, or ask without end and do not read."""
    ended = threading.Event()
    idle = []
    for number in range(300):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall((b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\n\r\n", b"\0" * 9000)[number % 4])
        idle.append(client)

    def ask_without_end() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")

    threads = [threading.Thread(target=ask_without_end) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()
        for client in idle:
            client.close()


def test_hostile_clients_stall_neither_queries_nor_scrapes(
    start_proxy: StartProxy, upstream: HostileUpstream, head: str, port: int
) -> None:
    proxy = start_proxy(head + forward(upstream))
    with besieged(port):
        for number in range(20):
            began = time.monotonic()
            assert wire.rcode(exchange(wire.query(f"q{number}.example.org"), proxy.port)) == 0
            assert time.monotonic() - began < 0.5
        assert any(is_scraped(port) for _ in range(10))
    wait_until(lambda: is_scraped(port), "a scrape after the siege")
    assert proxy.process.poll() is None


def is_scraped(port: int) -> bool:
    try:
        return "dnsproxy_workers" in scrape(port).text
    except OSError:
        return False


def test_counters_do_not_fall_when_a_worker_dies(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, port: int
) -> None:
    body = "workers = 2\n" + metrics(port) + dnstap(to=collector, name="main") + "[cache]\n" + forward(upstream)
    proxy = start_proxy(body)
    ask_all(proxy)
    collector.wait_for(4 * CLIENTS)
    before = wait_for(port, "dnsproxy_tap_sent_total", 4 * CLIENTS, tap="main")
    pid = proxy.process.pid
    victim = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    os.kill(victim, signal.SIGKILL)
    after = wait_for(port, "dnsproxy_worker_restarts_total", 1)
    while True:
        for counter in ("tap_offered", "tap_sent", "listener_queries", "listener_responses", "upstream_queries"):
            name = f"dnsproxy_{counter}_total"
            assert after.value(name) >= before.value(name), counter
        assert after.value("coredns_cache_requests_total") == CLIENTS
        assert balances(after)
        if after.value("dnsproxy_workers_ready") == 2:
            break
        after = scrape(port)
    wait_for(port, "dnsproxy_tap_connects_total", 3, tap="main")


UNCOUNTABLE = """
import dataclasses

from dnsproxy.plugin import Plugin


class Raising(Plugin):
    @dataclasses.dataclass(frozen=True)
    class Config:
        pass

    def status(self):
        raise OSError("the abacus is broken")


class Strange(Raising):
    def status(self):
        return {"set": {1, 2}}
"""


def test_a_plugin_that_cannot_count_is_left_out_and_told_of_once(
    tmp_path: Path, upstream: HostileUpstream, head: str, port: int
) -> None:
    classes = {"raising": "Raising", "strange": "Strange"}
    environment = install_package(tmp_path / "site", "uncountable", UNCOUNTABLE, classes)
    body = head + "[raising]\n[strange]\n[cache]\n" + forward(upstream)
    with Proxy(tmp_path, body, environment=environment, may_trace=True) as proxy:
        exchange(wire.query("www.example.org"), proxy.port)
        for _ in range(3):
            taken = scrape(port)
            assert taken.value("coredns_cache_requests_total") == 1
            assert set(proxy.status()["plugins"]) == {"cache", "forward"}
        processes = int(taken.value("dnsproxy_workers"))
        assert proxy.log.count("its status cannot be taken") == 2 * processes
        assert taken.value("dnsproxy_worker_restarts_total") == 0
