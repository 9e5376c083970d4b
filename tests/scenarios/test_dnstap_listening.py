"""Taps that listen: collectors dial in, each with a queue of its own, and none of them can hurt another or a query."""

import contextlib
import time
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.client import exchange
from tests.support.collector import Collector, Dialer, connect, listen, tcp_address, unix_address, wait_until
from tests.support.load import ask_many
from tests.support.proxy import Proxy, Status, config_errors
from tests.support.toml import dnstap, forward, listening
from tests.support.upstream import HostileUpstream

CONNECTED_WITHIN_S = 3.0


@pytest.fixture
def address(tmp_path: Path) -> str:
    return unix_address(tmp_path, "listening.sock")


def tap(address: str, **keys: object) -> str:
    return listening(at=address, **{"name": "main", **keys})


def dialed(proxy: Proxy, *dialers: Dialer) -> None:
    """Waits until these collectors are being sent what comes: each has seen a message."""
    end = time.monotonic() + CONNECTED_WITHIN_S
    while not all(dialer.received for dialer in dialers):
        assert time.monotonic() < end, f"nothing came within {CONNECTED_WITHIN_S} s; the log:\n{proxy.log}"
        exchange(wire.query("hello.example.org"), proxy.port)
        time.sleep(0.05)
    settled(proxy)
    for dialer in dialers:
        wait_until(lambda dialer=dialer: len(dialer.messages) == dialer.received, "read")  # type: ignore[misc]
        dialer.messages.clear()
        dialer.received = 0


def settled(proxy: Proxy) -> Status:
    return proxy.wait_for_tap("main", lambda now: not now["queued"], "all is sent")


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_a_collector_that_dials_in_gets_what_happens_from_then_on(
    start_proxy: StartProxy, upstream: HostileUpstream, address: str, transport: str
) -> None:
    at = address if transport == "unix" else tcp_address()
    proxy = start_proxy(tap(at, identity="edge-1") + forward(upstream))
    exchange(wire.query("before.example.org"), proxy.port)
    with Dialer(at) as collector:
        dialed(proxy, collector)
        ask_many(proxy.port, 50)
        messages = collector.wait_for(200)
        assert {message.identity for message in messages} == {"edge-1"}
        assert not collector.about("before")
        proxy.stop()
        collector.wait_until(lambda: collector.stops == 1, "STOP")


def test_with_nobody_there_nothing_is_offered_and_the_state_is_listening(
    start_proxy: StartProxy, upstream: HostileUpstream, address: str
) -> None:
    proxy = start_proxy(listening(at=address) + forward(upstream))
    ask_many(proxy.port, 20)
    status = proxy.tap(address)
    assert (status["name"], status["socket"], status["state"]) == (address, address, "listening")
    assert (status["offered"], status["queued"], status["connects"]) == (0, 0, 0)
    assert proxy.check().returncode == 0


def test_the_numbers_are_sums_over_the_collectors(
    start_proxy: StartProxy, upstream: HostileUpstream, address: str
) -> None:
    proxy = start_proxy(tap(address) + forward(upstream))
    with Dialer(address) as first, Dialer(address) as second:
        dialed(proxy, first, second)
        before = settled(proxy)
        ask_many(proxy.port, 25)
        assert [len(one.wait_for(100)) for one in (first, second)] == [100, 100]
        after = settled(proxy)
        assert (after["offered"] - before["offered"], after["sent"] - before["sent"]) == (200, 200)
        assert after["connects"] == 2
        assert after["bytes"] > before["bytes"]
        first.kill()
        wait_until(lambda: first.breaks == 1, "the first has gone")
        ask_many(proxy.port, 25, "rest")
        second.wait_for(200)
        assert settled(proxy)["state"] == "listening"


def test_a_stalled_collector_has_a_queue_of_its_own(
    start_proxy: StartProxy, upstream: HostileUpstream, address: str
) -> None:
    proxy = start_proxy(tap(address, queue=1_000) + forward(upstream))
    with Dialer(address) as stalled, Dialer(address) as other:
        dialed(proxy, stalled, other)
        before = settled(proxy)
        stalled.stall()
        began = time.monotonic()
        ask_many(proxy.port, 2_000)
        assert time.monotonic() - began < 10
        other.wait_for(8_000, within_s=10)
        status = proxy.tap("main")
        assert status["dropped"]["queue_full"] > 0
        assert status["queued"] <= 1_000
        assert status["offered"] - before["offered"] == 16_000
        stalled.resume()
        stalled.wait_for(8_000 - status["dropped"]["queue_full"])
        assert (stalled.breaks, other.breaks) == (0, 0)


def test_a_silent_collector_delays_nobody(start_proxy: StartProxy, upstream: HostileUpstream, address: str) -> None:
    proxy = start_proxy(tap(address) + forward(upstream))
    with Dialer(address, silent=True), connect(address), Dialer(address) as other:
        dialed(proxy, other)
        ask_many(proxy.port, 50)
        other.wait_for(200)


def test_what_a_collector_leaves_in_its_queue_is_counted(
    start_proxy: StartProxy, upstream: HostileUpstream, address: str
) -> None:
    proxy = start_proxy(tap(address, queue=100) + forward(upstream))
    with Dialer(address) as leaving:
        dialed(proxy, leaving)
        leaving.stall()
        ask_many(proxy.port, 1_500)
        queued = proxy.tap("main")["queued"]
        assert queued > 0
    status = settled(proxy)
    assert status["dropped"]["disconnected"] >= queued
    assert status["state"] == "listening"
    ask_many(proxy.port, 5, "alone")
    assert settled(proxy)["offered"] == status["offered"]


def test_a_collector_may_come_again_and_again(start_proxy: StartProxy, upstream: HostileUpstream, address: str) -> None:
    proxy = start_proxy(tap(address) + forward(upstream))
    collector = Dialer(address)
    for turn in range(5):
        with collector:
            dialed(proxy, collector)
            ask_many(proxy.port, 5, f"turn{turn}")
            collector.wait_for(20)
    wait_until(lambda: sockets_at(address) == 1, "only the listening socket is left open")
    assert proxy.tap("main")["connects"] == 5


def sockets_at(address: str) -> int:
    """How many sockets the kernel knows by this path: the one that listens, and what it accepted."""
    path = address.removeprefix("unix://")
    return sum(line.endswith(path) for line in Path("/proc/net/unix").read_text().splitlines())


def test_rude_collectors_are_shown_out(start_proxy: StartProxy, upstream: HostileUpstream, address: str) -> None:
    proxy = start_proxy(tap(address) + forward(upstream))
    for octets in (b"", b"GET / HTTP/1.0\r\n\r\n", b"\0" * 64, b"\0\0\0\0\xff\xff\xff\xff"):
        with connect(address) as rude, contextlib.suppress(ConnectionError):
            rude.settimeout(0.2)
            rude.sendall(octets)
            with contextlib.suppress(TimeoutError):
                rude.recv(4096)
    with Dialer(address) as collector:
        dialed(proxy, collector)


def test_the_unix_socket_is_there_from_start_to_end_and_a_stale_one_is_replaced(
    start_proxy: StartProxy, upstream: HostileUpstream, address: str
) -> None:
    path = Path(address.removeprefix("unix://"))
    listen(address).close()
    assert path.is_socket(), "a stale one"
    proxy = start_proxy(tap(address) + forward(upstream))
    with Dialer(address) as collector:
        dialed(proxy, collector)
    proxy.stop()
    assert not path.exists()


@pytest.mark.parametrize("what", ["file", "listener"])
def test_what_is_no_stale_socket_is_never_taken_away(upstream: HostileUpstream, tmp_path: Path, what: str) -> None:
    address = unix_address(tmp_path, "taken.sock")
    path = Path(address.removeprefix("unix://"))
    with contextlib.ExitStack() as stack:
        if what == "file":
            path.write_text("precious")
        else:
            stack.enter_context(listen(address))
        proxy = Proxy(tmp_path, tap(address) + forward(upstream))
        proxy.launch()
        assert proxy.wait() == 1
        assert str(path) in proxy.log
        assert path.exists()


def test_a_port_that_is_taken_ends_the_start(upstream: HostileUpstream, tmp_path: Path) -> None:
    address = tcp_address()
    with listen(address):
        proxy = Proxy(tmp_path, tap(address) + forward(upstream))
        proxy.launch()
        assert proxy.wait() == 1
    assert address.removeprefix("tcp://") in proxy.log


def test_a_reload_keeps_the_collectors_of_a_tap_that_stays(
    start_proxy: StartProxy, upstream: HostileUpstream, address: str
) -> None:
    body = tap(address) + forward(upstream)
    proxy = start_proxy(body)
    with Dialer(address) as collector:
        dialed(proxy, collector)
        proxy.reload(body + forward(upstream, from_="example.net"))
        ask_many(proxy.port, 10)
        collector.wait_for(40)
        assert (collector.connections_made, collector.breaks, collector.stops) == (1, 0, 0)


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_one_collector_gets_what_all_workers_have(
    start_proxy: StartProxy, upstream: HostileUpstream, address: str, transport: str
) -> None:
    at = address if transport == "unix" else tcp_address()
    proxy = start_proxy("workers = 2\n" + tap(at) + forward(upstream))
    with Dialer(at) as first, Dialer(at) as second:
        dialed(proxy, first, second)
        before = settled(proxy)
        for number in range(12):  # source ports: they meet both workers
            ask_many(proxy.port, 10, f"w{number}")
        for collector in (first, second):
            collector.wait_for(480)
            assert len({message.frame for message in collector.messages}) == 480
        after = settled(proxy)
        assert (after["offered"] - before["offered"], after["sent"] - before["sent"]) == (960, 960)
        proxy.stop()
        wait_until(lambda: (first.stops, second.stops) == (1, 1), "STOP")


def test_with_several_workers_and_nobody_there_nothing_is_offered(
    start_proxy: StartProxy, upstream: HostileUpstream, address: str
) -> None:
    proxy = start_proxy("workers = 2\n" + tap(address) + forward(upstream))
    ask_many(proxy.port, 20)
    status = settled(proxy)
    assert (status["offered"], status["state"]) == (0, "listening")


def test_a_tap_dials_or_listens_but_not_both_and_not_neither(tmp_path: Path) -> None:
    both = dnstap(to="unix:///a.sock", listen="unix:///b.sock")
    neither = '[[dnstap]]\nname = "neither"\n'
    a_file = listening(at="file:///tmp/c.fstrm")
    spooled = listening(at="unix:///d.sock", name="d") + listening(at="unix:///d.sock", name="e")
    errors = config_errors(tmp_path, both + neither + a_file + spooled + forward("192.0.2.1"))
    assert len({line.partition("]")[0] for line in errors}) >= 4, errors
    for number in (0, 1, 2):
        assert any(f"[dnstap[{number}]" in line for line in errors), errors
    assert any("[dnstap[4]" in line for line in errors), "an address is taken once"


def test_dialing_and_listening_taps_stand_side_by_side(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, address: str
) -> None:
    proxy = start_proxy(tap(address) + dnstap(to=collector) + forward(upstream))
    with Dialer(address) as dialer:
        dialed(proxy, dialer)
        ask_many(proxy.port, 10)
        dialer.wait_for(40)
        seen = {message.frame for message in dialer.messages}
        collector.wait_until(lambda: seen <= {message.frame for message in collector.messages}, "the same")


def test_a_collector_over_tcp_that_vanishes_is_noticed(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    at = tcp_address()
    proxy = start_proxy(tap(at) + forward(upstream))
    with Dialer(at) as collector:
        dialed(proxy, collector)
        files = proxy.open_files()
        collector.kill()
    wait_until(lambda: proxy.open_files() < files, "the connection is closed without traffic")
