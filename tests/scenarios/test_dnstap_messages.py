"""What taps say about each exchange: fields, times, octets, order, and the outcome."""

import itertools
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import TcpClient, exchange, exchange_tcp, udp_socket
from tests.support.collector import Collector, unix_address
from tests.support.dnstap_decoder import NS_PER_S, TapMessage
from tests.support.proxy import Proxy, run_dnsproxy
from tests.support.shared import shared_collector, shared_upstream
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

LABELS = ["query/id", "forward/upstream", "forward/attempt", "forward/attempts", "forward/outcome", "forward/zone"]
EXTRA = " ".join(f"{{/{label}}}" for label in LABELS)


upstream = shared_upstream()
collector = shared_collector()


@pytest.fixture(scope="module")
def proxy(upstream: HostileUpstream, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    tap = dnstap(to=collector, identity="edge-1", version="edge 1.2", extra=EXTRA)
    body = tap + forward(upstream, timeout="200ms") + forward(upstream, from_="By-TCP.test", force_tcp=True)
    with Proxy(tmp_path_factory.mktemp("proxy"), body) as running:
        yield running


def labels(message: TapMessage) -> dict[str, str]:
    """The metadata that EXTRA rendered."""
    assert message.extra is not None
    return dict(zip(LABELS, message.extra.split(" "), strict=True))


def types(messages: list[TapMessage]) -> list[str]:
    return [message.type for message in messages]


def test_one_query_gives_four_messages_that_tell_everything(
    proxy: Proxy, upstream: HostileUpstream, collector: Collector
) -> None:
    asked = wire.query("four.example.org", edns=True)
    before = time.time_ns()
    with udp_socket(proxy.port) as client:
        client.send(asked)
        answered = client.recv(65_535)
        client_port = client.getsockname()[1]
    after = time.time_ns()
    cq, fq, fr, cr = messages = collector.wait_about("four", 4)
    assert types(messages) == ["CQ", "FQ", "FR", "CR"]
    (seen,) = upstream.seen_for("four")
    assert {(one.identity, one.version, one.family, one.protocol) for one in messages} == {
        ("edge-1", "edge 1.2", "INET", "UDP")
    }
    for one in (cq, cr):
        assert (one.query_address, one.query_port) == ("127.0.0.1", client_port)
        assert (one.response_address, one.response_port) == ("127.0.0.1", proxy.port)
        assert one.query_zone is None
    for one in (fq, fr):
        assert (one.query_address, one.query_port) == seen.source
        assert (one.response_address, one.response_port) == ("127.0.0.1", upstream.port)
        assert one.query_zone == b"\0"
    assert (cq.query_message, cr.response_message) == (asked, answered)
    assert (fq.query_message, fr.response_message) == (seen.wire, upstream.sent[-1])
    assert cq.response_message is fq.response_message is cr.query_message is fr.query_message is None
    assert cq.response_ns is fq.response_ns is None
    assert (cr.query_ns, fr.query_ns) == (cq.query_ns, fq.query_ns)
    times = [before, cq.query_ns, fq.query_ns, fr.response_ns, cr.response_ns, after]
    assert times == sorted(times, key=lambda ns: ns or 0)


def test_metadata_ties_the_messages_of_a_query_together(
    proxy: Proxy, upstream: HostileUpstream, collector: Collector
) -> None:
    exchange(wire.query("tied.example.org"), proxy.port)
    cq, fq, fr, cr = [labels(message) for message in collector.wait_about("tied", 4)]
    assert re.fullmatch("[0-9a-f]{16}", cq["query/id"])
    assert {one["query/id"] for one in (cq, fq, fr, cr)} == {cq["query/id"]}
    assert set(cq.values()) - {cq["query/id"]} == {"-"}, "nothing is known yet"
    for one in (fq, fr, cr):
        assert (one["forward/upstream"], one["forward/attempt"]) == (upstream.address, "1")
    assert (fr["forward/outcome"], cr["forward/outcome"], cr["forward/attempts"]) == ("answered", "answered", "1")


def test_ids_are_unique(proxy: Proxy, collector: Collector) -> None:
    for number in range(20):
        exchange(wire.query(f"u{number}.unique.example.org"), proxy.port)
    collector.wait_about("unique", 80)
    ids = [labels(message)["query/id"] for message in collector.about("unique")]
    assert sorted(ids.count(one) for one in set(ids)) == [4] * 20


def test_a_query_over_tcp_is_tapped_as_such_on_both_sides(proxy: Proxy, collector: Collector) -> None:
    asked = wire.query("over-tcp.example.org")
    with TcpClient(proxy.port) as client:
        client.send(asked)
        answered = client.receive()
        port = client.address[1]
    cq, fq, _, cr = messages = collector.wait_about("over-tcp", 4)
    assert types(messages) == ["CQ", "FQ", "FR", "CR"]
    assert {one.protocol for one in messages} == {"TCP"}
    assert (cq.query_port, cq.query_message, cr.response_message) == (port, asked, answered)
    assert fq.query_port != port


def test_query_zone_is_the_from_that_matched(proxy: Proxy, collector: Collector) -> None:
    exchange(wire.query("zone.by-tcp.test"), proxy.port)
    cq, fq, fr, _ = collector.wait_about("zone", 4)
    assert fq.query_zone == fr.query_zone == wire.name_to_wire("by-tcp.test")
    assert (cq.protocol, fq.protocol) == ("UDP", "TCP")
    assert labels(fq)["forward/zone"].rstrip(".") == "by-tcp.test"


def test_each_attempt_has_its_own_query_and_time(proxy: Proxy, upstream: HostileUpstream, collector: Collector) -> None:
    upstream.on("retried", behaviours.drop, behaviours.answer)
    exchange(wire.query("retried.example.org"), proxy.port)
    messages = collector.wait_about("retried", 5)
    assert types(messages) == ["CQ", "FQ", "FQ", "FR", "CR"]
    first, second, reply = messages[1:4]
    assert [labels(one)["forward/attempt"] for one in (first, second, reply)] == ["1", "2", "2"]
    assert (second.query_ns or 0) - (first.query_ns or 0) >= NS_PER_S // 5
    assert reply.query_ns == second.query_ns
    assert labels(messages[4])["forward/attempts"] == "2"
    assert [one.wire for one in (first, second)] == [seen.wire for seen in upstream.seen_for("retried")]


def test_a_silent_upstream_becomes_servfail_and_the_tap_sees_it(
    proxy: Proxy, upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.on("silent", behaviours.drop)
    answer = exchange(wire.query("silent.example.org"), proxy.port)
    messages = collector.wait_about("silent", 4)
    assert types(messages) == ["CQ", "FQ", "FQ", "CR"]
    assert messages[-1].response_message == answer
    assert wire.rcode(answer) == wire.SERVFAIL
    last = labels(messages[-1])
    assert (last["forward/outcome"], last["forward/attempts"]) == ("timeout", "2")
    assert last["forward/upstream"] == upstream.address


def test_a_retry_over_tcp_after_truncation_is_an_attempt(
    proxy: Proxy, upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.on("tc", behaviours.truncate)
    exchange(wire.query("tc.example.org"), proxy.port)
    messages = collector.wait_about("tc", 6)
    assert types(messages) == ["CQ", "FQ", "FR", "FQ", "FR", "CR"]
    assert [one.protocol for one in messages] == ["UDP", "UDP", "UDP", "TCP", "TCP", "UDP"]
    assert [labels(one)["forward/attempt"] for one in messages[1:5]] == ["1", "1", "2", "2"]
    assert labels(messages[2])["forward/outcome"] == "truncated"
    assert labels(messages[5])["forward/outcome"] == "answered"
    assert messages[3].query_port == upstream.seen_for("tc")[1].source[1]


def test_a_resend_after_a_lost_connection_keeps_its_attempts_number(
    proxy: Proxy, upstream: HostileUpstream, collector: Collector
) -> None:
    exchange(wire.query("opening.by-tcp.test"), proxy.port)
    upstream.on("resent", behaviours.close, behaviours.answer)
    exchange(wire.query("resent.by-tcp.test"), proxy.port)
    messages = collector.wait_about("resent", 5)
    assert types(messages) == ["CQ", "FQ", "FQ", "FR", "CR"]
    assert [labels(one)["forward/attempt"] for one in messages[1:4]] == ["1", "1", "1"]
    assert messages[1].query_port != messages[2].query_port == messages[3].query_port


def test_a_lie_is_no_forwarder_response(proxy: Proxy, upstream: HostileUpstream, collector: Collector) -> None:
    upstream.on("lied", behaviours.both(behaviours.wrong_id, behaviours.delay(30)))
    exchange(wire.query("lied.example.org"), proxy.port)
    assert types(collector.wait_about("lied", 4)) == ["CQ", "FQ", "FR", "CR"]


OWN = {
    "notimp": wire.raw_query(wire.name_to_wire("notimp.own.test"), flags=2 << 11),
    "formerr": wire.raw_query(wire.name_to_wire("formerr.own.test"), counts=(2, 0, 0, 0)),
    "badvers": wire.query("badvers.own.test", edns=1),
    "transfer": wire.query("transfer.own.test", "AXFR"),
    "two-opts": wire.raw_query(wire.name_to_wire("two-opts.own.test"), counts=(1, 0, 0, 2)) + wire.opt_record() * 2,
}


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("what", OWN)
def test_an_answer_of_our_own_is_tapped_with_its_octets_and_nothing_is_forwarded(
    proxy: Proxy, collector: Collector, what: str, tcp: bool
) -> None:
    already = len(collector.messages)
    asked = wire.with_id(OWN[what], 0x4000 + tcp)
    answer = (exchange_tcp if tcp else exchange)(asked, proxy.port)
    collector.wait_for(already + 2)
    assert types(collector.messages[already:]) == ["CQ", "CR"]
    cq, cr = collector.messages[already:]
    assert (cq.query_message, cr.response_message) == (asked, answer)
    assert (cq.protocol, cr.protocol) == ("TCP", "TCP") if tcp else ("UDP", "UDP")


def test_what_gets_no_answer_is_not_tapped(proxy: Proxy, collector: Collector) -> None:
    already = len(collector.messages)
    with udp_socket(proxy.port) as client:
        client.send(b"short")
        client.send(wire.raw_query(wire.name_to_wire("response.test"), flags=wire.QR))
        client.send(wire.query("marker.example.org"))
        client.recv(65_535)
    collector.wait_for(already + 4)
    assert types(collector.messages[already:]) == ["CQ", "FQ", "FR", "CR"]


def test_joined_questions_have_one_exchange_and_an_answer_each(
    proxy: Proxy, upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.on("joined", behaviours.delay(100))
    with udp_socket(proxy.port) as client:
        for id in range(5):
            client.send(wire.query("joined.example.org", id=id))
        for _ in range(5):
            client.recv(65_535)
    found = types(collector.wait_about("joined", 12))
    assert {type: found.count(type) for type in found} == {"CQ": 5, "FQ": 1, "FR": 1, "CR": 5}


def test_messages_of_each_query_keep_their_order_under_load(proxy: Proxy, collector: Collector) -> None:
    with udp_socket(proxy.port) as client:
        for burst in range(10):
            for id in range(50):
                client.send(wire.query(f"o{burst}-{id}.ordered.example.org"))
            for _ in range(50):
                client.recv(65_535)
    collector.wait_about("ordered", 2000, within_s=10)
    by_query: dict[str, list[str]] = {}
    for message in collector.about("ordered"):
        by_query.setdefault(labels(message)["query/id"], []).append(message.type)
    assert list(by_query.values()) == [["CQ", "FQ", "FR", "CR"]] * 500


def test_every_tap_has_its_own_selection_and_all_agree_on_times(
    start_proxy: StartProxy, second_upstream: HostileUpstream, tmp_path: Path
) -> None:
    stanzas = [
        {"full": True, "extra": "{name} {type} {rcode}"},
        {"full": False, "extra": ""},
        {"full": False, "types": ["CLIENT_RESPONSE", "FORWARDER_QUERY"]},
    ]
    taps = [Collector(unix_address(tmp_path, f"{number}.sock")) for number in range(3)]
    body = "".join(dnstap(to=tap, **keys) for tap, keys in zip(taps, stanzas, strict=True))
    proxy = start_proxy(body + forward(second_upstream))
    for tap in taps:
        tap.start()
    try:
        exchange(wire.query("Every.Tap.example.org"), proxy.port)
        everything, lean, chosen = taps[0].wait_for(4), taps[1].wait_for(4), taps[2].wait_for(2)
    finally:
        for tap in taps:
            tap.kill()
    assert [one.extra for one in everything[:2]] == ["every.tap.example.org. A -"] * 2
    assert [one.extra for one in everything[2:]] == ["every.tap.example.org. A NOERROR"] * 2
    assert {one.extra for one in lean} == {None}
    assert {one.wire for one in lean} == {None}
    assert types(chosen) == ["FQ", "CR"]
    assert [(one.query_ns, one.response_ns) for one in lean] == [(one.query_ns, one.response_ns) for one in everything]
    assert [one.query_ns for one in chosen] == [everything[1].query_ns, everything[3].query_ns]


def test_identity_and_version_have_honest_defaults(
    start_proxy: StartProxy, second_upstream: HostileUpstream, tmp_path: Path
) -> None:
    with Collector(unix_address(tmp_path)) as tap:
        proxy = start_proxy(dnstap(to=tap) + forward(second_upstream))
        exchange(wire.query("www.example.org"), proxy.port)
        (message, *_) = tap.wait_for(4)
    number = re.findall(r"\d+\.\d+\S*", run_dnsproxy("--version").stdout)[0]
    assert message.version == f"dnsproxy {number}"
    assert message.identity == Path("/proc/sys/kernel/hostname").read_text().strip()
    assert message.extra is None


@pytest.mark.parametrize(("tcp", "outcome"), [(False, "refused"), (True, "refused")])
def test_a_closed_port_is_an_outcome_and_without_a_connection_nothing_is_tapped_as_sent(
    start_proxy: StartProxy, second_upstream: HostileUpstream, tmp_path: Path, tcp: bool, outcome: str
) -> None:
    second_upstream.close_port()
    with Collector(unix_address(tmp_path)) as tap:
        proxy = start_proxy(dnstap(to=tap, extra=EXTRA) + forward(second_upstream, max_attempts=1))
        (exchange_tcp if tcp else exchange)(wire.query("closed.example.org"), proxy.port)
        cr = tap.wait_for(1, "CR")[0]
    assert labels(cr)["forward/outcome"] == outcome
    assert types(tap.messages) == (["CQ", "CR"] if tcp else ["CQ", "FQ", "CR"])


def test_health_probes_are_not_tapped(
    start_proxy: StartProxy, second_upstream: HostileUpstream, tmp_path: Path
) -> None:
    second_upstream.default = behaviours.drop
    with Collector(unix_address(tmp_path)) as tap:
        proxy = start_proxy(dnstap(to=tap) + forward(second_upstream, timeout="100ms", max_attempts=3))
        exchange(wire.query("www.example.org"), proxy.port)
        proxy.wait_for_log("down: 3 timeouts")
        second_upstream.default = behaviours.answer
        proxy.wait_for_log("up: answered")
        assert len(second_upstream.seen) > 3
        assert types(tap.wait_for(5)) == ["CQ", "FQ", "FQ", "FQ", "CR"]
        servers = proxy.status()["upstreams"]
    assert (sum(one["queries"] for one in servers), sum(one["responses"] for one in servers)) == (3, 0)


def test_failover_shows_every_upstream_asked(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream, tmp_path: Path
) -> None:
    upstream.on("failing", behaviours.fail(wire.SERVFAIL))
    body = forward(upstream, second_upstream, policy="sequential", failover=["SERVFAIL"])
    with Collector(unix_address(tmp_path)) as tap:
        proxy = start_proxy(dnstap(to=tap, extra=EXTRA) + body)
        exchange(wire.query("failing.example.org"), proxy.port)
        messages = tap.wait_for(6)
    assert types(messages) == ["CQ", "FQ", "FR", "FQ", "FR", "CR"]
    asked = [labels(message)["forward/upstream"] for message in messages[1:]]
    assert asked == [upstream.address] * 2 + [second_upstream.address] * 3
    times = [message.response_ns or message.query_ns or 0 for message in messages]
    assert all(one <= other for one, other in itertools.pairwise(times))
