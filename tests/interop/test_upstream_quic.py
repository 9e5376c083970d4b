"""A real DoQ and DoH3 server as upstream: CoreDNS, where it is installed; Debian 12 has no other."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import dns.rcode
import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.authority import Authority
from tests.support.client import ask
from tests.support.collector import Collector
from tests.support.load import ask_many
from tests.support.name_server_configs import coredns_config
from tests.support.name_servers import Nsd, name_server
from tests.support.ports import free_port
from tests.support.toml import dnstap, forward

pytestmark = pytest.mark.interop

PATIENT: dict[str, object] = {"timeout": "2s", "deadline": "4s"}
StartServer = Callable[..., int]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def start_server(authority: Nsd, certificates: Authority, tmp_path: Path) -> Iterator[StartServer]:
    """Starts CoreDNS in front of the NSD and gives its port."""
    with ExitStack() as stack:

        def start(scheme: str, *more: str) -> int:
            port, plain = free_port(), free_port()
            cert = "tls {cert} {key}".format(**certificates.issue("coredns"))
            ask = f"forward . {authority.address}"
            over_quic = coredns_config(f"{scheme}://.:{port}", cert, *more, ask + " {", "    force_tcp", "}")
            config = over_quic + coredns_config(f".:{plain}", ask)
            stack.enter_context(name_server("coredns", tmp_path, config, plain))
            return port

        yield start


def answers_are_right(port: int) -> None:
    """All of what a resolver has to carry, and many at once: 303 queries."""
    answer = ask(wire.query("www.example.org", edns=True), port)
    assert sorted(wire.addresses(answer)) == ["192.0.2.10", "192.0.2.11"]
    assert ask(wire.query("nowhere.example.org"), port).rcode() == dns.rcode.NXDOMAIN
    huge = wire.query("huge.example.org", "TXT", edns=True, size=65_535)  # CoreDNS cuts answers as if QUIC were UDP
    assert len(wire.txt(ask(huge, port, tcp=True))) > 100
    ask_many(port, 300)


def test_coredns_answers_doq_over_one_connection(
    start_proxy: StartProxy, start_server: StartServer, certificates: Authority, collector: Collector
) -> None:
    to = f"quic://127.0.0.1:{start_server('quic')}"
    proxy = start_proxy(dnstap(to=collector) + forward(to, ca=certificates.ca, **PATIENT))
    answers_are_right(proxy.port)
    sent = collector.wait_for(303, "FQ")
    assert {(message.protocol, (message.wire or b"x")[:2]) for message in sent} == {("DOQ", b"\0\0")}
    assert len({message.query_port for message in sent}) == 1
    (status,) = proxy.status()["upstreams"]
    assert (status["queries"], status["responses"], status["timeouts"]) == (303, 303, 0)


def test_corednss_limit_of_streams_is_kept(
    start_proxy: StartProxy, start_server: StartServer, certificates: Authority
) -> None:
    to = f"quic://127.0.0.1:{start_server('quic', 'quic {', '    max_streams 4', '}')}"
    proxy = start_proxy(forward(to, ca=certificates.ca, **PATIENT))
    ask_many(proxy.port, 300)
    (status,) = proxy.status()["upstreams"]
    assert (status["responses"], status["timeouts"]) == (300, 0)
    assert status["connections"] <= 4


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_coredns_answers_doh3_over_one_connection(
    start_proxy: StartProxy, start_server: StartServer, certificates: Authority, collector: Collector, method: str
) -> None:
    to = f"h3://127.0.0.1:{start_server('https3')}/dns-query"
    proxy = start_proxy(dnstap(to=collector) + forward(to, ca=certificates.ca, method=method, **PATIENT))
    answers_are_right(proxy.port)
    sent = collector.wait_for(303, "FQ")
    assert {(message.protocol, message.http_protocol) for message in sent} == {("DOH", 3)}
    assert len({message.query_port for message in sent}) == 1
    (status,) = proxy.status()["upstreams"]
    assert (status["queries"], status["responses"], status["timeouts"]) == (303, 303, 0)
