"""The `policy` field: whatever blocks, rewrites or refuses says by which rule, in the answer that it is about."""

import struct
from pathlib import Path

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import TcpClient, ask, exchange
from tests.support.collector import Collector
from tests.support.packages import install_package
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

RULES = '''
"""Blocks, rewrites and passes by name, and says by which rule."""

from dataclasses import dataclass

import dns.message
import dns.rrset

from dnsproxy.errors import NXDOMAIN
from dnsproxy.message import Policy, Response
from dnsproxy.plugin import Plugin, Stage


class Rules(Plugin):
    stage = Stage.GUARD

    @dataclass(frozen=True)
    class Config:
        pass

    async def handle(self, query):
        word = query.name.partition(".")[0]
        if word == "blocked":
            answer = query.respond(NXDOMAIN)
            answer.policy = Policy("RPZ", b"\\7blocked\\3rpz\\0", "NXDOMAIN", "QNAME", b"blocked.example.org.")
            return answer
        if word == "local":
            message = dns.message.make_response(query.message)
            message.answer.append(dns.rrset.from_text(query.name, 5, "IN", "A", "192.0.2.99"))
            return Response.from_message(message, Policy(type="hosts", action="LOCAL_DATA"))
        if word == "client":
            answer = query.respond(5)
            address = bytes(map(int, query.client.host.split(".")))
            answer.policy = Policy("acl", b"guests", None, "CLIENT_IP", address)
            return answer
        answer = await self.next(query)
        if word == "rewritten":
            return Response(answer.wire, Policy(rule=b"as it was", action="PASS", match="RESPONSE_IP"))
        return answer
'''


def test_what_max_concurrent_turns_away_says_so(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector
) -> None:
    upstream.on("held", behaviours.hold)
    tap = dnstap(to=collector, extra="{/policy/rule}")
    proxy = start_proxy(tap + forward(upstream, max_concurrent=1, timeout="3s", deadline="4s"))
    with TcpClient(proxy.port) as client:
        client.send(wire.query("held.example.org", id=1))
        upstream.wait_for(1, "held")
        client.send(wire.query("turned.away.example.org", id=2))
        refused = client.receive()
        assert (struct.unpack_from("!H", refused)[0], wire.rcode(refused)) == (2, wire.REFUSED)
        upstream.release()
        client.receive()
    query, answer = collector.wait_about("turned", 2)
    assert answer.policy_fields.items() >= {("type", b"forward"), ("rule", b"max_concurrent")}
    assert query.policy is None
    assert (query.extra, answer.extra) == ("-", "max_concurrent")
    assert all(message.policy is None for message in collector.wait_about("held", 4)), "others have none"


def test_plugins_attach_all_five_fields(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    environment = install_package(tmp_path / "site", "rules", RULES, {"rules": "Rules"})
    body = "[rules]\n" + dnstap(to=collector, extra="{/policy/rule}") + forward(upstream)
    proxy = start_proxy(body, environment=environment)
    exchange(wire.query("blocked.example.org"), proxy.port)
    assert wire.addresses(ask(wire.query("local.example.org"), proxy.port)) == ["192.0.2.99"]
    exchange(wire.query("rewritten.example.org"), proxy.port)
    exchange(wire.query("plain.example.org"), proxy.port)
    fields = {label: collector.wait_about(label, 2 if label in ("blocked", "local") else 4) for label in EXPECTED}
    for label, expected in EXPECTED.items():
        messages = fields[label]
        assert messages[-1].type == "CR"
        assert messages[-1].policy_fields == expected
        assert all(message.policy is None for message in messages[:-1])
    assert fields["rewritten"][-1].extra == "as it was"
    assert fields["plain"][-1].extra == "-"


EXPECTED: dict[str, dict[str, object]] = {
    "blocked": {
        "type": b"RPZ",
        "rule": b"\7blocked\3rpz\0",
        "action": "NXDOMAIN",
        "match": "QNAME",
        "value": b"blocked.example.org.",
    },
    "local": {"type": b"hosts", "action": "LOCAL_DATA"},
    "rewritten": {"rule": b"as it was", "action": "PASS", "match": "RESPONSE_IP"},
    "plain": {},
}


def test_what_a_policy_matched_is_not_betrayed_to_a_tap_that_may_not_know_it(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, tmp_path: Path
) -> None:
    environment = install_package(tmp_path / "site", "rules", RULES, {"rules": "Rules"})
    masked = dnstap(to=collector, name="masked", identity="masked", anonymize={"ipv4": 16, "ipv6": 48})
    masked += dnstap(to=collector, name="nameless", identity="nameless", qname="drop")
    body = "[rules]\n" + masked + dnstap(to=collector, name="open", identity="open") + forward(upstream)
    proxy = start_proxy(body, environment=environment)
    exchange(wire.query("client.example.org"), proxy.port, source="127.9.7.77")
    exchange(wire.query("blocked.example.org"), proxy.port, source="127.9.7.77")
    collector.wait_for(12)
    seen, _ = [one for one in collector.of("open") if one.type == "CR"]
    hidden, _ = [one for one in collector.of("masked") if one.type == "CR"]
    _, nameless = [one for one in collector.of("nameless") if one.type == "CR"]
    assert seen.policy_fields["value"] == bytes((127, 9, 7, 77))
    assert hidden.policy_fields["rule"] == b"guests"
    assert bytes((127, 9, 7, 77)) not in hidden.frame
    assert nameless.policy_fields["type"] == b"RPZ"
    assert b"blocked.example" not in nameless.frame
