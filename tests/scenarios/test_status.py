"""What `dnsproxy status` says, in numbers that add up."""

import json
import re
import stat

import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import exchange, exchange_tcp, is_silent
from tests.support.collector import Collector
from tests.support.proxy import Proxy, books, run_dnsproxy, tap_balances
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream


@pytest.fixture
def proxy(start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector) -> Proxy:
    return start_proxy(dnstap(to=collector, name="main") + forward(upstream, timeout="100ms"))


def test_the_shape_of_status_is_as_documented(proxy: Proxy, upstream: HostileUpstream, collector: Collector) -> None:
    exchange(wire.query("www.example.org"), proxy.port)
    collector.wait_for(4)
    status = proxy.wait_for_status(lambda now: now["taps"][0]["queued"] == 0, "sent")
    assert set(status) >= {"version", "compiled", "uptime_s", "workers", "listeners", "taps", "upstreams", "plugins"}
    assert isinstance(status["compiled"], bool)
    assert status["workers"] == 1
    assert 0 < status["uptime_s"] < 60
    assert [one["address"] for one in status["listeners"]] == [
        f"udp://127.0.0.1:{proxy.port}",
        f"tcp://127.0.0.1:{proxy.port}",
    ]
    for listener in status["listeners"]:
        assert set(listener) >= {"address", "queries", "responses", "dropped"}
    (tap,) = status["taps"]
    assert (tap["name"], tap["socket"], tap["state"]) == ("main", collector.address, "connected")
    assert (tap["offered"], tap["sent"], tap["queued"], tap["connects"], tap["last_error"]) == (4, 4, 0, 1, None)
    assert set(tap) >= {"dropped", "bytes", "oldest_queued_s"}
    assert tap["bytes"] > sum(len(message.frame) for message in collector.messages) - 1
    (server,) = [one for one in status["upstreams"] if one["queries"]]
    assert (server["name"], server["address"]) == (upstream.address, f"udp://{upstream.address}")
    assert (server["state"], server["queries"], server["responses"]) == ("up", 1, 1)
    assert (server["timeouts"], server["mismatches"], server["in_flight"]) == (0, 0, 0)
    assert 0 <= server["rtt_ms"] < 100
    assert isinstance(status["plugins"], dict)


def test_an_unfiltered_tap_is_offered_what_both_sides_count(
    proxy: Proxy, upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.on("lost", behaviours.drop)
    upstream.on("tc", behaviours.truncate)
    upstream.on("liar", behaviours.both(behaviours.wrong_id, behaviours.answer))
    upstream.on("servfail", behaviours.fail(wire.SERVFAIL))
    for name in ("www", "lost", "tc", "liar", "servfail"):
        for send in (exchange, exchange_tcp):
            send(wire.query(f"{name}.example.org"), proxy.port)
    for bad in (
        wire.raw_query(b"", counts=(0, 0, 0, 0)),
        wire.query("www.example.org", "AXFR"),
        wire.query("x.org", edns=9),
    ):
        exchange(bad, proxy.port)
    assert is_silent(b"malformed", proxy.port)
    status = proxy.wait_for_status(lambda now: now["taps"][0]["queued"] == 0, "sent")
    offered, tapped = books(status)
    assert offered == tapped == len(collector.messages)
    assert tap_balances(status["taps"][0])
    udp, tcp = status["listeners"]
    assert (udp["queries"], udp["responses"], udp["dropped"]["malformed"]) == (8, 8, 1)
    assert (tcp["queries"], tcp["responses"]) == (5, 5)


def test_refused_transfers_and_the_like_count_as_queries_and_responses(proxy: Proxy) -> None:
    for _ in range(3):
        exchange(wire.raw_query(b"", flags=2 << 11, counts=(0, 0, 0, 0)), proxy.port)
    (udp, _) = proxy.status()["listeners"]
    assert (udp["queries"], udp["responses"], sum(udp["dropped"].values())) == (3, 3, 0)


def test_timeouts_and_what_is_in_flight_are_counted(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("lost", behaviours.drop)
    exchange(wire.query("lost.example.org"), proxy.port)
    (server,) = [one for one in proxy.status()["upstreams"] if one["queries"]]
    assert (server["queries"], server["responses"], server["timeouts"], server["in_flight"]) == (2, 0, 2, 0)


def test_the_round_trip_time_is_that_of_the_answers_from_the_first_on(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("slow", behaviours.delay(60))
    exchange(wire.query("slow.example.org"), proxy.port)
    (server,) = [one for one in proxy.status()["upstreams"] if one["queries"]]
    assert 60 <= server["rtt_ms"] < 100


def test_the_admin_socket_is_private(proxy: Proxy) -> None:
    assert stat.S_IMODE(proxy.admin.stat().st_mode) == 0o600


def test_status_reads_the_admin_socket_from_the_configuration_too(proxy: Proxy) -> None:
    done = run_dnsproxy("status", "--json", "--config", str(proxy.config))
    assert json.loads(done.stdout)["listeners"][0]["address"] == f"udp://127.0.0.1:{proxy.port}"


def test_status_without_json_is_for_people(proxy: Proxy, upstream: HostileUpstream) -> None:
    done = run_dnsproxy("status", "--admin", str(proxy.admin))
    assert done.returncode == 0
    assert "main" in done.stdout
    assert upstream.address in done.stdout
    assert f"127.0.0.1:{proxy.port}" in done.stdout


def test_status_check_is_quiet_when_all_is_well_and_names_what_is_down(
    proxy: Proxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy.wait_for_status(lambda now: now["taps"][0]["state"] == "connected", "connected")
    check = ("status", "--check", "--admin", str(proxy.admin))
    assert run_dnsproxy(*check).returncode == 0
    collector.kill()
    proxy.wait_for_status(lambda now: now["taps"][0]["state"] != "connected", "down")
    failed = run_dnsproxy(*check)
    assert failed.returncode == 1
    assert "main" in failed.stdout + failed.stderr
    collector.start()
    proxy.wait_for_status(lambda now: now["taps"][0]["state"] == "connected", "connected again")
    upstream.default = behaviours.drop
    for number in range(3):
        exchange(wire.query(f"lost{number}.example.org"), proxy.port)
    failed = run_dnsproxy(*check)
    assert failed.returncode == 1
    assert upstream.address in failed.stdout + failed.stderr


def test_version_and_status_agree_on_the_build(proxy: Proxy) -> None:
    words = re.findall(r"\b(compiled|interpreted)\b", run_dnsproxy("--version").stdout)
    assert words == ["compiled" if proxy.status()["compiled"] else "interpreted"]


def test_without_a_running_proxy_status_fails_in_one_line(proxy: Proxy) -> None:
    done = run_dnsproxy("status", "--json", "--admin", str(proxy.folder / "nobody.sock"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
