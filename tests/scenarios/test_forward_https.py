"""DoH upstreams seen from outside: what they are asked, what taps show, and what clients never notice."""

from collections.abc import Callable
from pathlib import Path

import dns.rcode
import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.authority import Authority
from tests.support.client import ask
from tests.support.collector import Collector
from tests.support.doh import DohServer, server_context
from tests.support.load import SteadyLoad, ask_many
from tests.support.offline import reply
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

NO_REACHABLE_AUTHORITY = 22  # Extended DNS Errors
NETWORK_ERROR = 23
HTTP2 = 2  # dnstap's HttpProtocol
PATIENT: dict[str, object] = {"timeout": "2s", "deadline": "4s"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_queries_go_out_with_id_0_and_taps_show_doh(
    start_proxy: StartProxy, authority: Authority, collector: Collector, method: str
) -> None:
    with DohServer(server_context(authority.issue("doh"))) as server:
        to = server.url("/some/path{?dns}")
        proxy = start_proxy(
            dnstap(to=collector, extra="{/forward/outcome} {/forward/upstream}")
            + forward(to, method=method, ca=authority.ca, **PATIENT)
        )
        answer = ask(wire.query("www.example.org", id=0x1234), proxy.port)
        assert (answer.id, wire.addresses(answer)) == (0x1234, ["192.0.2.1"])
        (asked,) = server.seen
        assert asked.headers[":method"] == method
        assert asked.headers[":path"].partition("?")[0] == "/some/path"
        assert asked.headers[":authority"] == f"127.0.0.1:{server.port}"
        _, sent, received, answered = collector.wait_about("www", 4)
        assert (sent.type, received.type) == ("FQ", "FR")
        assert sent.wire == asked.message
        assert received.wire == reply(asked.message)
        for message in (sent, received):
            assert (message.protocol, message.http_protocol) == ("DOH", HTTP2)
            assert (message.wire or b"x")[:2] == b"\0\0"
            assert (message.response_address, message.response_port) == ("127.0.0.1", server.port)
            assert (message.query_address, message.query_port) == ("127.0.0.1", asked.peer_port)
        assert answered.extra == f"answered 127.0.0.1:{server.port}"
        (status,) = proxy.status()["upstreams"]
        assert status["address"] == f"https://127.0.0.1:{server.port}/some/path{{?dns}}"
        assert (status["queries"], status["responses"], status["in_flight"]) == (1, 1, 0)


def test_many_queries_share_one_connection_and_the_age_of_answers_is_taken_from_their_ttls(
    start_proxy: StartProxy, authority: Authority
) -> None:
    with DohServer(server_context(authority.issue("doh")), age="60") as server:
        proxy = start_proxy(forward(server.url(), ca=authority.ca, **PATIENT))
        ask_many(proxy.port, 200)
        assert ask(wire.query("www.example.org"), proxy.port).answer[0].ttl == 240
        assert (server.connections_made, len(server.seen)) == (1, 201)


def test_a_goaway_under_load_is_invisible(start_proxy: StartProxy, authority: Authority) -> None:
    with DohServer(server_context(authority.issue("doh")), retires_after=30) as server:
        proxy = start_proxy(forward(server.url(), ca=authority.ca, max_attempts=1, timeout="3s", deadline="6s"))
        with SteadyLoad(proxy.port, 100) as load:
            proxy.wait_for_status(lambda now: now["upstreams"][0]["responses"] >= 120, "120 answers")
        assert load.lost == 0
        assert proxy.status()["upstreams"][0]["responses"] == load.asked, "none is a SERVFAIL of ours"
        assert server.connections_made >= 4


def test_a_connection_that_has_been_idle_too_long_is_not_missed(start_proxy: StartProxy, authority: Authority) -> None:
    with DohServer(server_context(authority.issue("doh"))) as server:
        proxy = start_proxy(forward(server.url(), ca=authority.ca, idle_timeout="100ms", max_attempts=1, **PATIENT))
        for number in range(2):
            assert ask(wire.query(f"i{number}.example.org"), proxy.port).rcode() == 0
            server.wait_until_closed()
        assert server.connections_made == 2


def test_an_error_of_the_web_server_is_a_failed_attempt_and_the_next_upstream_is_asked(
    start_proxy: StartProxy, authority: Authority, upstream: HostileUpstream
) -> None:
    with DohServer(server_context(authority.issue("doh"))) as server:
        server.answer = lambda octets: None
        alone = forward(server.url(), from_="alone.test", ca=authority.ca, **PATIENT)
        proxy = start_proxy(alone + forward(server.url(), upstream, ca=authority.ca, policy="sequential", **PATIENT))
        assert wire.addresses(ask(wire.query("www.example.org"), proxy.port)) == ["192.0.2.1"]
        assert len(server.seen) == len(upstream.seen) == 1
        proxy.wait_for_log(r"upstream https://\S+: HTTP status 503")
        answer = ask(wire.query("www.alone.test", edns=True), proxy.port)
        assert answer.rcode() == dns.rcode.SERVFAIL
        assert (wire.ede(answer) or (0, ""))[0] == NETWORK_ERROR


def self_signed(authority: Authority, folder: Path) -> tuple[dict[str, str], dict[str, object]]:
    return Authority(folder).issue("other"), {"ca": authority.ca}


def of_another_name(authority: Authority, folder: Path) -> tuple[dict[str, str], dict[str, object]]:
    return authority.issue("name", "dns.example.net"), {"ca": authority.ca}


def of_another_key(authority: Authority, folder: Path) -> tuple[dict[str, str], dict[str, object]]:
    return authority.issue("pinned"), {"ca": authority.ca, "pins": ["A" * 43 + "="]}


@pytest.mark.parametrize(
    ("make", "reason"),
    [(self_signed, "unknown issuer"), (of_another_name, "host name mismatch"), (of_another_key, "pin")],
)
def test_a_bad_certificate_is_refused_and_the_client_told(
    start_proxy: StartProxy,
    authority: Authority,
    tmp_path: Path,
    make: Callable[[Authority, Path], tuple[dict[str, str], dict[str, object]]],
    reason: str,
) -> None:
    certificate, keys = make(authority, tmp_path)
    with DohServer(server_context(certificate)) as server:
        proxy = start_proxy(forward(server.url(), **keys, **PATIENT))
        answer = ask(wire.query("www.example.org", edns=True), proxy.port)
        assert answer.rcode() == dns.rcode.SERVFAIL
        assert (wire.ede(answer) or (0, ""))[0] == NO_REACHABLE_AUTHORITY
        proxy.wait_for_log(rf"certificate of 127\.0\.0\.1:{server.port} refused: {reason}")
        assert server.seen == []


def test_a_server_without_http_2_is_told_apart(start_proxy: StartProxy, authority: Authority) -> None:
    with DohServer(server_context(authority.issue("doh"), ("http/1.1",))) as server:
        proxy = start_proxy(forward(server.url(), ca=authority.ca, **PATIENT))
        answer = ask(wire.query("www.example.org", edns=True), proxy.port)
        assert answer.rcode() == dns.rcode.SERVFAIL
        assert (wire.ede(answer) or (0, ""))[0] == NO_REACHABLE_AUTHORITY
        proxy.wait_for_log(r"upstream https://\S+ does not speak HTTP/2")
