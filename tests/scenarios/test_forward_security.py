"""Spoofing and cross-talk: what a reply must look like, where queries come from, and who shares an answer."""

import itertools
import time
from collections.abc import Iterator

import dns.message
import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import answers, ask, exchange, udp_socket
from tests.support.proxy import Proxy
from tests.support.shared import shared_upstream
from tests.support.toml import forward
from tests.support.upstream import HostileUpstream

ECS = 8  # the EDNS Client Subnet option


upstream = shared_upstream()


@pytest.fixture(scope="module")
def proxy(upstream: HostileUpstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    body = forward(upstream, timeout="2s", deadline="4s")
    with Proxy(tmp_path_factory.mktemp("proxy"), body) as running:
        yield running


def mismatches(proxy: Proxy) -> int:
    return sum(int(one["mismatches"]) for one in proxy.status()["upstreams"])


def test_ids_and_source_ports_are_spread(proxy: Proxy, upstream: HostileUpstream) -> None:
    with udp_socket(proxy.port) as client:
        for id in range(600):
            client.send(wire.query(f"s{id}.spread.example.org", id=id))
            if id % 3 == 2:
                assert len(answers(client, 3)) == 3
    seen = upstream.seen_for("spread")
    assert len({one.source[1] for one in seen}) >= 16
    ids = [one.id for one in seen]
    assert len(set(ids)) > 550, "600 of 65 536 collide about three times"
    steps = {(after - before) & 0xFFFF for before, after in itertools.pairwise(ids)}
    assert len(steps) > 500, "no ID tells the next one"
    assert sum(one.id == int(one.qname.split(".")[0][1:]) for one in seen) < 5, "the client's ID stays here"


LIES = {
    "wrong-id": behaviours.wrong_id,
    "wrong-question": behaviours.wrong_question,
    "wrong-port": behaviours.wrong_port,
    "wrong-address": behaviours.wrong_address,
    "not-a-response": behaviours.not_a_response,
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_ignored_and_the_wait_goes_on(proxy: Proxy, upstream: HostileUpstream, lie: str) -> None:
    upstream.on(lie, behaviours.both(LIES[lie], behaviours.delay(60)))
    answer = ask(wire.query(f"{lie}.example.org"), proxy.port)
    assert wire.addresses(answer) == ["192.0.2.1"]
    assert len(upstream.seen_for(lie)) == 1


def test_wrong_ids_and_questions_are_counted(proxy: Proxy, upstream: HostileUpstream) -> None:
    before = mismatches(proxy)
    upstream.on("counted", behaviours.both(*[behaviours.wrong_id] * 3, behaviours.wrong_question, behaviours.answer))
    exchange(wire.query("counted.example.org"), proxy.port)
    assert mismatches(proxy) == before + 4


def test_after_a_mismatch_nothing_is_sent_before_the_timeout(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("guess", behaviours.times(10, behaviours.wrong_id))
    with udp_socket(proxy.port) as client:
        client.send(wire.query("guess.example.org"))
        upstream.wait_for(1, "guess")
        time.sleep(0.5)
        assert len(upstream.seen_for("guess")) == 1


def test_after_twenty_mismatches_the_question_goes_by_tcp(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("storm", behaviours.times(25, behaviours.wrong_id), behaviours.answer)
    started = time.monotonic()
    assert wire.addresses(ask(wire.query("storm.example.org"), proxy.port)) == ["192.0.2.1"]
    assert time.monotonic() - started < 1, "at once, not after the timeout"
    assert [one.protocol for one in upstream.seen_for("storm")] == ["UDP", "TCP"]


def test_identical_questions_in_flight_share_one_exchange(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("shared", behaviours.hold)
    spellings = ["shared.example.org", "SHARED.example.org", "ShArEd.ExAmPlE.oRg"]
    with udp_socket(proxy.port) as client:
        asked = {id: wire.raw_query(wire.name_to_wire(spellings[id % 3]), id=id) for id in range(50)}
        for one in asked.values():
            client.send(one)
        upstream.wait_for(1, "shared")
        time.sleep(0.2)
        upstream.release()
        found = {wire.message_id(answer): answer for answer in answers(client, 50)}
    assert len(upstream.seen_for("shared")) == 1
    assert set(found) == set(asked)
    for id, answer in found.items():
        assert answer[12 : len(asked[id])] == asked[id][12:], "each has its own spelling"
        assert wire.addresses(dns.message.from_wire(answer)) == ["192.0.2.1"]


DIFFERENT = {
    "type": wire.query("apart.type.example.org", "AAAA"),
    "class": wire.query("apart.class.example.org", qclass="CH"),
    "rd": wire.query("apart.rd.example.org", rd=False),
    "cd": wire.query("apart.cd.example.org", cd=True),
    "ad": wire.query("apart.ad.example.org", ad=True),
    "edns": wire.query("apart.edns.example.org", edns=True),
    "do": wire.query("apart.do.example.org", do=True),
    "option": wire.query("apart.option.example.org", options=[(65_001, b"x")]),
}


@pytest.mark.parametrize("what", DIFFERENT)
def test_questions_that_differ_are_asked_apart(proxy: Proxy, upstream: HostileUpstream, what: str) -> None:
    upstream.on("apart", behaviours.delay(100))
    with udp_socket(proxy.port) as client:
        client.send(wire.query(f"apart.{what}.example.org"))
        client.send(DIFFERENT[what])
        assert len(answers(client, 2)) == 2
    assert len(upstream.seen_for(what)) == 2


def test_questions_with_a_client_subnet_are_never_shared(proxy: Proxy, upstream: HostileUpstream) -> None:
    upstream.on("subnet", behaviours.delay(100))
    subnet = (ECS, b"\0\1\x18\0\xc0\0\2")
    with udp_socket(proxy.port) as client:
        for id in range(3):
            client.send(wire.query("subnet.example.org", id=id, options=[subnet]))
        assert {wire.message_id(answer) for answer in answers(client, 3)} == {0, 1, 2}
    assert len(upstream.seen_for("subnet")) == 3


def test_a_follower_whose_leader_times_out_gets_an_answer_too(
    start_proxy: StartProxy, second_upstream: HostileUpstream
) -> None:
    second_upstream.on("led", behaviours.drop, behaviours.answer)
    proxy = start_proxy(forward(second_upstream, timeout="200ms", max_attempts=1))
    with udp_socket(proxy.port) as client:
        client.send(wire.query("led.example.org", id=1))
        second_upstream.wait_for(1, "led")
        client.send(wire.query("led.example.org", id=2))
        found = {wire.message_id(answer): wire.rcode(answer) for answer in answers(client, 2, within_s=2)}
    assert found == {1: wire.SERVFAIL, 2: 0}
