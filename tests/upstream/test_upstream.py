"""An upstream's health: when it is passed over, how it is found again, and what is counted and logged."""

import logging
from collections.abc import Iterator
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.address import Address
from dnsproxy.driver import Driver
from dnsproxy.upstream.options import HealthOptions, UpstreamOptions
from dnsproxy.upstream.udp import SOCKETS
from dnsproxy.upstream.upstream import Changes, Upstream
from tests.support.offline import Offline, answering, closed, query, silent, slow
from tests.upstream.world import SERVER, TIMEOUT_S, World

FALL = HealthOptions().fall


@pytest.fixture
def world() -> Iterator[World]:
    offline = World()
    yield offline
    offline.close()


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def fail(world: World, times: int = FALL) -> None:
    """So many queries at once time out."""
    for number in range(times):
        world.send(f"{number}.example.org")
    world.run(TIMEOUT_S)


def test_three_failures_in_a_row_and_not_fewer_put_it_down(world: World, logged: pytest.LogCaptureFixture) -> None:
    world.script(silent)
    fail(world, FALL - 1)
    world.script(answering())
    world.exchange()
    world.script(silent)
    fail(world, FALL - 1)
    assert (world.upstream.up, logged.messages) == (True, [])
    fail(world, 1)
    assert not world.upstream.up
    assert logged.messages == [f"upstream udp://{SERVER} down: 3 timeouts"]
    assert world.upstream.upstream_status()["state"] == "down"


def test_answers_to_probes_bring_it_back_within_two_seconds(world: World, logged: pytest.LogCaptureFixture) -> None:
    world.script(silent)
    fail(world)
    world.run(60)
    logged.clear()
    asked = len(world.network.asked)
    changes = Changes.number
    world.script(answering())
    world.run(2)
    assert world.upstream.up
    assert logged.messages == [f"upstream udp://{SERVER} up: answered"]
    assert Changes.number == changes + 1
    assert len(world.network.asked) == asked + HealthOptions().rise, "no probe after those that were answered"
    world.run(60)
    assert len(world.network.asked) == asked + HealthOptions().rise
    status = world.upstream.upstream_status()
    assert (status["queries"], status["responses"], status["timeouts"]) == (FALL, 0, FALL), "probes are in none"
    assert status["probes"] == len(world.network.asked) - FALL
    assert status["probe_failures"] == status["probes"] - HealthOptions().rise
    assert (status["transitions"], status["failures"]) == (2, 0)


def test_a_change_is_dated(world: World) -> None:
    assert world.upstream.risen_at < 0
    world.script(silent)
    fail(world)
    assert world.upstream.risen_at < 0, "it has never been down before"
    world.run(30)
    assert 29 <= world.upstream.upstream_status()["since_s"] <= 30
    world.script(answering())
    world.run(10)
    assert 38 <= world.upstream.risen_at + 6 <= 40
    assert 8 <= world.upstream.upstream_status()["since_s"] <= 10


def test_an_answered_query_ends_the_row_but_only_probes_bring_it_up(world: World) -> None:
    world.script(silent)
    fail(world)
    world.script(answering())
    assert world.exchange().outcome == "answered"
    status = world.upstream.upstream_status()
    assert (status["state"] in ("down", "probing"), status["failures"]) == (True, 0)
    world.run(1)
    assert world.upstream.up


def test_what_was_sent_before_it_came_up_puts_it_down_no_more(world: World) -> None:
    world.script(silent)
    fail(world)
    sent_early = [world.send(f"{number}.example.org") for number in range(10)]
    world.run(0)
    world.script(answering())
    world.run(1.6)
    assert world.upstream.up
    assert not any(exchange.done for exchange in sent_early)
    world.run(1)
    assert {exchange.outcome for exchange in sent_early} == {"timeout"}
    assert (world.upstream.up, world.upstream.failures) == (True, 0)
    world.script(silent)
    fail(world)
    assert not world.upstream.up


def test_however_often_it_falls_there_is_one_prober(world: World) -> None:
    for _ in range(20):
        world.script(closed)
        while world.upstream.up:
            world.exchange(run_s=0.001)
        world.script(answering())
        world.run(2)
        assert world.upstream.up
    world.script(closed)
    while world.upstream.up:
        world.exchange(run_s=0.001)
    asked = len(world.network.asked)
    world.run(10)
    assert len(world.network.asked) - asked <= 20


def test_one_closed_port_is_a_hint_however_many_waited_there(world: World) -> None:
    world.pool.limit(1)
    world.script(silent)
    waiting = [world.send(f"{number}.example.org") for number in range(100)]
    world.run(0)
    world.script(closed)
    world.exchange("one.more.example.org")
    assert {exchange.outcome for exchange in waiting} == {"refused"}
    assert world.upstream.up
    for number in range(FALL - 1):
        world.run(0.01)
        world.exchange(f"{number}.again.example.org")
    assert not world.upstream.up


def test_what_is_lost_among_many_is_one_hint(world: World, logged: pytest.LogCaptureFixture) -> None:
    is_lost = query("lost.example.org")[12:17]
    world.script(lambda octets: [] if octets[12:17] == is_lost else answering()(octets))
    for qtype in ("A", "AAAA", "MX", "TXT", "SRV"):
        world.send("lost.example.org", qtype)
    world.exchange("found.example.org")
    world.run(TIMEOUT_S)
    status = world.upstream.upstream_status()
    assert (status["timeouts"], status["failures"], status["state"], logged.messages) == (5, 1, "up", [])
    world.script(silent)
    fail(world)
    assert logged.messages == [f"upstream udp://{SERVER} down: 3 timeouts"]


def test_what_is_cancelled_says_nothing_about_health(world: World) -> None:
    world.script(silent)
    for _ in range(10):
        exchange = world.exchange()
        exchange.cancel()
    assert world.upstream.up
    assert world.upstream.failures == 0
    assert world.upstream.in_flight == 0


def test_what_is_odd_about_a_query_is_not_the_upstreams_fault(world: World) -> None:
    world.script(silent)
    odd = query("www.example.org")[:3] + b"\x45" + query("www.example.org")[4:]  # with a reserved bit and an RCODE
    for _ in range(10):
        world.send(octets=odd)
    world.run(TIMEOUT_S)
    assert (world.upstream.up, world.upstream.failures, world.upstream.timeouts) == (True, 0, 10)
    fail(world, 3)
    assert not world.upstream.up


def test_the_time_of_a_reply_is_averaged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: int(world.flights.now * 1e9) + 1)
    assert world.upstream.upstream_status()["rtt_ms"] is None
    for delay_s in (0.1, 0.2):
        world.script(slow(delay_s, answering()))
        world.exchange(run_s=1)
    assert world.upstream.upstream_status()["rtt_ms"] == pytest.approx(112.5, rel=0.01)


def test_an_attempt_may_have_less_time_than_usual(world: World) -> None:
    world.script(silent)
    quick, usual = world.send("quick.example.org"), world.send("usual.example.org")
    quick.timer.pop(quick)  # type: ignore[union-attr]
    quick.timer = None
    world.flights.timers.at(0.25, quick)
    world.run(0.3)
    assert (quick.outcome, usual.outcome) == ("timeout", "")


def test_many_upstreams_share_the_descriptors(world: World) -> None:
    for upstreams, descriptors, sockets in ((1, 1024, SOCKETS), (64, 1024, 8), (1000, 1024, 2)):
        upstream = Upstream(cast("Any", world), UpstreamOptions(Address.of("127.0.0.1", 5302)), TIMEOUT_S)
        upstream.limit_sockets(upstreams, descriptors)
        assert len(upstream.udp.sockets) == sockets


def test_it_says_how_it_is_asked() -> None:
    server: Any = Offline()
    address = Address.of("2001:db8::1", 53)
    urls = [Upstream(server, UpstreamOptions(address, scheme), 1.0).url for scheme in (None, "udp", "tcp")]
    assert urls == ["udp://[2001:db8::1]:53", "udp://[2001:db8::1]:53", "tcp://[2001:db8::1]:53"]
    assert (
        repr(Upstream(server, UpstreamOptions(address, "tcp"), 1.0))
        == "<Upstream tcp://[2001:db8::1]:53 up, 0 in flight>"
    )


@trio_test
async def test_its_end_is_no_failure_of_its_own(autojump_clock: MockClock, logged: pytest.LogCaptureFixture) -> None:
    world = World()
    world.script(silent)
    async with trio.open_nursery() as nursery:
        world.flights.nursery = nursery
        await nursery.start(Driver(world.flights).run)
        await nursery.start(world.upstream.run)
        exchanges = [world.send(f"{number}.example.org") for number in range(10)]
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    world.flights.settle()
    assert {exchange.outcome for exchange in exchanges} == {"cancelled"}
    for _ in range(2 * FALL):
        assert world.exchange().outcome == "send_error"
    assert logged.messages == []
    assert world.driver.pumps == {}
