"""The books of taps: in `status`, in Prometheus' metrics and in the log, in agreement with what arrived."""

import re
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support.collector import Collector, unix_address
from tests.support.load import SteadyLoad, ask_many
from tests.support.metrics import Metrics, scrape
from tests.support.ports import free_port
from tests.support.proxy import Status, config_errors, tap_balances
from tests.support.toml import dnstap, forward, stanza
from tests.support.upstream import HostileUpstream

REASONS = {"queue_full", "spool_full", "oversize", "shutdown", "disconnected"}


def metrics_on(port: int) -> str:
    return stanza("[metrics]", {"listen": f"127.0.0.1:{port}"})


def say_the_same(metrics: Metrics, tap: Status) -> bool:
    """Whether the metrics of a tap at rest are those of its status."""
    name = tap["name"]
    return (
        metrics.value("dnsproxy_tap_offered_total", tap=name) == tap["offered"]
        and metrics.value("dnsproxy_tap_sent_total", tap=name) == tap["sent"]
        and metrics.value("dnsproxy_tap_queued", tap=name) == tap["queued"]
        and all(
            metrics.value("dnsproxy_tap_dropped_total", tap=name, reason=reason) == count
            for reason, count in tap["dropped"].items()
        )
    )


def balances(metrics: Metrics, tap: str) -> bool:
    parts = ("dnsproxy_tap_sent_total", "dnsproxy_tap_queued", "dnsproxy_tap_dropped_total")
    return metrics.value("dnsproxy_tap_offered_total", tap=tap) == sum(metrics.value(one, tap=tap) for one in parts)


def test_status_says_all_there_is_to_say_about_a_tap(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector, name="main", queue=60) + forward(upstream))
    ask_many(proxy.port, 10)
    before = proxy.wait_for_tap("main", lambda now: now["sent"] == 40, "all is sent")
    assert (before["state"], before["connects"], before["last_error"]) == ("connected", 1, None)
    assert before["bytes"] > sum(len(message.frame) for message in collector.wait_for(40))
    assert before["oldest_queued_s"] == 0
    assert set(before["dropped"]) >= REASONS
    collector.kill()
    proxy.wait_for_tap("main", lambda now: now["state"] in ("down", "connecting"), "away")
    ask_many(proxy.port, 20)
    away = proxy.wait_for_tap("main", lambda now: now["oldest_queued_s"] > 0.3, "what is queued grows old")
    assert (away["offered"], away["sent"], away["queued"], away["dropped"]["queue_full"]) == (120, 40, 60, 20)
    assert away["last_error"]
    collector.start()
    after = proxy.wait_for_tap("main", lambda now: now["state"] == "connected" and not now["queued"], "back")
    assert (after["sent"], after["connects"], after["oldest_queued_s"]) == (100, 2, 0)


def test_metrics_agree_with_status(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    port, gone = free_port(), unix_address(tmp_path, "gone.sock")
    taps = dnstap(to=collector, name="main") + dnstap(to=gone, name='the "other"', queue=10)
    proxy = start_proxy(metrics_on(port) + taps + forward(upstream))
    ask_many(proxy.port, 50)
    status = proxy.wait_for_status(lambda now: now["taps"][0]["sent"] == 200, "all is sent")
    metrics = scrape(port)
    assert metrics.content_type.startswith("text/plain")
    assert say_the_same(metrics, status["taps"][0])
    assert metrics.value("dnsproxy_tap_dropped_total", tap=r"the \"other\"", reason="queue_full") == 190
    assert metrics.value("dnsproxy_tap_queued", tap=r"the \"other\"") == 10


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:99999", "udp://127.0.0.1:9153"])
def test_where_metrics_cannot_be_is_an_error_at_its_key(tmp_path: Path, listen: str) -> None:
    errors = config_errors(tmp_path, stanza("[metrics]", {"listen": listen}) + forward("192.0.2.1"))
    assert any("[metrics.listen]" in error for error in errors), errors


def test_the_books_balance_in_every_sample_while_the_collector_comes_and_goes(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    port = free_port()
    collector.keeps = upstream.records = False
    proxy = start_proxy(metrics_on(port) + dnstap(to=collector, name="main", queue=200) + forward(upstream))
    lost = 0
    with SteadyLoad(proxy.port, 800) as load:
        for number in range(8):
            assert balances(scrape(port), "main")
            (collector.kill if number % 2 else collector.stop)()
            assert tap_balances(proxy.tap("main"))
            lost += number % 2
            collector.start()
            assert balances(scrape(port), "main")
    assert load.lost == 0
    tap = proxy.wait_for_tap("main", lambda now: now["offered"] == 4 * load.asked and not now["queued"], "the end")
    assert collector.handshakes <= tap["connects"] <= collector.connections_made
    in_kernel = tap["sent"] - collector.received
    assert 0 <= in_kernel <= lost * 3_000, "only what a killed connection had taken is missing"


def test_restarts_that_read_all_that_was_taken_lose_nothing(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    collector.keeps = upstream.records = False
    proxy = start_proxy(dnstap(to=collector, name="main") + forward(upstream))
    with SteadyLoad(proxy.port, 1_500) as load:
        for _ in range(10):
            tap = proxy.tap("main")
            collector.stop()
            assert tap["offered"] == tap["sent"] + tap["queued"]
            collector.start()
    tap = proxy.wait_for_tap("main", lambda now: not now["queued"] and now["state"] == "connected", "the end")
    collector.stop()
    assert (tap["offered"], sum(tap["dropped"].values())) == (4 * load.asked, 0)
    assert collector.received == tap["sent"]


def test_a_change_of_state_is_one_line(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector, name="main") + forward(upstream))
    proxy.wait_for_log("tap main connected")
    collector.kill()
    proxy.wait_for_log("tap main down")
    proxy.wait_for_tap("main", lambda now: now["state"] == "down", "down")
    ask_many(proxy.port, 20)
    collector.start()
    collector.wait_for(80)
    proxy.stop()
    assert len(re.findall("tap main connected", proxy.log)) == 2
    assert len(re.findall("tap main down", proxy.log)) == 1, "however often it was tried"
    assert proxy.tap_lines == {"main": {"offered": 80, "sent": 80, "queued": 0, "dropped": 0}}
