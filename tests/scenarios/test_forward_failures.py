"""What clients get when upstreams are silent, closed, failing, or worse; and how soon."""

import time
from collections.abc import Callable

import dns.message
import dns.rcode
import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import answers, ask, exchange, exchange_tcp, udp_socket
from tests.support.proxy import Proxy
from tests.support.toml import forward
from tests.support.upstream import HostileUpstream

NO_ANSWER, NETWORK_ERROR = 22, 23  # Extended DNS Errors
SLACK_S = 0.35  # for a machine that does other things too


def timed(asked: Callable[[], bytes]) -> tuple[dns.message.Message, float]:
    started = time.monotonic()
    answer = asked()
    return dns.message.from_wire(answer), time.monotonic() - started


def servfail_with(answer: dns.message.Message, code: int) -> None:
    assert answer.rcode() == dns.rcode.SERVFAIL
    error = wire.ede(answer)
    assert error is not None
    assert error[0] == code
    assert error[1]
    assert "127.0.0" not in error[1], "clients learn no internal address"


def test_silent_upstreams_become_servfail_after_every_attempt(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    upstream.default = behaviours.drop
    proxy = start_proxy(forward(upstream, timeout="200ms", deadline="3s"))
    answer, took_s = timed(lambda: exchange(wire.query("silent.example.org", edns=True), proxy.port))
    servfail_with(answer, NO_ANSWER)
    assert len(upstream.seen_for("silent")) == 2, "twice the number of upstreams"
    assert 0.4 <= took_s < 0.4 + SLACK_S
    assert sum(one["timeouts"] for one in proxy.status()["upstreams"]) == 2


def test_the_deadline_is_hard_whatever_the_timeout(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    upstream.default = behaviours.drop
    proxy = start_proxy(forward(upstream, timeout="2s", deadline="300ms"))
    for send in (exchange, exchange_tcp):
        answer, took_s = timed(lambda send=send: send(wire.query("www.example.org", edns=True), proxy.port))  # type: ignore[misc]
        servfail_with(answer, NO_ANSWER)
        assert 0.3 <= took_s < 0.3 + SLACK_S


@pytest.mark.parametrize(("given", "attempts"), [({"max_attempts": 1}, 1), ({"max_attempts": 4}, 4), ({}, 4)])
def test_attempts_are_bounded(
    start_proxy: StartProxy,
    upstream: HostileUpstream,
    second_upstream: HostileUpstream,
    given: dict[str, object],
    attempts: int,
) -> None:
    upstream.default = second_upstream.default = behaviours.drop
    proxy = start_proxy(forward(upstream, second_upstream, timeout="60ms", deadline="2s", **given))
    assert wire.rcode(exchange(wire.query("bounded.example.org"), proxy.port)) == wire.SERVFAIL
    assert len(upstream.seen_for("bounded")) + len(second_upstream.seen_for("bounded")) == attempts


def test_without_edns_there_is_no_extended_error(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    upstream.default = behaviours.drop
    proxy = start_proxy(forward(upstream, timeout="50ms"))
    answer = ask(wire.query("www.example.org"), proxy.port)
    assert (answer.rcode(), answer.edns) == (dns.rcode.SERVFAIL, -1)


def test_closed_ports_become_servfail_at_once(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    upstream.close_port()
    second_upstream.close_port()
    proxy = start_proxy(forward(upstream, second_upstream, timeout="2s", deadline="4s"))
    for send in (exchange, exchange_tcp):
        answer, took_s = timed(lambda send=send: send(wire.query("www.example.org", edns=True), proxy.port))  # type: ignore[misc]
        servfail_with(answer, NETWORK_ERROR)
        assert took_s < 1


def test_a_silent_upstream_is_passed_over_after_its_timeout(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    upstream.default = behaviours.drop
    proxy = start_proxy(forward(upstream, second_upstream, policy="sequential", timeout="150ms"))
    answer, took_s = timed(lambda: exchange(wire.query("www.example.org"), proxy.port))
    assert wire.addresses(answer) == ["192.0.2.2"]
    assert 0.15 <= took_s < 0.15 + SLACK_S


@pytest.mark.parametrize("tcp", [False, True])
def test_a_closed_port_is_passed_over_at_once(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream, tcp: bool
) -> None:
    upstream.close_port()
    proxy = start_proxy(forward(upstream, second_upstream, policy="sequential", timeout="2s", deadline="4s"))
    send = exchange_tcp if tcp else exchange
    answer, took_s = timed(lambda: send(wire.query("www.example.org"), proxy.port))
    assert wire.addresses(answer) == ["192.0.2.2"]
    assert took_s < SLACK_S


def test_a_closed_port_does_not_swallow_the_queries_to_another(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    upstream.close_port()
    proxy = start_proxy(forward(upstream, second_upstream, timeout="2s", deadline="4s"))
    with udp_socket(proxy.port) as client:
        proxy.pause()
        for id in range(100):
            client.send(wire.query(f"swallow{id}.example.org", id=id))
        proxy.proceed()
        found = answers(client, 100, within_s=3)
    assert {wire.message_id(answer) for answer in found} == set(range(100))
    assert {wire.rcode(answer) for answer in found} == {0}


@pytest.mark.parametrize("rcode", [wire.FORMERR, wire.SERVFAIL, wire.NXDOMAIN, wire.NOTIMP, wire.REFUSED])
def test_without_failover_an_upstreams_rcode_is_the_answer(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream, rcode: int
) -> None:
    upstream.default = behaviours.fail(rcode)
    proxy = start_proxy(forward(upstream, second_upstream, policy="sequential"))
    assert wire.rcode(exchange(wire.query("www.example.org"), proxy.port)) == rcode
    assert not second_upstream.seen_for("www")


def test_failover_rcodes_ask_the_next_upstream(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    upstream.on("failing", behaviours.fail(wire.SERVFAIL))
    upstream.on("unknown", behaviours.fail(wire.NXDOMAIN))
    body = forward(upstream, second_upstream, policy="sequential", failover=["SERVFAIL", "REFUSED"])
    proxy = start_proxy(body)
    assert wire.addresses(ask(wire.query("failing.example.org"), proxy.port)) == ["192.0.2.2"]
    assert wire.rcode(exchange(wire.query("unknown.example.org"), proxy.port)) == wire.NXDOMAIN


def test_when_all_fail_over_the_last_answer_stands(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    upstream.default, second_upstream.default = behaviours.fail(wire.SERVFAIL), behaviours.fail(wire.REFUSED)
    body = forward(upstream, second_upstream, policy="sequential", failover=["SERVFAIL", "REFUSED"])
    proxy = start_proxy(body)
    assert wire.rcode(exchange(wire.query("all.example.org"), proxy.port)) == wire.REFUSED
    assert (len(upstream.seen_for("all")), len(second_upstream.seen_for("all"))) == (1, 1)


def test_a_reply_that_comes_too_late_or_twice_disturbs_nobody(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    upstream.on("late", behaviours.delay(250))
    upstream.on("twice", behaviours.twice)
    proxy = start_proxy(forward(upstream, timeout="150ms", max_attempts=1))
    with udp_socket(proxy.port) as client:
        client.send(wire.query("late.example.org", id=1))
        client.send(wire.query("twice.example.org", id=2))
        found = [(wire.message_id(answer), wire.rcode(answer)) for answer in answers(client, 10, within_s=0.6)]
    assert found == [(2, 0), (1, wire.SERVFAIL)]


def test_half_a_message_or_garbage_is_no_answer(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    upstream.on("half", behaviours.half_answer, behaviours.answer)
    upstream.on("garbage", behaviours.garbage, behaviours.answer)
    upstream.on("echo", behaviours.not_a_response, behaviours.answer)
    upstream.on("empty", behaviours.raw(lambda asked: b""), behaviours.answer)
    proxy = start_proxy(forward(upstream, timeout="150ms"))
    for label in ("half", "garbage", "echo", "empty"):
        for send in (exchange, exchange_tcp):
            answer = dns.message.from_wire(send(wire.query(f"{label}.example.org"), proxy.port))
            assert answer.rcode() in (dns.rcode.NOERROR, dns.rcode.SERVFAIL)
    assert wire.rcode(exchange(wire.query("www.example.org"), proxy.port)) == 0


def test_beyond_max_concurrent_queries_are_refused_at_once_and_counted(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    upstream.on("held", behaviours.hold)
    proxy = start_proxy(forward(upstream, max_concurrent=3, timeout="3s", deadline="4s"))
    with udp_socket(proxy.port) as client:
        for id in range(5):
            client.send(wire.query(f"n{id}.held.example.org", id=id))
        refused = {wire.message_id(answer): wire.rcode(answer) for answer in answers(client, 2)}
        assert refused == {3: wire.REFUSED, 4: wire.REFUSED}
        upstream.release()
        assert {wire.rcode(answer) for answer in answers(client, 3)} == {0}
    assert counter(proxy.status(), "refused_max_concurrent") == 2


def counter(status: object, name: str) -> int:
    """The sum of the counters of this name, wherever in the status they are."""
    if isinstance(status, list):
        return sum(counter(one, name) for one in status)
    if not isinstance(status, dict):
        return 0
    return sum(int(value) if key == name else counter(value, name) for key, value in status.items())


def test_a_dead_upstream_is_logged_passed_over_probed_and_found_again(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    body = forward(upstream, second_upstream, policy="sequential", timeout="150ms")
    proxy = start_proxy(body)
    upstream.default = behaviours.drop
    for number in range(3):
        assert wire.rcode(exchange(wire.query(f"dying{number}.example.org"), proxy.port)) == 0
    proxy.wait_for_log(rf"upstream udp://{upstream.address} down: 3 timeouts")
    assert state_of(proxy, upstream) in ("down", "probing")
    answer, took_s = timed(lambda: exchange(wire.query("passed-over.example.org"), proxy.port))
    assert wire.addresses(answer) == ["192.0.2.2"]
    assert took_s < 0.14
    upstream.default = behaviours.answer
    proxy.wait_for_log(rf"upstream udp://{upstream.address} up: answered")
    assert state_of(proxy, upstream) == "up"
    assert wire.addresses(ask(wire.query("back.example.org"), proxy.port)) == ["192.0.2.1"]
    assert proxy.log.count(f"upstream udp://{upstream.address} ") == 2


def state_of(proxy: Proxy, upstream: HostileUpstream) -> str:
    found = [one["state"] for one in proxy.status()["upstreams"] if upstream.address in one["address"]]
    return str(found[0])


def test_a_healthy_start_logs_no_change_of_state(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    proxy = start_proxy(forward(upstream))
    exchange(wire.query("www.example.org"), proxy.port)
    assert state_of(proxy, upstream) == "up"
    assert not [line for line in proxy.stop().splitlines() if "upstream" in line and " up:" in line]


def test_when_all_are_down_clients_are_told_so_and_the_first_to_return_serves(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    proxy = start_proxy(forward(upstream, timeout="100ms", max_attempts=1))
    upstream.default = behaviours.drop
    for number in range(4):
        answer = ask(wire.query(f"down{number}.example.org", edns=True), proxy.port)
        servfail_with(answer, NO_ANSWER)
    upstream.default = behaviours.answer
    proxy.wait_for_log("up: answered")
    assert ask(wire.query("again.example.org"), proxy.port).rcode() == 0


def test_an_upstream_that_dies_and_comes_back_is_used_again(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    proxy = start_proxy(forward(upstream))
    assert ask(wire.query("before.example.org"), proxy.port).rcode() == 0
    upstream.close_port()
    assert ask(wire.query("during.example.org"), proxy.port).rcode() == dns.rcode.SERVFAIL
    upstream.open_port()
    end = time.monotonic() + 5
    while ask(wire.query("after.example.org"), proxy.port).rcode() and time.monotonic() < end:
        time.sleep(0.1)
    assert ask(wire.query("after.example.org"), proxy.port).rcode() == 0


def test_a_name_that_cannot_be_resolved_at_start_is_a_warning(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    proxy = start_proxy(forward("nobody.invalid:5353", upstream, policy="sequential"))
    assert ask(wire.query("www.example.org"), proxy.port).rcode() == 0
    assert "nobody.invalid" in proxy.log
