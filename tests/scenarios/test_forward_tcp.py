"""TCP towards upstreams: after truncation, kept open, pipelined, lost and found again."""

import dns.flags
import dns.message
import dns.rcode
import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import answers, ask, exchange, exchange_tcp, udp_socket
from tests.support.toml import forward
from tests.support.upstream import HostileUpstream

NETWORK_ERROR = 23  # Extended DNS Error


def test_a_truncated_answer_is_fetched_whole_over_tcp(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    upstream.on("tc", behaviours.truncate)
    proxy = start_proxy(forward(upstream))
    answer = ask(wire.query("tc.example.org", edns=True), proxy.port)
    assert wire.addresses(answer) == ["192.0.2.1"]
    assert not answer.flags & dns.flags.TC
    assert [one.protocol for one in upstream.seen_for("tc")] == ["UDP", "TCP"]


def test_the_whole_answer_is_cut_to_the_clients_own_limit(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    upstream.on("tc", behaviours.truncate_everywhere, behaviours.large(2_000))
    proxy = start_proxy(forward(upstream))
    answer = exchange(wire.query("tc.example.org", "TXT"), proxy.port)
    assert len(answer) <= 512
    assert wire.flags(answer) & wire.TC
    upstream.on("tc", behaviours.truncate_everywhere, behaviours.large(2_000))
    assert len(exchange(wire.query("tc.example.org", "TXT", edns=True, size=4096), proxy.port)) == 2_000


def test_if_the_tcp_retry_fails_the_client_gets_the_truncated_answer(start_proxy: StartProxy) -> None:
    with HostileUpstream(tcp=False) as upstream:
        upstream.default = behaviours.truncate_everywhere
        proxy = start_proxy(forward(upstream))
        answer = ask(wire.query("tc.example.org"), proxy.port)
        assert answer.rcode() == dns.rcode.NOERROR
        assert answer.flags & dns.flags.TC


def test_if_the_tcp_retry_is_silent_the_client_gets_the_truncated_answer(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    upstream.on("tc", behaviours.truncate_everywhere, behaviours.drop)
    proxy = start_proxy(forward(upstream, timeout="200ms"))
    answer = ask(wire.query("tc.example.org"), proxy.port)
    assert answer.rcode() == dns.rcode.NOERROR
    assert answer.flags & dns.flags.TC


def test_truncation_over_tcp_is_passed_on(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    upstream.default = behaviours.truncate_everywhere
    proxy = start_proxy(forward(upstream, force_tcp=True))
    answer = dns.message.from_wire(exchange_tcp(wire.query("tc.example.org"), proxy.port))
    assert answer.flags & dns.flags.TC
    assert [one.protocol for one in upstream.seen_for("tc")] == ["TCP"]


def test_connections_are_kept_and_used_again(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    proxy = start_proxy(forward(upstream, force_tcp=True))
    for number in range(20):
        assert ask(wire.query(f"kept{number}.example.org"), proxy.port).rcode() == 0
    assert upstream.connections_made <= 2


def test_forty_queries_at_once_share_few_connections(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    upstream.on("forty", behaviours.delay(150))
    proxy = start_proxy(forward(upstream, force_tcp=True, timeout="2s", deadline="4s"))
    with udp_socket(proxy.port) as client:
        for id in range(40):
            client.send(wire.query(f"f{id}.forty.example.org", id=id))
        found = {wire.message_id(answer): answer for answer in answers(client, 40)}
    assert set(found) == set(range(40))
    assert {wire.rcode(answer) for answer in found.values()} == {0}
    assert 1 <= upstream.connections_made <= 8


def test_answers_out_of_order_find_their_queries(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    for number in range(10):
        upstream.on(f"o{number}", behaviours.delay(200 - 20 * number))
    proxy = start_proxy(forward(upstream, force_tcp=True, timeout="2s", deadline="4s"))
    with udp_socket(proxy.port) as client:
        for number in range(10):
            client.send(wire.query(f"o{number}.example.org", id=number))
        found = {wire.message_id(answer): wire.qname(answer) for answer in answers(client, 10)}
    assert found == {number: f"o{number}.example.org" for number in range(10)}


@pytest.mark.parametrize("option", [{"close_after": 1}, {"close_after": 3}, {"idle_close_s": 0.05}])
def test_an_upstream_that_closes_between_queries_is_no_trouble(
    start_proxy: StartProxy, option: dict[str, float]
) -> None:
    with HostileUpstream(**option) as upstream:  # type: ignore[arg-type]
        proxy = start_proxy(forward(upstream, force_tcp=True, max_attempts=1))
        for number in range(12):
            assert ask(wire.query(f"c{number}.example.org"), proxy.port).rcode() == 0
            if number % 4 == 3:
                upstream.close_connections()


@pytest.mark.parametrize("loss", [behaviours.close, behaviours.reset, behaviours.half_answer])
def test_queries_on_a_used_connection_that_is_lost_go_again_on_a_new_one(
    start_proxy: StartProxy, upstream: HostileUpstream, loss: behaviours.Behaviour
) -> None:
    proxy = start_proxy(forward(upstream, force_tcp=True, max_attempts=1, timeout="2s", deadline="4s"))
    ask(wire.query("first.example.org"), proxy.port)
    upstream.on("lost", loss, behaviours.answer)
    assert ask(wire.query("lost.example.org"), proxy.port).rcode() == 0
    first, again = upstream.seen_for("lost")
    assert first.connection != again.connection
    assert again.at_s - first.at_s < 0.2


def test_every_query_of_a_lost_connection_goes_again(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    upstream.on("many", behaviours.hold)
    proxy = start_proxy(forward(upstream, force_tcp=True, max_attempts=1, timeout="3s", deadline="4s"))
    ask(wire.query("first.example.org"), proxy.port)
    with udp_socket(proxy.port) as client:
        for id in range(10):
            client.send(wire.query(f"m{id}.many.example.org", id=id))
        upstream.wait_for(10, "many")
        used = upstream.seen[0].connection
        on_used = [one for one in upstream.seen_for("many") if one.connection == used]
        upstream.on("many", behaviours.answer)
        upstream.close_connections()
        found = answers(client, 10)
    if len(on_used) == 10:
        assert {wire.rcode(answer) for answer in found} == {0}
    assert {wire.message_id(answer) for answer in found} == set(range(10))


def test_a_second_loss_is_a_failed_attempt(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    proxy = start_proxy(forward(upstream, force_tcp=True, max_attempts=1))
    ask(wire.query("first.example.org"), proxy.port)
    upstream.on("lost", behaviours.close)
    answer = ask(wire.query("lost.example.org", edns=True), proxy.port)
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert (wire.ede(answer) or (0, ""))[0] == NETWORK_ERROR
    assert len(upstream.seen_for("lost")) == 2


def test_a_lost_new_connection_is_a_failed_attempt_and_the_next_upstream_is_asked(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    upstream.default = behaviours.close
    proxy = start_proxy(forward(upstream, second_upstream, force_tcp=True, policy="sequential"))
    assert wire.addresses(ask(wire.query("www.example.org"), proxy.port)) == ["192.0.2.2"]
    assert len(upstream.seen_for("www")) == 1


def test_wrong_replies_over_tcp_are_ignored_and_counted(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    lies = (behaviours.wrong_id, behaviours.wrong_question, behaviours.answer)
    upstream.on("lies", behaviours.both(*lies))
    proxy = start_proxy(forward(upstream, force_tcp=True))
    assert wire.addresses(ask(wire.query("lies.example.org"), proxy.port)) == ["192.0.2.1"]
    assert sum(one["mismatches"] for one in proxy.status()["upstreams"]) == 2


def test_a_silent_tcp_upstream_times_out_like_any_other(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    upstream.default = behaviours.drop
    proxy = start_proxy(forward(upstream, second_upstream, force_tcp=True, policy="sequential", timeout="150ms"))
    assert wire.addresses(ask(wire.query("www.example.org"), proxy.port)) == ["192.0.2.2"]
