"""A tap's health is seen before anyone misses it: in the log, and by `dnsproxy status --check`."""

import re
import time
from pathlib import Path

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import exchange
from tests.support.collector import Collector, unix_address
from tests.support.load import SteadyLoad, ask_many
from tests.support.proxy import Proxy, run_dnsproxy
from tests.support.toml import dnstap, forward, listening
from tests.support.upstream import HostileUpstream

STALL = "400ms"
QUIET_S = 0.9  # more than twice as long


def connected(proxy: Proxy) -> None:
    proxy.wait_for_tap("main", lambda now: now["state"] == "connected", "connected")


def check_until(proxy: Proxy, status: int) -> str:
    """What `status --check` prints once it ends with this status."""
    end = time.monotonic() + 5
    while True:
        done = proxy.check()
        if done.returncode == status:
            return done.stdout + done.stderr
        assert time.monotonic() < end, f"still {done.returncode}: {done.stdout}{done.stderr}"
        time.sleep(0.05)


def test_a_tap_that_is_connected_is_well(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    taps = dnstap(to=collector, name="main") + listening(at=unix_address(tmp_path, "l.sock"))
    proxy = start_proxy(taps + dnstap(to=f"file://{tmp_path}/tap.fstrm") + forward(upstream))
    connected(proxy)
    exchange(wire.query("www.example.org"), proxy.port)
    check_until(proxy, 0)


def test_a_tap_that_is_down_fails_the_check_and_is_named(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    gone = dnstap(to=unix_address(tmp_path, "gone.sock"), name="gone")
    proxy = start_proxy(dnstap(to=collector, name="main") + gone + forward(upstream))
    connected(proxy)
    told = check_until(proxy, 1)
    assert "gone" in told
    assert "main" not in told, "only what is down"
    with Collector(unix_address(tmp_path, "gone.sock")):
        check_until(proxy, 0)
        proxy.stop()


def test_an_upstream_that_is_down_fails_the_check_and_is_named(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    proxy = start_proxy(forward(upstream, timeout="100ms", deadline="500ms", max_attempts=3))
    check_until(proxy, 0)
    upstream.default = behaviours.drop
    exchange(wire.query("www.example.org"), proxy.port)
    proxy.wait_for_log("down: 3 timeouts")
    assert upstream.address in check_until(proxy, 1)
    upstream.default = behaviours.answer
    proxy.wait_for_log("up: answered")
    check_until(proxy, 0)


def test_without_a_proxy_the_check_fails_with_one_line(tmp_path: Path) -> None:
    done = run_dnsproxy("status", "--check", "--admin", str(tmp_path / "none.sock"))
    assert done.returncode == 1
    assert len((done.stdout + done.stderr).splitlines()) == 1


def test_a_collector_that_takes_nothing_is_told_once_and_fails_the_check_until_it_takes_again(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    collector.keeps = upstream.records = False
    proxy = start_proxy(dnstap(to=collector, name="main", stall=STALL) + forward(upstream))
    connected(proxy)
    collector.stall()
    with SteadyLoad(proxy.port, 1_500):
        proxy.wait_for_log(r"main.*\bstalled\b", within_s=8)
        assert "main" in check_until(proxy, 1)
        assert proxy.tap("main")["state"] == "connected", "it is not disconnected"
    collector.resume()
    proxy.wait_for_tap("main", lambda now: not now["queued"], "all is sent")
    check_until(proxy, 0)
    stalled = [line for line in proxy.log.splitlines() if re.search(r"\bstalled\b", line)]
    assert len(stalled) == 1, stalled
    assert collector.connections_made == 1


def test_quiet_is_no_stall(start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector) -> None:
    proxy = start_proxy(dnstap(to=collector, name="main", stall=STALL) + forward(upstream))
    connected(proxy)
    ask_many(proxy.port, 10)
    collector.wait_for(40)
    time.sleep(QUIET_S)
    assert proxy.check().returncode == 0
    ask_many(proxy.port, 10, "later")
    collector.wait_for(80)
    assert "stalled" not in proxy.log


def test_of_several_workers_one_that_is_cut_off_is_enough(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy("workers = 2\n" + dnstap(to=collector, name="main") + forward(upstream))
    connected(proxy)
    check_until(proxy, 0)
    collector.kill()
    assert "main" in check_until(proxy, 1)
    collector.start()
    check_until(proxy, 0)


def test_the_check_needs_nothing_but_the_configuration(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector, name="main") + forward(upstream))
    connected(proxy)
    done = run_dnsproxy("status", "--check", "--config", str(proxy.config))
    assert done.returncode == 0, done.stdout + done.stderr
    collector.kill()
    proxy.wait_for_tap("main", lambda now: now["state"] != "connected", "down")
    assert run_dnsproxy("status", "--check", "--config", str(proxy.config)).returncode == 1
