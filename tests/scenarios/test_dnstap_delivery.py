"""How taps deliver: through restarts and outages of collectors, past stalled ones, to the last message."""

import time
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.client import answers, exchange, udp_socket
from tests.support.collector import Collector, tcp_address, unix_address
from tests.support.proxy import Proxy, Status, books, tap_balances
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

FOUND_WITHIN_S = 2.5  # "a collector that comes up after the proxy is found within two seconds"


def ask_many(proxy: Proxy, count: int, label: str = "many") -> None:
    """So many queries with different names, each answered."""
    with udp_socket(proxy.port) as client:
        for start in range(0, count, 50):
            ids = range(start, min(start + 50, count))
            for id in ids:
                client.send(wire.query(f"q{id}.{label}.example.org", id=id))
            assert len(answers(client, len(ids))) == len(ids)


def tap_of(proxy: Proxy, number: int = 0) -> Status:
    status: Status = proxy.status()["taps"][number]
    assert tap_balances(status), status
    return status


@pytest.mark.parametrize("transport", ["unix", "path", "tcp", "name"])
def test_every_kind_of_socket_address_works(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path, transport: str
) -> None:
    address = unix_address(tmp_path, "other.sock") if transport in ("unix", "path") else tcp_address()
    written = {
        "unix": address,
        "path": address.removeprefix("unix://"),
        "tcp": address,
        "name": address.replace("127.0.0.1", "localhost"),
    }
    with Collector(address) as tap:
        proxy = start_proxy(dnstap(to=written[transport]) + forward(upstream))
        exchange(wire.query("www.example.org"), proxy.port)
        tap.wait_for(4)
        assert tap_of(proxy)["state"] == "connected"
        proxy.stop()
        assert (tap.stops, tap.breaks) == (1, 0)


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_a_collector_that_comes_up_later_is_found_and_gets_what_was_kept(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path, transport: str
) -> None:
    tap = Collector(unix_address(tmp_path, "later.sock") if transport == "unix" else tcp_address())
    proxy = start_proxy(dnstap(to=tap) + forward(upstream))
    ask_many(proxy, 25)
    status = tap_of(proxy)
    assert status["state"] in ("down", "connecting")
    assert (status["offered"], status["queued"], status["sent"]) == (100, 100, 0)
    assert status["last_error"]
    with tap:
        tap.wait_for(100, within_s=FOUND_WITHIN_S)
        proxy.stop()


def test_what_was_sent_is_what_arrived_through_restarts_under_load(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector) + forward(upstream))
    for number in range(6):
        ask_many(proxy, 150, f"round{number}")
        collector.stop()
        ask_many(proxy, 50, f"outage{number}")
        collector.start()
    status = proxy.wait_for_status(lambda now: now["taps"][0]["queued"] == 0, "the queue is empty")
    offered, tapped = books(status)
    assert tapped == offered == 6 * 200 * 4
    tap = status["taps"][0]
    assert tap_balances(tap)
    assert (tap["sent"], sum(tap["dropped"].values())) == (tapped, 0)
    collector.wait_for(tap["sent"])
    proxy.stop()
    assert len(collector.messages) == tap["sent"]
    assert tap["connects"] == collector.handshakes


def test_a_killed_collector_is_noticed_without_traffic(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector) + forward(upstream))
    proxy.wait_for_status(lambda now: now["taps"][0]["state"] == "connected", "connected")
    collector.kill()
    proxy.wait_for_status(lambda now: now["taps"][0]["state"] in ("down", "connecting"), "down")
    collector.start()
    proxy.wait_for_status(lambda now: now["taps"][0]["state"] == "connected", "connected again")
    assert tap_of(proxy)["connects"] == 2


def test_a_stalled_collector_delays_no_query_and_no_other_tap(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    with Collector(unix_address(tmp_path, "other.sock")) as other:
        queue = 200
        proxy = start_proxy(dnstap(to=collector, queue=queue) + dnstap(to=other) + forward(upstream))
        exchange(wire.query("first.example.org"), proxy.port)
        collector.wait_for(4)
        collector.stall()
        started = time.monotonic()
        ask_many(proxy, 2_000)
        assert time.monotonic() - started < 10
        other.wait_for(8_004, within_s=10)
        stalled = tap_of(proxy)
        assert stalled["state"] == "connected", "a stalled collector is not disconnected"
        assert stalled["dropped"]["queue_full"] > 0
        assert stalled["queued"] <= queue
        collector.resume()
        collector.wait_for(8_004 - stalled["dropped"]["queue_full"], within_s=10)
        assert sum(tap_of(proxy, 1)["dropped"].values()) == 0
        proxy.stop()
        assert collector.connections_made == 1
        lines = [
            line for line in proxy.log.splitlines() if "queue" in line and "drop" in line and "offered=" not in line
        ]
        assert 1 <= len(lines) <= 3, f"drops are logged once per episode: {lines}"


def test_a_silent_collector_delays_nobody(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    with Collector(unix_address(tmp_path, "rude.sock"), silent=True) as rude:
        proxy = start_proxy(dnstap(to=rude) + dnstap(to=collector) + forward(upstream))
        ask_many(proxy, 100)
        collector.wait_for(400)
        assert tap_of(proxy, 0)["sent"] == 0
        proxy.stop()
    assert proxy.tap_lines[rude.address]["sent"] == 0


def test_a_full_queue_drops_counts_and_says_so(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    collector.kill()
    proxy = start_proxy(dnstap(to=collector, queue=40) + forward(upstream))
    ask_many(proxy, 50)
    status = tap_of(proxy)
    assert (status["offered"], status["queued"], status["dropped"]["queue_full"]) == (200, 40, 160)
    collector.start()
    collector.wait_for(40)
    proxy.wait_for_log("160.*queue|queue.*160")


def test_messages_are_bounded_by_octets_too(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    collector.kill()
    proxy = start_proxy(dnstap(to=collector, queue_bytes="4KiB") + forward(upstream))
    ask_many(proxy, 50)
    status = tap_of(proxy)
    assert 0 < status["queued"] < 60
    assert status["dropped"]["queue_full"] == 200 - status["queued"]


def test_at_the_end_taps_are_drained_and_the_stream_is_finished(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector, name="main") + forward(upstream))
    ask_many(proxy, 500)
    collector.stall()
    ask_many(proxy, 500, "more")
    proxy.tell_to_stop()
    time.sleep(0.2)
    collector.resume()
    proxy.stop()
    collector.wait_until(lambda: collector.stops == 1, "STOP")
    assert len(collector.messages) == 4_000
    assert proxy.tap_lines == {"main": {"offered": 4_000, "sent": 4_000, "queued": 0, "dropped": 0}}


def test_what_cannot_be_delivered_at_the_end_is_counted(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    collector.kill()
    proxy = start_proxy(dnstap(to=collector, name="gone") + forward(upstream))
    ask_many(proxy, 25)
    proxy.stop()
    assert proxy.tap_lines == {"gone": {"offered": 100, "sent": 0, "queued": 0, "dropped": 100}}


def test_a_file_tap_is_a_complete_stream_and_never_appended_to(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "folder" / "tap.fstrm"
    body = dnstap(to=f"file://{path}") + forward(upstream)
    for _ in range(2):
        with Proxy(tmp_path, body) as proxy:
            exchange(wire.query("www.example.org"), proxy.port)
    files = sorted(path.parent.iterdir())
    assert path in files
    assert len(files) == 2, "the second start began a second file"
    for file in files:
        octets = file.read_bytes()
        assert octets.startswith(b"\0\0\0\0\0\0\0\x22\0\0\0\x02"), "START"
        assert octets.endswith(b"\0\0\0\0\0\0\0\x04\0\0\0\x03"), "STOP"
        assert file.stat().st_mode & 0o777 == 0o640


def test_the_books_balance_in_every_snapshot_under_load(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector, queue=100) + forward(upstream))
    with udp_socket(proxy.port) as client:
        for number in range(8):
            for id in range(300):
                client.send(wire.query(f"b{number}-{id}.books.example.org"))
            tap_of(proxy)
            answers(client, 300, within_s=3)
    status = proxy.status()
    offered, tapped = books(status)
    assert offered == tapped
