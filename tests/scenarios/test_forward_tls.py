"""DNS over TLS towards upstreams: what is sent and what taps see; servers that stall, end or cannot be trusted."""

import base64
import os
import signal
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dnsproxy.upstream.tls import pin_of
from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import answers, ask, udp_socket
from tests.support.collector import Collector, wait_until
from tests.support.load import SteadyLoad, ask_many
from tests.support.proxy import config_errors
from tests.support.tls_front import TlsFront
from tests.support.toml import dnstap, forward
from tests.support.upstream import Asked, HostileUpstream
from tests.upstream.certificates import ADDRESS, NAME, Certificates

NETWORK_ERROR, NO_REACHABLE_AUTHORITY = 23, 22  # Extended DNS Errors
TIMEOUT, DEADLINE = "1s", "3s"
AT_ONCE_S = 0.9  # below any timeout here, and with room for machines that are busy


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def front(upstream: HostileUpstream, certificates: Certificates) -> Iterator[TlsFront]:
    """DoT in front of the scripted upstream, with a good certificate until told otherwise."""
    with TlsFront(upstream.port, certificates.good()) as listening:
        yield listening


def dot(front: TlsFront, certificates: Certificates, **keys: object) -> str:
    """A [[forward]] that asks it."""
    return forward(
        f"tls://{front.address}", **{"ca": certificates.ca, "timeout": TIMEOUT, "deadline": DEADLINE, **keys}
    )


def test_taps_see_dot_with_the_octets_as_they_went(
    start_proxy: StartProxy,
    upstream: HostileUpstream,
    front: TlsFront,
    certificates: Certificates,
    collector: Collector,
) -> None:
    proxy = start_proxy(dnstap(to=collector, extra="{/forward/outcome}") + dot(front, certificates))
    answer = ask(wire.query("www.example.org"), proxy.port)
    assert wire.addresses(answer) == ["192.0.2.1"]
    cq, fq, fr, cr = collector.wait_about("www", 4)
    (seen,) = upstream.seen_for("www")
    assert (cq.protocol, cr.protocol) == ("UDP", "UDP")
    assert (fq.protocol, fr.protocol) == ("DOT", "DOT")
    assert (fq.query_message, fr.response_message) == (seen.wire, upstream.sent[0])
    assert (fq.query_address, fq.response_address, fq.response_port) == ("127.0.0.1", "127.0.0.1", front.port)
    assert fq.query_port == fr.query_port != front.port
    assert cr.extra == "answered"


def test_connections_are_few_at_a_thousand_queries_a_second(
    start_proxy: StartProxy, upstream: HostileUpstream, front: TlsFront, certificates: Certificates
) -> None:
    upstream.default = behaviours.delay(20)
    proxy = start_proxy(dot(front, certificates))
    with SteadyLoad(proxy.port, 1_000) as load:
        wait_until(lambda: load.asked >= 1_000, "a second of load")
        assert upstream.open_connections <= 4
    assert load.lost == 0
    assert upstream.connections_made == front.handshakes <= 4


def test_answers_come_in_any_order(
    start_proxy: StartProxy, upstream: HostileUpstream, front: TlsFront, certificates: Certificates
) -> None:
    proxy = start_proxy(dot(front, certificates))
    ask(wire.query("first.example.org"), proxy.port)
    with udp_socket(proxy.port) as client:
        for id, milliseconds in enumerate((200, 100, 0)):
            upstream.on(f"order{id}", behaviours.delay(milliseconds))
            client.send(wire.query(f"order{id}.example.org", id=id))
        assert [wire.message_id(one) for one in answers(client, 3)] == [2, 1, 0]
    assert upstream.connections_made == 1


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("expired", "expired"),
        ("wrong_name", "host name mismatch"),
        ("self_signed", "self-signed"),
        ("good", "pin"),
    ],
)
def test_a_certificate_that_will_not_do_is_refused_at_once_and_told(
    start_proxy: StartProxy,
    upstream: HostileUpstream,
    front: TlsFront,
    certificates: Certificates,
    collector: Collector,
    kind: str,
    reason: str,
) -> None:
    front.context = getattr(certificates, kind)()
    pins = {"pins": [base64.b64encode(bytes(32)).decode()]} if reason == "pin" else {}
    proxy = start_proxy(dnstap(to=collector) + dot(front, certificates, **pins))
    began = time.monotonic()
    for number in range(5):
        answer = ask(wire.query(f"n{number}.example.org", edns=True), proxy.port)
        assert answer.rcode() == 2
        assert (wire.ede(answer) or (0, ""))[0] == NO_REACHABLE_AUTHORITY
    took_s = time.monotonic() - began
    assert took_s < AT_ONCE_S
    proxy.wait_for_log(f"upstream tls://{front.address} certificate of {front.address} refused: {reason}\n")
    assert proxy.log.count(" refused: ") == 1
    assert front.handshakes <= 1 + took_s / 0.4, "one for each interval between probes"
    assert upstream.seen == []
    assert collector.wait_for(10)
    assert {message.type for message in collector.of_type(None)} == {"CQ", "CR"}, "nothing was sent"


def test_a_pin_that_fits_will_do(
    start_proxy: StartProxy, upstream: HostileUpstream, certificates: Certificates
) -> None:
    issued = certificates.authority.issue_cert(NAME, ADDRESS)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.configure_cert(context)
    pin = pin_of(ssl.PEM_cert_to_DER_cert(issued.cert_chain_pems[0].bytes().decode()))
    with TlsFront(upstream.port, context) as front:
        pins = [base64.b64encode(one).decode() for one in (bytes(32), pin)]
        proxy = start_proxy(dot(front, certificates, pins=pins, server_name=NAME))
        assert ask(wire.query("www.example.org"), proxy.port).rcode() == 0


@pytest.mark.parametrize("written", ["address", "key"])
def test_the_name_in_the_certificate_can_be_given(
    start_proxy: StartProxy, upstream: HostileUpstream, certificates: Certificates, written: str
) -> None:
    with TlsFront(upstream.port, certificates.good(NAME)) as front:
        address = f"tls://127.0.0.1%{NAME}:{front.port}" if written == "address" else f"tls://{front.address}"
        key = {} if written == "address" else {"server_name": NAME}
        proxy = start_proxy(forward(address, ca=certificates.ca, timeout=TIMEOUT, **key))
        assert ask(wire.query("www.example.org"), proxy.port).rcode() == 0


def test_a_handshake_that_stalls_delays_answers_by_a_part_of_the_timeout(
    start_proxy: StartProxy, upstream: HostileUpstream, front: TlsFront, certificates: Certificates
) -> None:
    good, front.context = front.context, None
    proxy = start_proxy(dot(front, certificates))
    with udp_socket(proxy.port) as client:
        client.send(wire.query("www.example.org"))
        wait_until(lambda: bool(front._open), "the stalled connection")
        front.context = good
        (answer,) = answers(client, 1)
    assert wire.rcode(answer) == 0
    assert len(upstream.seen_for("www")) == 1


def test_when_all_handshakes_stall_the_client_is_told_in_time(
    start_proxy: StartProxy, upstream: HostileUpstream, front: TlsFront, certificates: Certificates
) -> None:
    front.context = None
    proxy = start_proxy(dot(front, certificates, timeout="300ms", deadline="1s"))
    began = time.monotonic()
    answer = ask(wire.query("www.example.org", edns=True), proxy.port)
    assert time.monotonic() - began < 1.5
    assert (answer.rcode(), (wire.ede(answer) or (0, ""))[0]) == (2, NO_REACHABLE_AUTHORITY)
    assert sum(one.fileno() >= 0 for one in front._open) <= 4


def test_an_upstream_that_closes_amid_an_answer_is_asked_again(
    start_proxy: StartProxy,
    upstream: HostileUpstream,
    front: TlsFront,
    certificates: Certificates,
    collector: Collector,
) -> None:
    def half(asked: Asked) -> None:
        asked.write(b"\0\x40" + asked.wire[:20])
        asked.close()

    upstream.on("half", half, behaviours.answer)
    proxy = start_proxy(dnstap(to=collector, extra="{/forward/attempts}") + dot(front, certificates))
    ask(wire.query("first.example.org"), proxy.port)
    assert ask(wire.query("half.example.org"), proxy.port).rcode() == 0
    messages = collector.wait_about("half", 5)
    assert [message.type for message in messages] == ["CQ", "FQ", "FQ", "FR", "CR"]
    assert [message.query_message for message in messages[1:3]] == [one.wire for one in upstream.seen_for("half")]
    assert messages[-1].extra == "1", "a lost connection is no attempt"


def test_connections_are_closed_when_idle_and_replaced_when_old(
    start_proxy: StartProxy, upstream: HostileUpstream, front: TlsFront, certificates: Certificates
) -> None:
    proxy = start_proxy(dot(front, certificates, idle_timeout="300ms", max_age="600ms"))
    ask(wire.query("first.example.org"), proxy.port)
    began = time.monotonic()
    wait_until(lambda: upstream.open_connections == 0, "closed when idle")
    assert 0.2 <= time.monotonic() - began <= 1.8
    end = time.monotonic() + 1.3
    while time.monotonic() < end:
        ask_many(proxy.port, 1)
        time.sleep(0.05)
    assert 3 <= upstream.connections_made <= 5  # the first one, and one each 540 to 600 ms


def test_queries_come_from_the_address_that_is_asked_for(
    start_proxy: StartProxy,
    upstream: HostileUpstream,
    front: TlsFront,
    certificates: Certificates,
    collector: Collector,
) -> None:
    proxy = start_proxy(dnstap(to=collector) + dot(front, certificates, source_address=["127.0.0.9"]))
    assert ask(wire.query("www.example.org"), proxy.port).rcode() == 0
    assert collector.wait_about("www", 4)[1].query_address == "127.0.0.9"


def test_udp_and_tcp_queries_come_from_the_address_that_is_asked_for(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    for scheme in ("udp", "tcp"):
        proxy = start_proxy(forward(f"{scheme}://{upstream.address}", source_address=["127.0.0.9", "::1"]))
        assert ask(wire.query(f"{scheme}.example.org"), proxy.port).rcode() == 0
        assert [one.source[0] for one in upstream.seen_for(scheme)] == ["127.0.0.9"]


def test_a_mark_that_may_not_be_set_is_told_once_and_the_attempts_fail(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    without = ["setpriv", "--bounding-set=-net_admin,-net_raw", "--inh-caps=-net_admin,-net_raw"]
    to = [f"{scheme}://{upstream.address}" for scheme in ("udp", "tcp")]
    proxy = start_proxy(forward(*to, mark=9), prefix=without if os.geteuid() == 0 else ())
    for number in range(3):
        assert ask(wire.query(f"n{number}.example.org"), proxy.port).rcode() == 2
    assert upstream.seen == []
    assert proxy.log.count("mark = 9 cannot be set: Operation not permitted") == 1


def test_a_reload_keeps_connections_unless_a_pem_file_was_written_again(
    start_proxy: StartProxy, upstream: HostileUpstream, front: TlsFront, certificates: Certificates, tmp_path: Path
) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(Path(certificates.ca).read_bytes())
    proxy = start_proxy(dot(front, certificates, ca=str(ca)))
    assert ask(wire.query("before.example.org"), proxy.port).rcode() == 0
    proxy.process.send_signal(signal.SIGHUP)
    wait_until(lambda: proxy.log.count("reload: done") == 1, "the first reload")
    assert ask(wire.query("kept.example.org"), proxy.port).rcode() == 0
    assert upstream.connections_made == 1
    certificates.stranger.cert_pem.write_to_path(str(ca))
    proxy.process.send_signal(signal.SIGHUP)
    wait_until(lambda: proxy.log.count("reload: done") == 2, "the second reload")
    assert ask(wire.query("after.example.org"), proxy.port).rcode() == 2
    proxy.wait_for_log("refused: unknown issuer\n")


def test_a_pem_file_that_is_missing_is_a_configuration_error(tmp_path: Path) -> None:
    (line,) = config_errors(tmp_path, forward("tls://127.0.0.1", ca=str(tmp_path / "missing.pem")))
    assert "[forward.ca]" in line or "[forward[0].ca]" in line
