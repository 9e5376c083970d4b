"""Which stanza, which upstream and which transport a query goes to."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.reversename
import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import ask, exchange, exchange_tcp
from tests.support.proxy import Proxy
from tests.support.toml import forward
from tests.support.upstream import HostileUpstream


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, HostileUpstream]]:
    """One upstream for each stanza, told apart by the address it answers."""
    names = ("root", "org", "deep", "reverse", "half", "reverse6", "list")
    made = {name: HostileUpstream(answer_address=f"192.0.2.{number}") for number, name in enumerate(names, 1)}
    for server in made.values():
        server.start()
    yield made
    for server in made.values():
        server.stop()


@pytest.fixture(scope="module")
def proxy(servers: dict[str, HostileUpstream], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    body = (
        forward(servers["deep"], from_="deep.example.org")
        + forward(servers["root"])
        + forward(servers["org"], from_="Example.ORG.", except_=["kept.example.org"])
        + forward(servers["list"], from_=["one.test", "two.test"])
        + forward(servers["reverse"], from_="198.51.100.0/24")
        + forward(servers["half"], from_="203.0.113.128/25")
        + forward(servers["reverse6"], from_="2001:db8::/32")
    )
    with Proxy(tmp_path_factory.mktemp("proxy"), body) as running:
        yield running


NAMES = {
    "www.example.org": "org",
    "example.org": "org",
    "EXAMPLE.org": "org",
    "deep.example.org": "deep",
    "a.b.DEEP.example.org": "deep",
    "notexample.org": "root",
    "shallowdeep.example.org": "org",
    "kept.example.org": "root",
    "www.kept.example.org": "root",
    "unkept.example.org": "org",
    "one.test": "list",
    "www.two.test": "list",
    "three.test": "root",
    ".": "root",
    "7.100.51.198.in-addr.arpa": "reverse",
    "100.51.198.in-addr.arpa": "reverse",
    "101.51.198.in-addr.arpa": "root",
    "129.113.0.203.in-addr.arpa": "half",
    "127.113.0.203.in-addr.arpa": "root",
    str(dns.reversename.from_address("2001:db8::1")): "reverse6",
    str(dns.reversename.from_address("2001:db9::1")): "root",
}


@pytest.mark.parametrize(("name", "server"), NAMES.items())
def test_the_most_specific_from_wins(proxy: Proxy, servers: dict[str, HostileUpstream], name: str, server: str) -> None:
    assert wire.addresses(ask(wire.query(name), proxy.port)) == [servers[server].answer_address]


def test_what_no_stanza_serves_is_refused(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    proxy = start_proxy(forward(upstream, from_="example.org"))
    assert wire.rcode(exchange(wire.query("www.example.net"), proxy.port)) == wire.REFUSED
    assert not upstream.seen_for("www")


def test_a_name_under_except_without_another_stanza_is_refused(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    body = forward(upstream, except_=["internal.example.org", "192.0.2.0/24"])
    proxy = start_proxy(body)
    assert wire.rcode(exchange(wire.query("www.internal.example.org"), proxy.port)) == wire.REFUSED
    assert wire.rcode(exchange(wire.query("1.2.0.192.in-addr.arpa", "PTR"), proxy.port)) == wire.REFUSED
    assert wire.rcode(exchange(wire.query("www.example.org"), proxy.port)) == 0


def test_next_asks_the_next_stanza_with_the_same_from(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    upstream.on("absent", behaviours.fail(wire.NXDOMAIN))
    upstream.on("nowhere", behaviours.fail(wire.NXDOMAIN))
    second_upstream.on("nowhere", behaviours.fail(wire.REFUSED))
    proxy = start_proxy(forward(upstream, next=["NXDOMAIN"]) + forward(second_upstream))
    assert wire.addresses(ask(wire.query("present.example.org"), proxy.port)) == ["192.0.2.1"]
    assert wire.addresses(ask(wire.query("absent.example.org"), proxy.port)) == ["192.0.2.2"]
    assert wire.rcode(exchange(wire.query("nowhere.example.org"), proxy.port)) == wire.REFUSED


def test_next_goes_from_the_specific_to_the_general_and_ends_with_the_last_answer(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    upstream.default = behaviours.fail(wire.NXDOMAIN)
    second_upstream.on("nowhere", behaviours.fail(wire.NXDOMAIN))
    body = forward(second_upstream, next=["NXDOMAIN"]) + forward(upstream, from_="example.org", next=["NXDOMAIN"])
    proxy = start_proxy(body)
    assert wire.addresses(ask(wire.query("www.example.org"), proxy.port)) == ["192.0.2.2"]
    assert wire.rcode(exchange(wire.query("nowhere.example.org"), proxy.port)) == wire.NXDOMAIN
    assert (len(upstream.seen_for("nowhere")), len(second_upstream.seen_for("nowhere"))) == (1, 1)


def test_round_robin_takes_turns(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    proxy = start_proxy(forward(upstream, second_upstream, policy="round_robin"))
    got = [wire.addresses(ask(wire.query(f"r{n}.example.org"), proxy.port))[0] for n in range(10)]
    assert len(set(got)) == 2
    assert all(one != other for one, other in itertools.pairwise(got))


def test_sequential_stays_with_the_first(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    proxy = start_proxy(forward(upstream, second_upstream, policy="sequential"))
    for n in range(10):
        ask(wire.query(f"s{n}.example.org"), proxy.port)
    assert [one for one in second_upstream.seen if one.qname] == []


def test_random_uses_all(start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream) -> None:
    proxy = start_proxy(forward(upstream, second_upstream, policy="random"))
    got = [wire.addresses(ask(wire.query(f"q{n}.example.org"), proxy.port))[0] for n in range(40)]
    assert 5 < got.count("192.0.2.1") < 35


@pytest.mark.parametrize(
    ("scheme", "options", "by_udp", "by_tcp"),
    [
        ("", {}, "UDP", "TCP"),
        ("", {"force_tcp": True}, "TCP", "TCP"),
        ("", {"prefer_udp": True}, "UDP", "UDP"),
        ("udp://", {}, "UDP", "UDP"),
        ("tcp://", {}, "TCP", "TCP"),
    ],
)
def test_the_upstream_is_asked_over_the_transport_that_was_configured(
    start_proxy: StartProxy, upstream: HostileUpstream, scheme: str, options: dict[str, bool], by_udp: str, by_tcp: str
) -> None:
    proxy = start_proxy(forward(f"{scheme}{upstream.address}", **options))
    assert wire.rcode(exchange(wire.query("by-udp.example.org"), proxy.port)) == 0
    assert wire.rcode(exchange_tcp(wire.query("by-tcp.example.org"), proxy.port)) == 0
    assert [one.protocol for one in upstream.seen_for("by-udp")] == [by_udp]
    assert [one.protocol for one in upstream.seen_for("by-tcp")] == [by_tcp]


def test_an_upstream_may_be_a_host_name(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    proxy = start_proxy(forward(f"localhost:{upstream.port}"))
    assert wire.rcode(exchange(wire.query("www.example.org"), proxy.port)) == 0


def test_upstreams_may_come_from_a_resolv_conf(start_proxy: StartProxy, tmp_path: Path) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("# a comment\nsearch example.org\nnameserver 127.0.77.1\noptions edns0\n")
    try:
        resolver = HostileUpstream(host="127.0.77.1", port=53)
        resolver.start()
    except OSError as exc:
        pytest.skip(f"127.0.77.1 port 53 cannot be bound: {exc}")
    try:
        proxy = start_proxy(forward(str(resolv_conf)))
        assert wire.rcode(exchange(wire.query("www.example.org"), proxy.port)) == 0
        assert len(resolver.seen_for("www")) == 1
    finally:
        resolver.stop()


def test_what_is_asked_upstream_is_the_clients_query_with_another_id(
    proxy: Proxy, servers: dict[str, HostileUpstream]
) -> None:
    asked = wire.query("Exact.three.TEST", "TXT", cd=True, ad=True, do=True, size=1400, options=[(10, b"12345678")])
    answer = dns.message.from_wire(exchange(asked, proxy.port))
    (seen,) = servers["root"].seen_for("exact")
    assert seen.wire[2:] == asked[2:]
    assert answer.question == dns.message.from_wire(asked).question
