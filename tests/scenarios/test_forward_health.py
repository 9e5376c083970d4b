"""Upstreams that go down and come back: when it is noticed, what is said of it, and what asking them costs."""

import itertools
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.rcode
import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.authority import Authority
from tests.support.client import ask, exchange, udp_socket
from tests.support.collector import Collector
from tests.support.proxy import Proxy, Status, books, run_dnsproxy
from tests.support.tls_front import TlsFront
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream, Seen

FOUND_WITHIN_S = 2.0
SLACK_S = 0.35  # for a machine that does other things too
EARLY_S = 0.02  # two probes may meet a different delay on their way
PROBE = {"name": "probe.example.org", "type": "A"}  # so that scripts and counts can tell them apart


def probes(upstream: HostileUpstream) -> list[Seen]:
    return upstream.seen_for("probe")


def gaps(upstream: HostileUpstream) -> list[float]:
    return [after.at_s - before.at_s for before, after in itertools.pairwise(probes(upstream))]


def of(upstream: HostileUpstream, status: Status) -> Status:
    """That upstream's part of a status."""
    (found,) = [one for one in status["upstreams"] if one["name"] == upstream.address and one["transport"] != "tcp"]
    return dict(found)


def bring_down(proxy: Proxy, upstream: HostileUpstream, scheme: str = "udp") -> None:
    """By queries; returns when the log says so."""
    upstream.default = behaviours.drop
    for number in range(3):
        exchange(wire.query(f"dying{number}.example.org"), proxy.port)
    proxy.wait_for_log(rf"upstream {scheme}://{upstream.address} down: 3 timeouts\n")


def changes(proxy: Proxy, upstream: HostileUpstream) -> list[str]:
    """What the log says of an upstream's state."""
    return re.findall(rf"://{re.escape(upstream.address)} ((?:up|down): .*)", proxy.log)


@contextmanager
def traffic(proxy: Proxy, pause_s: float = 0.01) -> Iterator[None]:
    """Queries without an end, whose answers nobody reads."""
    ended = threading.Event()

    def send() -> None:
        with udp_socket(proxy.port) as client:
            for number in itertools.count():
                if ended.wait(pause_s):
                    return
                client.send(wire.query(f"traffic{number}.example.org", id=number & 0xFFFF))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_one_failed_query_and_probes_that_fail_too_put_it_down(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    upstream.default = behaviours.drop
    body = forward(
        upstream, second_upstream, policy="sequential", timeout="100ms", health={**PROBE, "interval": "200ms"}
    )
    proxy = start_proxy(body)
    assert wire.rcode(exchange(wire.query("only.example.org"), proxy.port)) == 0
    proxy.wait_for_log(rf"upstream udp://{upstream.address} down: 3 timeouts\n")
    assert len(upstream.seen_for("only")) == 1
    status = of(upstream, proxy.status())
    assert (status["queries"], status["timeouts"], status["state"]) == (1, 1, "down")


def test_it_is_probing_until_it_has_risen_and_each_change_is_said_once(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    health = {**PROBE, "interval": "150ms", "rise": 12, "fall": 3}
    proxy = start_proxy(forward(upstream, second_upstream, policy="sequential", timeout="100ms", health=health))
    bring_down(proxy, upstream)
    assert of(upstream, proxy.status())["state"] == "down"
    upstream.default = behaviours.answer
    answered = len(upstream.sent)
    while len(upstream.sent) == answered:
        time.sleep(0.005)
    status = of(upstream, proxy.status())
    assert (status["state"], status["transitions"]) == ("probing", 1)
    done = run_dnsproxy("status", "--admin", str(proxy.admin), "--check")
    assert (done.returncode, done.stdout.splitlines()) == (1, [f"upstream {upstream.address} is probing"])
    proxy.wait_for_log(rf"upstream udp://{upstream.address} up: answered\n")
    assert len(upstream.sent) - answered == 12, "an answer is none that came too late, nor one to a query"
    status = of(upstream, proxy.status())
    assert (status["state"], status["transitions"], status["failures"]) == ("up", 2, 0)
    assert changes(proxy, upstream) == ["down: 3 timeouts", "up: answered"]
    assert wire.addresses(ask(wire.query("back.example.org"), proxy.port)) == ["192.0.2.1"]


@pytest.mark.parametrize(("scheme", "how"), [("udp", "silent"), ("tcp", "silent"), ("tcp", "closed")])
def test_a_recovered_upstream_is_found_within_two_seconds(
    start_proxy: StartProxy, upstream: HostileUpstream, scheme: str, how: str
) -> None:
    proxy = start_proxy(forward(f"{scheme}://{upstream.address}", timeout="150ms", max_attempts=1))
    if how == "silent":
        bring_down(proxy, upstream, scheme)
    else:
        upstream.close_port()
        while not changes(proxy, upstream):
            exchange(wire.query("closed.example.org"), proxy.port)
    time.sleep(0.8)  # so that pauses have grown
    upstream.default = behaviours.answer
    started = time.monotonic()
    if how == "closed":
        upstream.open_port()
    proxy.wait_for_log(rf"upstream {scheme}://{upstream.address} up: answered\n")
    assert time.monotonic() - started < FOUND_WITHIN_S + SLACK_S
    assert ask(wire.query("back.example.org"), proxy.port).rcode() == 0


def test_when_all_are_down_nothing_is_flooded(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    upstream.default, second_upstream.default = behaviours.drop, behaviours.wrong_question
    body = forward(upstream, second_upstream, timeout="50ms", health={**PROBE, "interval": "300ms"})
    proxy = start_proxy(body)
    with traffic(proxy):
        for one in (upstream, second_upstream):
            proxy.wait_for_log(rf"upstream udp://{one.address} down: ")
        time.sleep(1.0)
    for one in (upstream, second_upstream):
        assert len(one.seen) > 30, "spray: queries go there all the same"
        assert 2 <= len(probes(one)) <= 6
        assert min(gaps(one)) >= 0.3 - EARLY_S
        assert changes(proxy, one) == ["down: 3 timeouts"]


def test_a_long_interval_is_not_shortened(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    health = {**PROBE, "interval": "1200ms", "rise": 1}
    proxy = start_proxy(forward(upstream, timeout="100ms", max_attempts=1, health=health))
    bring_down(proxy, upstream)
    down_at = time.monotonic()
    upstream.default = behaviours.answer
    proxy.wait_for_log("up: answered")
    assert time.monotonic() - down_at >= 0.9, "counted from the first failure, of three"
    assert len(probes(upstream)) == 1


def test_answered_queries_alone_do_not_bring_it_up_and_a_servfail_to_probes_does(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    upstream.on("probe", behaviours.drop)
    proxy = start_proxy(forward(upstream, timeout="100ms", max_attempts=1, health={**PROBE, "interval": "100ms"}))
    bring_down(proxy, upstream)
    upstream.default = behaviours.answer
    for number in range(20):
        assert ask(wire.query(f"answered{number}.example.org"), proxy.port).rcode() == 0
    assert of(upstream, proxy.status())["state"] == "down"
    upstream.on("probe", behaviours.fail(wire.SERVFAIL))
    proxy.wait_for_log("up: answered")
    before = of(upstream, proxy.status())["probes"]
    time.sleep(0.3)
    assert of(upstream, proxy.status())["probes"] == before, "while all is well there are none"


def test_where_servfail_is_no_answer_probes_never_end_and_it_puts_the_upstream_down(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    health = {**PROBE, "interval": "100ms", "servfail_is_up": False}
    proxy = start_proxy(forward(upstream, second_upstream, policy="sequential", health=health))
    upstream.wait_for(5, "probe")
    assert min(gaps(upstream)) >= 0.1 - EARLY_S
    assert of(upstream, proxy.status())["state"] == "up"
    upstream.on("probe", behaviours.fail(wire.SERVFAIL))
    with traffic(proxy):
        proxy.wait_for_log(rf"upstream udp://{upstream.address} down: 3 SERVFAIL\n")
    assert wire.addresses(ask(wire.query("www.example.org"), proxy.port)) == ["192.0.2.2"]
    assert of(upstream, proxy.status())["probe_failures"] >= 3
    upstream.on("probe", behaviours.fail(wire.REFUSED))
    proxy.wait_for_log(rf"upstream udp://{upstream.address} up: answered\n")
    assert changes(proxy, second_upstream) == []


def test_probes_are_in_no_tap_and_in_no_counter_of_queries(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    health = {**PROBE, "interval": "50ms", "servfail_is_up": False}
    proxy = start_proxy(dnstap(to=collector, name="main") + forward(upstream, health=health))
    exchange(wire.query("www.example.org"), proxy.port)
    upstream.wait_for(10, "probe")
    status = proxy.wait_for_status(lambda now: now["taps"][0]["queued"] == 0, "sent")
    assert books(status) == (4, 4)
    one = of(upstream, status)
    assert (one["queries"], one["responses"], one["timeouts"]) == (1, 1, 0)
    assert one["probes"] >= 10
    assert one["in_flight"] == 0


def test_a_reload_that_leaves_an_upstream_as_it_was_leaves_its_health(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    keys = {"timeout": "100ms", "max_attempts": 1, "health": {**PROBE, "interval": "200ms"}}
    proxy = start_proxy(forward(upstream, **keys))
    bring_down(proxy, upstream)
    before = of(upstream, proxy.status())
    proxy.reload(forward(upstream, second_upstream, policy="sequential", **keys))
    after = of(upstream, proxy.status())
    assert (after["state"], after["transitions"]) == ("down", 1)
    assert after["since_s"] >= before["since_s"]
    assert after["probes"] >= before["probes"]
    assert wire.addresses(ask(wire.query("www.example.org"), proxy.port)) == ["192.0.2.2"]
    upstream.default = behaviours.answer
    proxy.wait_for_log("up: answered")
    assert changes(proxy, upstream) == ["down: 3 timeouts", "up: answered"]


def test_with_failfast_clients_are_told_at_once_while_all_are_down(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    health = {**PROBE, "interval": "100ms"}
    proxy = start_proxy(forward(upstream, timeout="200ms", max_attempts=1, all_down="failfast", health=health))
    bring_down(proxy, upstream)
    seen = len(upstream.seen) - len(probes(upstream))
    started = time.monotonic()
    for number in range(10):
        answer = ask(wire.query(f"failfast{number}.example.org", edns=True), proxy.port)
        assert answer.rcode() == dns.rcode.SERVFAIL
        assert wire.ede(answer)[0] == 22  # type: ignore[index]
    assert time.monotonic() - started < SLACK_S
    assert len(upstream.seen) - len(probes(upstream)) == seen, "nobody is asked"
    upstream.default = behaviours.answer
    proxy.wait_for_log("up: answered")
    assert ask(wire.query("back.example.org"), proxy.port).rcode() == 0


def test_with_workers_the_state_is_the_worst_and_every_number_a_sum(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    health = {**PROBE, "interval": "100ms", "servfail_is_up": False}
    proxy = start_proxy("workers = 2\n" + forward(upstream, health=health))
    proxy.wait_for_status(lambda now: of(upstream, now)["probes"] >= 4, "probes of both")
    upstream.on("probe", behaviours.drop)
    status = proxy.wait_for_status(lambda now: of(upstream, now)["transitions"] == 2, "down in both")
    one = of(upstream, status)
    assert one["state"] == "down"
    assert one["failures"] >= 6


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_an_upstream_that_stalls_in_the_handshake_is_down_until_it_shakes_hands(
    start_proxy: StartProxy, upstream: HostileUpstream, authority: Authority
) -> None:
    with TlsFront(upstream.port, None) as front:
        body = forward(f"tls://{front.address}", timeout="200ms", max_attempts=1, ca=authority.ca, health=PROBE)
        proxy = start_proxy(body)
        for number in range(3):
            assert wire.rcode(exchange(wire.query(f"n{number}.example.org"), proxy.port)) == wire.SERVFAIL
        proxy.wait_for_log(rf"upstream tls://{front.address} down: 3 timeouts\n")
        front.context = authority.server()
        started = time.monotonic()
        proxy.wait_for_log(rf"upstream tls://{front.address} up: answered\n")
        assert time.monotonic() - started < FOUND_WITHIN_S + SLACK_S
        assert ask(wire.query("back.example.org"), proxy.port).rcode() == 0
        (one,) = proxy.status()["upstreams"]
        assert (one["transport"], one["state"], one["transitions"]) == ("tls", "up", 2)
        assert 1 <= one["handshakes"] <= front.handshakes
        assert 1 <= one["connections"] <= 4


def test_an_upstream_with_a_bad_certificate_is_down_and_seldom_asked_until_it_has_a_good_one(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path, authority: Authority
) -> None:
    (tmp_path / "stranger").mkdir()
    stranger = Authority(tmp_path / "stranger")
    with TlsFront(upstream.port, stranger.server()) as front:
        health = {**PROBE, "interval": "300ms"}
        proxy = start_proxy(forward(f"tls://{front.address}", ca=authority.ca, health=health))
        started = time.monotonic()
        with traffic(proxy):
            proxy.wait_for_log(rf"upstream tls://{front.address} down: \d+ tls errors\n")
            time.sleep(1.0)
        took_s = time.monotonic() - started
        assert 2 <= front.handshakes <= took_s / 0.3 + 1
        assert not upstream.seen
        front.context = authority.server()
        started = time.monotonic()
        proxy.wait_for_log(rf"upstream tls://{front.address} up: answered\n")
        assert time.monotonic() - started < FOUND_WITHIN_S + SLACK_S
        assert ask(wire.query("back.example.org"), proxy.port).rcode() == 0
