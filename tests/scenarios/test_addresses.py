"""Where the proxy listens, from where it answers, and whom it serves."""

import socket

import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.client import answers, exchange, exchange_tcp, is_silent, udp_socket
from tests.support.collector import Collector
from tests.support.ports import free_port, ipv6_is_here
from tests.support.proxy import books
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

WWW = wire.query("www.example.org")
needs_ipv6 = pytest.mark.skipif(not ipv6_is_here(), reason="no IPv6 on the loopback interface")


def test_a_wildcard_listener_answers_from_the_address_that_was_asked(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    port = free_port()
    start_proxy(dnstap(to=collector) + forward(upstream), port=port, listen=[f"0.0.0.0:{port}"])
    for host in ("127.0.0.1", "127.0.0.5", "127.9.9.9"):
        assert wire.rcode(exchange(WWW, port, host=host)) == 0
        assert wire.rcode(exchange_tcp(WWW, port, host=host)) == 0
    tapped = collector.wait_for(6, "CQ") + collector.wait_for(6, "CR")
    asked = [message.response_address for message in tapped]
    assert {host: asked.count(host) for host in asked} == {"127.0.0.1": 4, "127.0.0.5": 4, "127.9.9.9": 4}


@needs_ipv6
def test_ipv6_is_served_like_ipv4(start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector) -> None:
    port = free_port()
    body = dnstap(to=collector, extra="{remote} {local}") + forward(upstream)
    start_proxy(body, port=port, listen=[f"[::1]:{port}", f"127.0.0.1:{port}"])
    assert wire.rcode(exchange(WWW, port, host="::1")) == 0
    assert wire.rcode(exchange_tcp(WWW, port, host="::1")) == 0
    assert wire.rcode(exchange(WWW, port)) == 0
    queries = collector.wait_for(3, "CQ")
    assert [(one.family, one.protocol, one.query_address) for one in queries] == [
        ("INET6", "UDP", "::1"),
        ("INET6", "TCP", "::1"),
        ("INET", "UDP", "127.0.0.1"),
    ]
    assert queries[0].extra == "[::1] [::1]"


@needs_ipv6
def test_an_ipv6_wildcard_listener_answers_from_the_address_that_was_asked(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    port = free_port()
    start_proxy(forward(upstream), port=port, listen=[f"[::]:{port}", f"0.0.0.0:{port}"])
    for host in ("::1", "127.0.0.7"):
        assert wire.rcode(exchange(WWW, port, host=host)) == 0
        assert wire.rcode(exchange_tcp(WWW, port, host=host)) == 0


@needs_ipv6
def test_an_ipv6_upstream_is_asked(start_proxy: StartProxy, collector: Collector) -> None:
    with HostileUpstream(host="::1") as upstream:
        proxy = start_proxy(dnstap(to=collector) + forward(upstream))
        assert wire.rcode(exchange(WWW, proxy.port)) == 0
        assert wire.rcode(exchange_tcp(WWW, proxy.port)) == 0
        asked = collector.wait_for(2, "FQ")
        assert {(one.family, one.query_address, one.response_address) for one in asked} == {("INET6", "::1", "::1")}


def test_a_scheme_limits_a_listener_to_its_protocol(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    udp_port, tcp_port = free_port(), free_port()
    listen = [f"udp://127.0.0.1:{udp_port}", f"tcp://127.0.0.1:{tcp_port}"]
    proxy = start_proxy(forward(upstream), listen=listen)
    assert wire.rcode(exchange(WWW, udp_port)) == 0
    assert wire.rcode(exchange_tcp(WWW, tcp_port)) == 0
    with pytest.raises(ConnectionRefusedError):
        exchange_tcp(WWW, udp_port)
    with pytest.raises(ConnectionRefusedError):
        exchange(WWW, tcp_port)
    assert {one["address"] for one in proxy.status()["listeners"]} == set(listen)


def test_strangers_are_refused_at_a_small_rate_and_then_dropped(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    proxy = start_proxy('allow = ["127.0.0.1/32"]\n' + forward(upstream))
    with udp_socket(proxy.port, source="127.0.0.2") as stranger:
        for id in range(300):
            stranger.send(wire.query("stranger.example.org", id=id))
        refusals = answers(stranger, 300, within_s=0.5)
    assert {wire.rcode(answer) for answer in refusals} == {wire.REFUSED}
    assert 1 <= len(refusals) <= 150
    assert wire.rcode(exchange_tcp(wire.query("stranger.example.org"), proxy.port, source="127.0.0.2")) == wire.REFUSED
    assert wire.rcode(exchange(WWW, proxy.port)) == 0
    assert not upstream.seen_for("stranger")
    udp = next(one for one in proxy.status()["listeners"] if one["address"].startswith("udp:"))
    assert udp["dropped"]["not_allowed"] + len(refusals) == 300
    assert udp["queries"] == len(refusals) + 1


def test_a_refusal_is_tapped_and_a_dropped_query_is_not(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    proxy = start_proxy('allow = ["127.0.0.1/32"]\n' + dnstap(to=collector) + forward(upstream))
    with udp_socket(proxy.port, source="127.0.0.2") as stranger:
        for id in range(100):
            stranger.send(wire.query("stranger.example.org", id=id))
        refusals = len(answers(stranger, 100, within_s=0.5))
    exchange_tcp(WWW, proxy.port, source="127.0.0.2")
    tapped = [message.type for message in collector.wait_for(2 * refusals + 2)]
    assert tapped == ["CQ", "CR"] * (refusals + 1)
    assert books(proxy.status()) == (2 * refusals + 2, 2 * refusals + 2)


def test_strangers_malformed_datagrams_get_nothing_either(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    proxy = start_proxy('allow = ["127.0.0.1/32"]\n' + forward(upstream))
    assert is_silent(b"short", proxy.port, source="127.0.0.2")


def test_by_default_loopback_is_served_and_the_wide_world_is_not(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    proxy = start_proxy(forward(upstream), listen=None)
    assert wire.rcode(exchange(WWW, proxy.port, source="127.3.4.5")) == 0
    others = public_address()
    if others is None:
        pytest.skip("no address outside the private networks on this machine")
    port = free_port()
    wide = start_proxy(forward(upstream), port=port, listen=[f"0.0.0.0:{port}"])
    assert wire.rcode(exchange(WWW, wide.port, host=others, source=others)) == wire.REFUSED


def public_address() -> str | None:
    """An address of this machine that is neither loopback, private nor link-local as far as `allow` goes."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        host = str(probe.getsockname()[0])
    private = ("127.", "10.", "192.168.", "169.254.", *(f"172.{n}." for n in range(16, 32)))
    return None if host.startswith(private) else host
