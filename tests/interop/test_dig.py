"""dig and kdig through the proxy: what they print is what they print when they ask NSD or unbound themselves."""

import re
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support.name_servers import Nsd, unbound
from tests.support.ports import free_port, ipv6_is_here
from tests.support.programs import dig, run_program
from tests.support.proxy import Proxy
from tests.support.toml import forward

pytestmark = pytest.mark.interop

VARIABLE = re.compile(
    r"^;; (Query time|WHEN|SERVER|MSG SIZE)|^; <<>> |^;.*@127|^\(|^;; global|^;; From|^;; Received", re.MULTILINE
)

SAME = {
    "A": ["www.example.org"],
    "AAAA": ["www.example.org", "AAAA"],
    "NXDOMAIN": ["nowhere.example.org"],
    "NODATA": ["www.example.org", "MX"],
    "empty non-terminal": ["deep.example.org"],
    "CNAME": ["alias.example.org"],
    "wildcard": ["any.thing.wild.example.org", "TXT"],
    "MX": ["example.org", "MX"],
    "SOA": ["example.org", "SOA"],
    "SRV": ["_sip._tcp.example.org", "SRV"],
    "HTTPS": ["www.example.org", "HTTPS"],
    "CAA": ["example.org", "CAA"],
    "unknown type": ["example.org", "TYPE65534"],
    "no such type": ["example.org", "TYPE1000"],
    "ANY": ["ns.example.org", "ANY"],
    "CHAOS": ["version.bind", "CH", "TXT"],
    "refused zone": ["www.example.net"],
    "odd name": [r"odd\032name.example.org"],
    "a TTL of its own": ["text.example.org", "TXT"],
    "tcp": ["+tcp", "www.example.org"],
    "noedns": ["+noedns", "www.example.org"],
    "edns": ["+edns=0", "+nocookie", "www.example.org"],
    "bufsize": ["+bufsize=4096", "big.example.org", "TXT"],
    "tcp, much": ["+tcp", "huge.example.org", "TXT"],
    "dnssec": ["+dnssec", "example.org", "DNSKEY"],
    "ad": ["+ad", "www.example.org"],
    "norec": ["+norec", "www.example.org"],
    "zflag": ["+zflag", "www.example.org"],
    "mixed case": ["WwW.ExAmPlE.oRg"],
    "unknown option": ["+ednsopt=65001:6869", "www.example.org"],
    "nsid and subnet": ["+nsid", "+subnet=192.0.2.0/24", "www.example.org"],
    "expire": ["+expire", "example.org", "SOA"],
    "truncated, tcp": ["+bufsize=512", "big.example.org", "TXT"],
}


def comparable(output: str) -> str:
    """dig's output without times, addresses and IDs; NSD shuffles records, so lines are sorted."""
    lines = [line for line in output.splitlines() if line and not VARIABLE.search(line)]
    return "\n".join(sorted(re.sub(r"id: \d+", "id: N", line) for line in lines))


@pytest.mark.parametrize("arguments", SAME.values(), ids=SAME.keys())
def test_dig_sees_no_difference_between_nsd_and_the_proxy(authority: Nsd, proxy: Proxy, arguments: list[str]) -> None:
    direct = dig(authority.port, "+cmd", "+multiline", *arguments)
    assert comparable(dig(proxy.port, "+cmd", "+multiline", *arguments)) == comparable(direct)


def test_dig_sees_truncation_and_gets_the_rest_by_tcp(proxy: Proxy) -> None:
    cut = dig(proxy.port, "+ignore", "+bufsize=1232", "big.example.org", "TXT")
    assert re.search(r"flags:[a-z ]* tc", cut)
    assert "EDNS: version: 0" in cut
    assert "QUERY: 1" in cut
    whole = dig(proxy.port, "+bufsize=1232", "big.example.org", "TXT")
    assert "Truncated, retrying in TCP mode" in whole
    assert len(re.findall(r'"\d{4} x+"', whole)) == 14


def test_cd_comes_back_as_the_client_set_it_though_nsd_clears_it(proxy: Proxy) -> None:
    assert re.search(r"flags:[a-z ]* cd;", dig(proxy.port, "+cd", "www.example.org"))
    assert not re.search(r"flags:[a-z ]* cd;", dig(proxy.port, "www.example.org"))


def test_dig_without_edns_gets_512_octets_at_most(proxy: Proxy) -> None:
    cut = dig(proxy.port, "+ignore", "+noedns", "big.example.org", "TXT")
    assert re.search(r"flags:[a-z ]* tc", cut)
    assert int(re.findall(r"MSG SIZE  rcvd: (\d+)", cut)[0]) <= 512


def test_dig_may_pipeline_on_one_connection(proxy: Proxy) -> None:
    names = ["www.example.org", "mail.example.org", "ns.example.org"]
    output = dig(proxy.port, "+tcp", "+keepopen", "+short", *names)
    assert {"192.0.2.10", "192.0.2.25", "192.0.2.53"} <= set(output.split())


@pytest.mark.skipif(not ipv6_is_here(), reason="no IPv6 on the loopback interface")
def test_dig_over_ipv6(start_proxy: StartProxy, authority: Nsd) -> None:
    port = free_port()
    start_proxy(forward(authority), port=port, listen=[f"127.0.0.1:{port}", f"[::1]:{port}"])
    for protocol in ("+notcp", "+tcp"):
        assert "192.0.2.25" in dig(port, protocol, "+short", "mail.example.org", host="::1")


@pytest.mark.parametrize("protocol", ["+notcp", "+tcp"])
def test_kdig_gets_answers_too(proxy: Proxy, protocol: str) -> None:
    output = run_program("kdig", "@127.0.0.1", "-p", str(proxy.port), protocol, "+edns", "www.example.org", "AAAA")
    assert "status: NOERROR" in output
    assert "2001:db8::10" in output
    assert "Version: 0" in output


def test_kdig_sends_a_cookie_padding_and_a_subnet_and_still_gets_an_answer(proxy: Proxy) -> None:
    options = ["+cookie", "+padding=64", "+subnet=192.0.2.0/24", "+nsid"]
    output = run_program("kdig", "@127.0.0.1", "-p", str(proxy.port), *options, "mail.example.org")
    assert "192.0.2.25" in output


def test_unbound_behind_the_proxy_resolves(start_proxy: StartProxy, authority: Nsd, tmp_path: Path) -> None:
    with unbound(tmp_path, authority.address) as resolver:
        proxy = start_proxy(forward(f"127.0.0.1:{resolver}", timeout="2s", deadline="4s"))
        output = dig(proxy.port, "+dnssec", "alias.example.org")
        assert "192.0.2.11" in output
        assert re.search(r"flags: qr rd ra;", output)
        assert "192.0.2.10" in dig(proxy.port, "+tcp", "+short", "www.example.org")


def test_the_proxy_may_stand_between_unbound_and_nsd(start_proxy: StartProxy, authority: Nsd, tmp_path: Path) -> None:
    proxy = start_proxy(forward(authority, timeout="2s", deadline="4s"))
    with unbound(tmp_path, f"127.0.0.1:{proxy.port}") as resolver:
        assert "192.0.2.25" in dig(resolver, "+short", "mail.example.org")
        assert dig(resolver, "huge.example.org", "TXT").count('xxx"') > 100
