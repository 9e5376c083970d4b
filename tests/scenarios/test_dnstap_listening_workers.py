"""Taps that listen, through reloads and the deaths of workers: the collectors notice nothing."""

import os
import signal
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.scenarios.test_dnstap_listening import dialed, settled
from tests.support.collector import Dialer, listen, tcp_address, unix_address
from tests.support.load import ask_many
from tests.support.proxy import Proxy, tap_balances
from tests.support.toml import forward, listening
from tests.support.upstream import HostileUpstream
from tests.support.workers import all_ready, workers

WORKERS = pytest.mark.parametrize("count", [1, 2], ids=["one worker", "two workers"])


def head(count: int) -> str:
    return f"workers = {count}\n"


def replace_worker(proxy: Proxy, number: int) -> None:
    """Kills one and waits for the next to be in its place."""
    before = proxy.status()["worker_restarts"]
    os.kill(workers(proxy)[number], signal.SIGKILL)
    proxy.wait_for_status(lambda now: now["worker_restarts"] == before + 1 and all_ready(now), "another worker")


def test_a_killed_worker_breaks_no_collector(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    at = unix_address(tmp_path, "listening.sock")
    proxy = start_proxy(head(2) + listening(at=at, name="main") + forward(upstream))
    with Dialer(at) as first, Dialer(at) as second:
        dialed(proxy, first, second)
        for turn in range(2):
            replace_worker(proxy, turn)
            dialed(proxy, first, second)
            for number in range(12):
                ask_many(proxy.port, 5, f"t{turn}w{number}")
            for collector in (first, second):
                collector.wait_for(240)
            status = settled(proxy)
            assert tap_balances(status)
            assert (status["collectors"], status["connects"], status["state"]) == (2, 2, "listening")
        proxy.stop()
        for collector in (first, second):
            collector.wait_until(lambda collector=collector: collector.stops == 1, "STOP")  # type: ignore[misc]
            assert (collector.connections_made, collector.breaks) == (1, 0)


@WORKERS
def test_a_reload_changes_what_it_can_without_losing_a_collector(
    start_proxy: StartProxy, upstream: HostileUpstream, count: int
) -> None:
    at = tcp_address()
    rest = forward(upstream)
    proxy = start_proxy(head(count) + listening(at=at, name="main", queue=500) + rest)
    with Dialer(at) as collector:
        dialed(proxy, collector)
        proxy.reload(head(count) + listening(at=at, name="main", queue=1_000, identity="new", stall="9s") + rest)
        ask_many(proxy.port, 20)
        assert {message.identity for message in collector.wait_for(80)} == {"new"}
        assert (collector.connections_made, collector.breaks, collector.stops) == (1, 0, 0)


@WORKERS
def test_an_address_that_cannot_be_had_after_a_reload_changes_nothing(
    start_proxy: StartProxy, upstream: HostileUpstream, count: int
) -> None:
    at, other = tcp_address(), tcp_address()
    proxy = start_proxy(head(count) + listening(at=at, name="main") + forward(upstream))
    with Dialer(at) as collector:
        dialed(proxy, collector)
        with listen(other):
            proxy.config.write_text(proxy.config.read_text() + listening(at=other))
            proxy.process.send_signal(signal.SIGHUP)
            proxy.wait_for_log("reload: nothing changed")
        assert f"cannot listen on {other}: Address already in use" in proxy.log
        assert [tap["name"] for tap in proxy.status()["taps"]] == ["main"]
        ask_many(proxy.port, 20)
        collector.wait_for(80)


@WORKERS
def test_an_address_that_is_taken_at_the_start_is_one_line(
    upstream: HostileUpstream, tmp_path: Path, count: int
) -> None:
    unix, taken = unix_address(tmp_path, "listening.sock"), tcp_address()
    with listen(taken):
        proxy = Proxy(tmp_path, head(count) + listening(at=unix) + listening(at=taken) + forward(upstream))
        proxy.launch()
        assert proxy.wait() == 1
    assert proxy.log == f"dnsproxy: plugin dnstap cannot start: cannot listen on {taken}: Address already in use\n"
    assert not Path(unix.removeprefix("unix://")).exists(), "what was had before is given back"
