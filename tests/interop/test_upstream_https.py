"""Real DoH servers as upstreams: dnsdist, unbound, and CoreDNS where it is installed."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.authority import Authority
from tests.support.client import ask
from tests.support.collector import Collector
from tests.support.load import ask_many
from tests.support.name_server_configs import coredns_config, dnsdist_config, over_tls, unbound_config
from tests.support.name_servers import Nsd, name_server
from tests.support.ports import free_port
from tests.support.toml import dnstap, forward

pytestmark = pytest.mark.interop

StartServer = Callable[[str], str]


def dnsdist(folder: Path, port: int, doh_port: int, upstream: str, cert: str, key: str) -> str:
    over_https = f'addDOHLocal("127.0.0.1:{doh_port}", "{cert}", "{key}", "/dns-query")'
    return dnsdist_config(port, over_https, upstream=upstream)


def unbound(folder: Path, port: int, doh_port: int, upstream: str, cert: str, key: str) -> str:
    over_https = (*over_tls(doh_port, cert, key, kind="https-port"), 'http-endpoint: "/dns-query"')
    return unbound_config(folder, port, *over_https, stub=upstream)


def coredns(folder: Path, port: int, doh_port: int, upstream: str, cert: str, key: str) -> str:
    ask = f"forward . {upstream}"
    return coredns_config(f"https://.:{doh_port}", f"tls {cert} {key}", ask) + coredns_config(f".:{port}", ask)


PROGRAMS = {"dnsdist": dnsdist, "unbound": unbound, "coredns": coredns}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def start_server(authority: Nsd, certificates: Authority, tmp_path: Path) -> Iterator[StartServer]:
    """Starts a DoH server in front of the NSD and gives its URL."""
    with contextlib.ExitStack() as stack:

        def start(name: str) -> str:
            port, plain = free_port(), free_port()
            config = PROGRAMS[name](tmp_path, plain, port, authority.address, **certificates.issue(name))
            stack.enter_context(name_server(name, tmp_path, config, plain))
            return f"https://127.0.0.1:{port}/dns-query"

        yield start


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_real_servers_answer_over_one_connection(
    start_proxy: StartProxy,
    start_server: StartServer,
    certificates: Authority,
    collector: Collector,
    name: str,
    method: str,
) -> None:
    to = start_server(name)
    proxy = start_proxy(
        dnstap(to=collector) + forward(to, ca=certificates.ca, method=method, timeout="2s", deadline="4s")
    )
    answer = ask(wire.query("www.example.org", edns=True), proxy.port)
    assert sorted(wire.addresses(answer)) == ["192.0.2.10", "192.0.2.11"]
    assert ask(wire.query("nowhere.example.org"), proxy.port).rcode() == dns.rcode.NXDOMAIN
    assert len(wire.txt(ask(wire.query("huge.example.org", "TXT"), proxy.port, tcp=True))) > 100
    ask_many(proxy.port, 300)
    sent = collector.wait_for(303, "FQ")
    assert {(message.protocol, (message.wire or b"x")[:2]) for message in sent} == {("DOH", b"\0\0")}
    assert len({message.query_port for message in sent}) == 1
    (status,) = proxy.status()["upstreams"]
    assert (status["queries"], status["responses"], status["timeouts"]) == (303, 303, 0)
