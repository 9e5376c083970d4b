"""What taps say is what happened: attempts as they were sent, times as the kernel knew them, ends as they came."""

import time

import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import TcpClient, exchange, exchange_tcp, udp_socket
from tests.support.collector import Collector
from tests.support.dnstap_decoder import NS_PER_S, TapMessage
from tests.support.ports import free_port
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

PAUSE_S = 0.4  # that the proxy stands still while a query waits in the kernel
OUTCOME = "{/forward/outcome} {/forward/attempt} {/forward/attempts}"


def by_identity(collector: Collector, identity: str, count: int = 4) -> list[TapMessage]:
    collector.wait_until(lambda: len(collector.of(identity)) >= count, f"{count} messages of {identity}")
    return collector.of(identity)


def test_a_query_is_as_old_as_its_arrival_in_the_kernel(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector, extra="{duration}") + forward(upstream))
    exchange(wire.query("warm.example.org"), proxy.port)
    with udp_socket(proxy.port) as client:
        proxy.pause()
        before = time.time_ns()
        client.send(wire.query("paused.example.org"))
        after = time.time_ns()
        time.sleep(PAUSE_S)
        proxy.proceed()
        client.recv(65_535)
    cq, fq, _, cr = collector.wait_about("paused", 4)
    assert before - NS_PER_S // 100 <= (cq.query_ns or 0) <= after + NS_PER_S // 100
    assert cr.query_ns == cq.query_ns
    assert (fq.query_ns or 0) - (cq.query_ns or 0) > PAUSE_S * NS_PER_S * 0.9, "sent after the pause"
    assert float((cr.extra or "")[:-1]) > PAUSE_S * 0.9


def test_an_upstreams_reply_is_as_old_as_its_arrival_in_the_kernel(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.on("parked", behaviours.hold)
    proxy = start_proxy(dnstap(to=collector) + forward(upstream, timeout="3s", deadline="4s"))
    with udp_socket(proxy.port) as client:
        client.send(wire.query("parked.example.org"))
        upstream.wait_for(1, "parked")
        time.sleep(0.05)
        proxy.pause()
        before = time.time_ns()
        upstream.release()
        after = time.time_ns()
        time.sleep(PAUSE_S)
        proxy.proceed()
        client.recv(65_535)
    _, _, fr, cr = collector.wait_about("parked", 4)
    assert before - NS_PER_S // 100 <= (fr.response_ns or 0) <= after + NS_PER_S // 10
    assert (cr.response_ns or 0) - (fr.response_ns or 0) > PAUSE_S * NS_PER_S * 0.7


def test_times_keep_their_order_whatever_clock_they_come_from(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector) + forward(upstream))
    for number in range(50):
        (exchange_tcp if number % 5 == 0 else exchange)(wire.query(f"o{number}.example.org"), proxy.port)
    collector.wait_for(200)
    for number in range(50):
        cq, fq, fr, cr = collector.about(f"o{number}")
        times = [cq.query_ns or 0, fq.query_ns or 0, fr.response_ns or 0, cr.response_ns or 0]
        assert times == sorted(times)


@pytest.mark.parametrize("full", [True, False])
def test_responses_have_their_queries_if_so_told(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, full: bool
) -> None:
    keys = {"full": full, "responses_with_queries": True}
    taps = dnstap(to=collector, name="both", identity="both", **keys)
    taps += dnstap(to=collector, name="one", identity="one")
    proxy = start_proxy(taps + forward(upstream))
    exchange(wire.query("both.example.org"), proxy.port)
    cq, fq, fr, cr = by_identity(collector, "both")
    if full:
        assert (cr.query_message, fr.query_message) == (cq.query_message, fq.query_message)
        assert cr.query_message != fr.query_message, "the client's, and ours with an ID of its own"
        assert cr.response_message
        assert fr.response_message
        assert cq.response_message is fq.response_message is None
    else:
        assert {one.query_message for one in (cq, fq, fr, cr)} == {None}
    assert [one.query_message for one in by_identity(collector, "one")[2:]] == [None, None]


def test_with_their_queries_answers_of_our_own_have_them_too(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy(dnstap(to=collector, responses_with_queries=True) + forward(upstream))
    asked = [wire.query("own.example.org", edns=1), wire.raw_query(b"", counts=(0, 0, 0, 0))]
    answered = [exchange(one, proxy.port) for one in asked]
    messages = collector.wait_for(2, "CR")
    assert [(one.query_message, one.response_message) for one in messages] == list(zip(asked, answered, strict=True))


def test_every_attempt_is_shown_as_it_was_sent_and_its_end_is_told(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream, collector: Collector
) -> None:
    second_upstream.close_port()
    upstream.on("lost", behaviours.drop)
    forwards = forward(second_upstream, upstream, policy="sequential", timeout="150ms", max_attempts=2)
    proxy = start_proxy(dnstap(to=collector, extra=OUTCOME, types=["forwarder", "client"]) + forwards)
    exchange(wire.query("lost.example.org"), proxy.port)
    messages = collector.wait_about("lost", 4)
    assert [one.type for one in messages] == ["CQ", "FQ", "FQ", "CR"]
    assert [one.response_port for one in messages[1:3]] == [second_upstream.port, upstream.port]
    assert messages[2].wire == upstream.seen_for("lost")[0].wire
    assert (messages[2].query_address, messages[2].query_port) == upstream.seen_for("lost")[0].source
    assert messages[3].extra == "timeout 2 2"


def test_a_refusal_is_told_in_the_clients_answer(
    start_proxy: StartProxy, second_upstream: HostileUpstream, collector: Collector
) -> None:
    second_upstream.close_port()
    proxy = start_proxy(dnstap(to=collector, extra=OUTCOME) + forward(second_upstream, max_attempts=1))
    exchange(wire.query("nobody.example.org"), proxy.port)
    assert collector.wait_for(1, "CR")[0].extra == "refused 1 1"


def test_retries_over_tcp_and_over_new_connections_are_all_there(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.on("tc", behaviours.truncate)
    proxy = start_proxy(dnstap(to=collector, extra=OUTCOME) + forward(upstream))
    exchange(wire.query("tc.example.org"), proxy.port)
    truncated = collector.wait_about("tc", 6)
    assert [(one.type, one.protocol) for one in truncated[1:5]] == [
        ("FQ", "UDP"),
        ("FR", "UDP"),
        ("FQ", "TCP"),
        ("FR", "TCP"),
    ]
    upstream.on("again", behaviours.close, behaviours.answer)
    exchange_tcp(wire.query("again.example.org"), proxy.port)
    resent = collector.wait_about("again", 5)
    assert [one.type for one in resent] == ["CQ", "FQ", "FQ", "FR", "CR"]
    assert [one.wire for one in resent[1:3]] == [one.wire for one in upstream.seen_for("again")]


def test_the_servers_address_is_the_one_that_was_asked(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    port = free_port()
    start_proxy(dnstap(to=collector) + forward(upstream), port=port, listen=[f"0.0.0.0:{port}"])
    exchange(wire.query("www.example.org"), port, host="127.0.0.5")
    messages = collector.wait_for(4)
    assert [(messages[at].response_address, messages[at].response_port) for at in (0, 3)] == [("127.0.0.5", port)] * 2


def test_compat_changes_nothing_that_old_consumers_know(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    taps = dnstap(to=collector, name="old", identity="x", compat=True)
    taps += dnstap(to=collector, name="new", identity="x")
    proxy = start_proxy(taps + forward(upstream))
    with TcpClient(proxy.port) as client:
        client.send(wire.query("tcp.example.org"))
        client.receive()
    exchange(wire.query("udp.example.org"), proxy.port)
    collector.wait_for(16)
    frames = [message.frame for message in collector.messages]
    assert sorted(frames) == sorted([*set(frames)] * 2)
    assert {message.protocol for message in collector.messages} == {"UDP", "TCP"}
