"""DoQ and DoH3 upstreams seen from outside: what they are asked, what taps show, and what clients never notice."""

import base64
import datetime as dt
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dns.flags
import dns.rcode
import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding

from dnsproxy.upstream.tls import pin_of
from tests.conftest import StartProxy
from tests.support import wire
from tests.support.client import ask
from tests.support.collector import Collector
from tests.support.load import ask_many
from tests.support.offline import reply
from tests.support.ports import free_port
from tests.support.quic_server import Asked, QuicServer
from tests.support.toml import dnstap, forward

NO_REACHABLE_AUTHORITY = 22  # Extended DNS Error
HTTP3 = 3  # dnstap's HttpProtocol
H3_NO_ERROR = 0x100
PATIENT: dict[str, object] = {"timeout": "2s", "deadline": "4s"}
NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
FAULTS = ("expired", "not yet valid", "host name mismatch", "unknown issuer", "self-signed", "pin")


def answer(asked: Asked) -> None:
    asked.reply(reply(asked.octets))


class Servers:
    """QUIC servers with certificates of one authority."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.stack = stack
        self.authority = trustme.CA()
        self.ca = str(folder / "authority.pem")
        self.authority.cert_pem.write_to_path(self.ca)

    def start(self, alpn: str = "doq", certificate: trustme.LeafCert | None = None) -> QuicServer:
        certificate = certificate or self.authority.issue_cert("127.0.0.1")
        return self.stack.enter_context(QuicServer(certificate, alpn, answer).in_thread())


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(tmp_path, stack)


def url(server: QuicServer) -> str:
    if server.alpn == "h3":
        return f"h3://127.0.0.1:{server.port}/dns-query"
    return f"quic://127.0.0.1:{server.port}"


@pytest.mark.parametrize(("alpn", "protocol", "http"), [("doq", "DOQ", None), ("h3", "DOH", HTTP3)])
def test_queries_go_out_with_id_0_and_taps_show_how(
    servers: Servers, start_proxy: StartProxy, collector: Collector, alpn: str, protocol: str, http: int | None
) -> None:
    server = servers.start(alpn)
    proxy = start_proxy(
        dnstap(to=collector, extra="{/forward/outcome} {/forward/upstream}")
        + forward(url(server), ca=servers.ca, **PATIENT)
    )
    found = ask(wire.query("www.example.org", id=0x1234), proxy.port)
    assert (found.id, wire.addresses(found)) == (0x1234, ["192.0.2.1"])
    _, sent, received, answered = collector.wait_about("www", 4)
    assert (sent.type, received.type) == ("FQ", "FR")
    assert sent.wire == server.asked[0].octets
    peer = server.connections[0].quic.get_peer_address()
    assert peer is not None
    for message in (sent, received):
        assert (message.protocol, message.http_protocol) == (protocol, http)
        assert (message.wire or b"x")[:2] == b"\0\0"
        assert (message.response_address, message.response_port) == ("127.0.0.1", server.port)
        assert (message.query_address, message.query_port) == ("127.0.0.1", peer[1])
    assert answered.extra == f"answered 127.0.0.1:{server.port}"
    (status,) = proxy.status()["upstreams"]
    assert status["address"] == url(server)
    assert (status["queries"], status["responses"], status["in_flight"]) == (1, 1, 0)


@pytest.mark.parametrize("alpn", ["doq", "h3"])
def test_many_queries_share_one_connection(servers: Servers, start_proxy: StartProxy, alpn: str) -> None:
    server = servers.start(alpn)
    proxy = start_proxy(forward(url(server), ca=servers.ca, **PATIENT))
    ask_many(proxy.port, 200)
    assert len(server.connections) == 1
    (status,) = proxy.status()["upstreams"]
    assert (status["responses"], status["timeouts"], status["connections"]) == (200, 0, 1)


def test_truncation_is_passed_on(servers: Servers, start_proxy: StartProxy) -> None:
    server = servers.start()
    server.behaviour = lambda asked: asked.reply(reply(asked.octets, flags=dns.flags.TC))
    proxy = start_proxy(forward(url(server), ca=servers.ca, **PATIENT))
    assert ask(wire.query("www.example.org"), proxy.port).flags & dns.flags.TC
    assert len(server.asked) == 1


@pytest.mark.parametrize("alpn", ["doq", "h3"])
def test_lost_connections_are_invisible(servers: Servers, start_proxy: StartProxy, alpn: str) -> None:
    server = servers.start(alpn)
    proxy = start_proxy(forward(url(server), ca=servers.ca, max_attempts=1, **PATIENT))
    for number in range(3):
        assert ask(wire.query(f"w{number}.example.org"), proxy.port).rcode() == dns.rcode.NOERROR
        with server.lock:
            server.connections[-1].close(H3_NO_ERROR if alpn == "h3" else 0)
    assert len(server.connections) == 3
    (status,) = proxy.status()["upstreams"]
    assert (status["responses"], status["state"]) == (3, "up")


def test_a_server_that_restarts_is_found_again(servers: Servers, start_proxy: StartProxy) -> None:
    server = servers.start()
    proxy = start_proxy(forward(url(server), ca=servers.ca, **PATIENT))
    assert ask(wire.query("before.example.org"), proxy.port).rcode() == dns.rcode.NOERROR
    with server.lock:
        server.forget()
    assert ask(wire.query("after.example.org"), proxy.port).rcode() == dns.rcode.NOERROR


def test_idle_connections_are_closed_in_time(servers: Servers, start_proxy: StartProxy) -> None:
    server = servers.start()
    proxy = start_proxy(forward(url(server), ca=servers.ca, idle_timeout="500ms", **PATIENT))
    began = time.monotonic()
    assert ask(wire.query("www.example.org"), proxy.port).rcode() == dns.rcode.NOERROR
    (status,) = proxy.wait_for_status(lambda all_: not all_["upstreams"][0]["connections"], "closed")["upstreams"]
    assert 0.5 <= time.monotonic() - began < 2
    assert status["state"] == "up"


def certificate(servers: Servers, fault: str) -> trustme.LeafCert:
    if fault == "expired":
        return servers.authority.issue_cert("127.0.0.1", not_after=NOW - DAY)
    if fault == "not yet valid":
        return servers.authority.issue_cert("127.0.0.1", not_before=NOW + DAY)
    if fault == "host name mismatch":
        return servers.authority.issue_cert("dns.example.org")
    if fault == "self-signed":
        own = trustme.CA()
        return trustme.LeafCert(own.private_key_pem.bytes(), own.cert_pem.bytes(), [])
    return (trustme.CA() if fault == "unknown issuer" else servers.authority).issue_cert("127.0.0.1")


@pytest.mark.parametrize("alpn", ["doq", "h3"])
def test_certificates_that_will_not_do_are_refused_and_named(
    servers: Servers, start_proxy: StartProxy, collector: Collector, alpn: str
) -> None:
    refused = {fault: servers.start(alpn, certificate(servers, fault)) for fault in FAULTS}
    body = dnstap(to=collector, extra="{/forward/outcome}")
    for fault, server in refused.items():
        pins = {"pins": ["A" * 43 + "="]} if fault == "pin" else {}
        body += forward(url(server), from_=f"{label(fault)}.example.org", ca=servers.ca, **pins, **PATIENT)
    proxy = start_proxy(body)
    for fault, server in refused.items():
        for number in range(3):
            found = ask(wire.query(f"w{number}.{label(fault)}.example.org", edns=True), proxy.port)
            assert found.rcode() == dns.rcode.SERVFAIL
            assert (wire.ede(found) or (0, ""))[0] == NO_REACHABLE_AUTHORITY
        address = f"127.0.0.1:{server.port}"
        proxy.wait_for_log(f"certificate of {address} refused: {fault}")
        assert proxy.log.count(f"{address} refused: ") == 1
        assert server.asked == []
        messages = collector.wait_about(label(fault), 6)
        assert {message.type for message in messages} == {"CQ", "CR"}
        assert {message.extra for message in messages if message.type == "CR"} == {"tls_error"}


def label(fault: str) -> str:
    return fault.replace(" ", "-")


def test_a_pin_that_fits_is_taken(servers: Servers, start_proxy: StartProxy) -> None:
    server = servers.start()
    own = server.configuration.certificate
    pin = base64.b64encode(pin_of(own.public_bytes(Encoding.DER))).decode()
    proxy = start_proxy(forward(url(server), ca=servers.ca, pins=[pin], **PATIENT))
    assert ask(wire.query("www.example.org"), proxy.port).rcode() == dns.rcode.NOERROR


def test_a_closed_port_is_passed_over_at_once(servers: Servers, start_proxy: StartProxy) -> None:
    closed = f"quic://127.0.0.1:{free_port()}"
    proxy = start_proxy(forward(closed, url(servers.start()), policy="sequential", ca=servers.ca, **PATIENT))
    began = time.monotonic()
    assert ask(wire.query("www.example.org"), proxy.port).rcode() == dns.rcode.NOERROR
    assert time.monotonic() - began < 1


def test_without_such_upstreams_nothing_of_quic_is_loaded() -> None:
    code = "import sys, dnsproxy.server, dnsproxy_forward; assert 'aioquic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
