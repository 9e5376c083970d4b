"""Cookies, subnets and random case with the servers of others: BIND, NSD and unbound."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.authority import Authority
from tests.support.client import exchange
from tests.support.collector import Collector
from tests.support.name_server_configs import bind_config, over_tls, unbound_config
from tests.support.name_servers import Nsd, name_server, unbound
from tests.support.ports import free_port
from tests.support.toml import dnstap, forward
from tests.support.wire import COOKIE

pytestmark = pytest.mark.interop

UNBOUND_BLOCK = 468  # octets: what it pads answers to who pads queries (RFC 8467 section 4.1)
BADCOOKIE = 23 & 15  # the part of it that the header has
RELAXED = {"timeout": "2s", "deadline": "4s"}
ZONE = "$TTL 300\n@ IN SOA ns admin 1 3600 600 86400 60\n@ IN NS ns\nns IN A 192.0.2.53\nwww IN A 192.0.2.80\n"


@contextlib.contextmanager
def named(folder: Path) -> Iterator[int]:
    """A BIND that wants cookies of who knows them; gives its port."""
    port = free_port()
    (folder / "zone").write_text(ZONE)
    options = ("recursion no", "answer-cookie yes", "require-server-cookie yes")
    zone = f'zone "example.org" {{ type primary; file "{folder}/zone"; }};\n'
    with name_server("named", folder, bind_config(folder, port, *options, more=zone), port):
        yield port


@contextlib.contextmanager
def unbound_with_tls(folder: Path, certificates: Authority, authority: Nsd) -> Iterator[int]:
    """An unbound that speaks DoT and pads what it says to who pads; gives its port."""
    port, plain = free_port(), free_port()
    server = over_tls(port, **certificates.issue("unbound"))
    with name_server("unbound", folder, unbound_config(folder, plain, *server, stub=authority.address), plain):
        yield port


def mismatches(proxy_status: dict[str, object]) -> int:
    upstreams = proxy_status["upstreams"]
    assert isinstance(upstreams, list)
    return sum(int(one["mismatches"]) for one in upstreams)


def test_bind_wants_its_cookie_and_gets_it(start_proxy: StartProxy, collector: Collector, tmp_path: Path) -> None:
    with named(tmp_path) as port:
        keys = {**RELAXED, "cookies": True, "qname_case": "0x20"}
        proxy = start_proxy(dnstap(to=collector) + forward(f"127.0.0.1:{port}", **keys))
        for number in range(3):
            answer = exchange(wire.query("www.example.org", id=number), proxy.port)
            assert (wire.rcode(answer), answer[10:12]) == (0, b"\0\0"), "no OPT for who sent none"
        assert mismatches(proxy.status()) == 0
    replies = [one.wire or b"" for one in collector.wait_for(4, "FR")]
    assert [wire.rcode(reply) for reply in replies] == [BADCOOKIE, 0, 0, 0]
    queries = [dict(wire.options(one.wire or b""))[COOKIE] for one in collector.wait_for(4, "FQ")]
    assert [len(cookie) for cookie in queries] == [8, 24, 24, 24]


def test_nsd_and_unbound_copy_the_case_and_bear_with_the_rest(
    start_proxy: StartProxy, authority: Nsd, tmp_path: Path
) -> None:
    with unbound(tmp_path, authority.address) as port:
        for address in (authority.address, f"127.0.0.1:{port}"):
            keys = {**RELAXED, "cookies": True, "qname_case": "0x20", "ecs": {"ipv4": 24}, "edns_size": 1232}
            proxy = start_proxy(forward(address, **keys))
            for edns in (False, True):
                for number in range(20):
                    answer = exchange(wire.query("www.Example.org", id=number, edns=edns), proxy.port)
                    assert (wire.rcode(answer), answer[12:29]) == (0, b"\3www\7Example\3org\0")
                    assert wire.options(answer) == []
            assert mismatches(proxy.status()) == 0
            proxy.stop()


def test_what_is_larger_than_our_size_arrives_whole(start_proxy: StartProxy, authority: Nsd) -> None:
    proxy = start_proxy(forward(authority.address, **RELAXED, edns_size=1232))
    answer = exchange(wire.query("big.example.org", "TXT", edns=True, size=4096), proxy.port)
    assert len(answer) > 2_900
    assert not wire.flags(answer) & wire.TC


def test_unbound_takes_our_padding_for_padding(
    start_proxy: StartProxy, authority: Nsd, collector: Collector, tmp_path: Path
) -> None:
    certificates = Authority(tmp_path)
    with unbound_with_tls(tmp_path, certificates, authority) as port:
        keys = {**RELAXED, "ca": certificates.ca}
        proxy = start_proxy(dnstap(to=collector) + forward(f"tls://127.0.0.1:{port}", **keys))
        bare = exchange(wire.query("www.example.org"), proxy.port)
        edns = exchange(wire.query("www.example.org", edns=True), proxy.port)
        assert (bare[10:12], wire.options(edns)) == (b"\0\0", [])
        proxy.stop()
    assert [len(one.wire or b"") for one in collector.wait_for(2, "FQ")] == [128, 128]
    assert [len(one.wire or b"") for one in collector.wait_for(2, "FR")] == [UNBOUND_BLOCK, UNBOUND_BLOCK]
