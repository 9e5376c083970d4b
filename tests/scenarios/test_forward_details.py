"""What upstreams are asked beside the question: taps show the octets as they went, clients see none of it."""

import time
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.authority import Authority
from tests.support.behaviours import answer_wire
from tests.support.client import exchange, exchange_tcp
from tests.support.collector import Collector
from tests.support.tls_front import TlsFront
from tests.support.toml import dnstap, forward, stanza
from tests.support.upstream import Asked, HostileUpstream
from tests.support.wire import COOKIE, ECS

PADDING = 12
NAME = "www.a-name-with-many-letters.example.org"
SERVER_COOKIE = b"the server's one"
EVERYTHING = {"edns_size": 1232, "ecs": {"ipv4": 24, "ipv6": 56}, "qname_case": "0x20", "cookies": True}


def sent_options(octets: bytes) -> dict[int, bytes]:
    return dict(wire.options(octets))


def with_cookie(asked: Asked) -> None:
    """The answer, with the subnet echoed for all of it and a cookie."""
    sent = sent_options(asked.wire)
    options = b""
    if COOKIE in sent:
        options += wire.option(COOKIE, sent[COOKIE][:8] + SERVER_COOKIE)
    if ECS in sent:
        options += wire.option(ECS, sent[ECS][:3] + sent[ECS][2:3] + sent[ECS][4:])
    asked.reply(answer_wire(asked.wire, options=options))


def bad_cookie(asked: Asked) -> None:
    """BADCOOKIE as long as the query does not bear ours."""
    sent = sent_options(asked.wire)[COOKIE]
    if sent[8:] == SERVER_COOKIE:
        with_cookie(asked)
        return
    answer = bytearray(answer_wire(asked.wire, options=wire.option(COOKIE, sent[:8] + SERVER_COOKIE)))
    answer[3] |= 7
    answer[-28 - 6] = 1
    asked.reply(bytes(answer))


@pytest.mark.parametrize("edns", [False, True])
def test_taps_show_what_was_sent_and_received_and_clients_see_their_own(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, edns: bool
) -> None:
    upstream.default = with_cookie
    proxy = start_proxy(dnstap(to=collector) + forward(upstream, **EVERYTHING))
    asked = wire.query(NAME, id=7, edns=edns, size=4096)
    answer = exchange(asked, proxy.port)
    cq, fq, fr, cr = collector.wait_about("www", 4)
    assert answer == answer_wire(asked)
    assert (cq.wire, cr.wire) == (asked, answer)
    assert (fq.wire, fr.wire) == (upstream.seen[0].wire, upstream.sent[0])
    assert fq.wire is not None
    assert fq.wire[12:54] != asked[12:54], "41 letters in the client's case are no accident"
    sent = sent_options(fq.wire)
    assert sent[ECS] == wire.ecs("127.0.0.0", 24)[1]
    assert len(sent[COOKIE]) == 8
    assert wire.opt_record(size=1232)[:5] in fq.wire


def test_the_next_query_bears_the_upstreams_cookie_by_tcp_too(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    upstream.default = with_cookie
    proxy = start_proxy(forward(upstream, cookies=True))
    own = wire.query("second.example.org", options=[(COOKIE, b"theirown")])
    exchange(wire.query("first.example.org"), proxy.port)
    exchange(own, proxy.port)
    assert wire.options(exchange_tcp(own, proxy.port)) == []
    first, *others = [sent_options(one.wire)[COOKIE] for one in upstream.seen]
    assert [one.protocol for one in upstream.seen] == ["UDP", "UDP", "TCP"]
    assert others == [first + SERVER_COOKIE] * 2


def test_badcookie_is_an_attempt_and_the_client_never_hears_of_it(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.default = bad_cookie
    proxy = start_proxy(dnstap(to=collector, extra="{/forward/attempt}") + forward(upstream, cookies=True))
    asked = wire.query("www.example.org", id=7)
    assert exchange(asked, proxy.port) == answer_wire(asked)
    messages = collector.wait_about("www", 6)
    assert [(one.type, one.extra) for one in messages][1:-1] == [("FQ", "1"), ("FR", "1"), ("FQ", "2"), ("FR", "2")]


def test_an_upstream_that_lower_cases_is_asked_without_after_three(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    upstream.default = behaviours.lower_case
    proxy = start_proxy(forward(upstream, qname_case="0x20", timeout="300ms", deadline="2s"))
    asked = wire.query(NAME, id=7)
    started = time.monotonic()
    for _ in range(3):
        assert wire.rcode(exchange(asked, proxy.port)) == 0
    assert time.monotonic() - started > 3 * 0.25, "each might have been a forged one"
    proxy.wait_for_log("changes the case of questions")
    seen = len(upstream.seen)
    assert exchange(asked, proxy.port) == answer_wire(asked)
    (last,) = upstream.seen[seen:]
    assert last.wire[12:54] == asked[12:54]
    (status,) = proxy.status()["upstreams"]
    assert (status["mismatches"], status["state"]) == (3, "up")


def test_a_kept_answer_is_for_clients_of_its_subnet(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    upstream.default = with_cookie
    proxy = start_proxy(stanza("[cache]", {}) + forward(upstream, ecs={"ipv4": 24}))
    asked = wire.query("www.example.org", id=7)
    for client in ("127.0.0.1", "127.0.0.9", "127.0.1.9", "127.0.1.1"):
        assert exchange(asked, proxy.port, source=client) == answer_wire(asked)
    sent = [sent_options(one.wire)[ECS] for one in upstream.seen]
    assert sent == [wire.ecs("127.0.0.0", 24)[1], wire.ecs("127.0.1.0", 24)[1]]


def test_a_clients_subnet_can_be_kept_from_leaving(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    proxy = start_proxy(forward(upstream, ecs="strip"))
    asked = wire.query("www.example.org", id=7, options=[wire.ecs("192.0.2.7", 32)])
    exchange(asked, proxy.port)
    (seen,) = upstream.seen
    assert wire.options(seen.wire) == []
    assert len(seen.wire) == len(asked) - 12


@pytest.mark.parametrize("edns", [False, True])
def test_what_goes_out_encrypted_is_padded_and_nobody_else_sees_that(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path, edns: bool
) -> None:
    certificates = Authority(tmp_path)
    upstream.default = behaviours.with_option(PADDING, bytes(300))
    with TlsFront(upstream.port, certificates.server()) as front:
        to = f"tls://{front.address}"
        proxy = start_proxy(dnstap(to=collector) + forward(to, ca=certificates.ca, timeout="2s", deadline="4s"))
        asked = wire.query("www.example.org", id=7, edns=edns)
        answer = exchange(asked, proxy.port)
        assert answer == answer_wire(asked)
        cq, fq, fr, cr = collector.wait_about("www", 4)
        proxy.stop()
    assert (cq.wire, cr.wire) == (asked, answer)
    assert (fq.wire, fr.wire) == (upstream.seen[0].wire, upstream.sent[0])
    assert fq.wire is not None
    assert len(fq.wire) == 128
    assert PADDING in sent_options(fq.wire)
