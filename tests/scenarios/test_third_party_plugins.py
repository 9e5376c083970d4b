"""Somebody else's plugins: in their own package, found through their entry points, written by the guide."""

from pathlib import Path

import dns.message
import dns.rcode
import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.client import ask, exchange, exchange_tcp
from tests.support.collector import Collector
from tests.support.packages import install_package
from tests.support.proxy import run_dnsproxy
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

BLOCKER = '''
"""Refuses names under some zones."""

from dataclasses import dataclass

import dns.rcode

from dnsproxy.plugin import Plugin, Stage


class Blocker(Plugin):
    stage = Stage.GUARD

    @dataclass(frozen=True)
    class Config:
        names: tuple[str, ...]

    def handle(self, query):
        if any(query.name.endswith(name) for name in self.stanzas[0].names):
            query.metadata["blocker/rule"] = query.name
            return query.respond(dns.rcode.NXDOMAIN)
        return self.next(query)
'''

WHOAMI = '''
"""Answers TXT with what it knows about the client, by dnspython, after some work in a trio task."""

from dataclasses import dataclass

import dns.message
import dns.rrset
import trio

from dnsproxy.message import Response
from dnsproxy.plugin import Plugin, Stage


class Whoami(Plugin):
    stage = Stage.LOCAL

    @dataclass(frozen=True)
    class Config:
        name: str = "whoami.example.org."

    async def handle(self, query):
        if query.name != self.stanzas[0].name:
            return await self.next(query)
        await query.run(trio.sleep, 0.01)
        answer = dns.message.make_response(query.message)
        text = f'"{query.client.host} {query.protocol} {query.id}"'
        answer.answer.append(dns.rrset.from_text(query.name, 5, "IN", "TXT", text))
        return Response.from_message(answer)
'''

TAP = '''
"""A tap that counts upstream messages, and sends one of its own for each."""

from dataclasses import dataclass

from dnsproxy.dnstap.events import Event, Route
from dnsproxy.dnstap.schema import MessageType
from dnsproxy.plugin import Plugin, Stage, Tap


class Counter(Plugin, Tap):
    stage = Stage.OBSERVE
    queries = responses = 0

    @dataclass(frozen=True)
    class Config:
        pass

    def bind(self, plugins, server):
        self.taps = [one for one in plugins if isinstance(one, Tap) and one is not self]

    def forwarder_query(self, event):
        self.queries += 1
        route = Route.of("UDP", event.query.client, event.query.local)
        for tap in self.taps:
            tap.emit(Event.of(MessageType.TOOL_QUERY, route, event.query_wire, query=event.query))

    def forwarder_response(self, event):
        self.responses += 1

    def status(self):
        return {"queries": self.queries, "responses": self.responses}
'''


@pytest.fixture
def site(tmp_path: Path) -> dict[str, str]:
    """The environment in which three packages of other people are installed."""
    folder = tmp_path / "site"
    install_package(folder, "blocker_plugin", BLOCKER, {"blocker": "Blocker"})
    install_package(folder, "whoami_plugin", WHOAMI, {"whoami": "Whoami"})
    return install_package(folder, "counter_plugin", TAP, {"counter": "Counter"})


def test_a_plugin_answers_by_itself_and_leaves_metadata_for_taps(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, site: dict[str, str]
) -> None:
    tap = dnstap(to=collector, extra="{/blocker/rule}")
    proxy = start_proxy('[blocker]\nnames = [".blocked.test."]\n' + tap + forward(upstream), environment=site)
    assert ask(wire.query("www.blocked.test"), proxy.port).rcode() == dns.rcode.NXDOMAIN
    assert ask(wire.query("www.example.org"), proxy.port).rcode() == 0
    blocked = collector.wait_about("blocked", 2)
    assert [(one.type, one.extra) for one in blocked] == [("CQ", "-"), ("CR", "www.blocked.test.")]
    assert not [one for one in upstream.seen if one.qname.endswith("blocked.test")]


def test_a_plugin_may_do_async_work_and_answer_with_dnspython(
    start_proxy: StartProxy, upstream: HostileUpstream, site: dict[str, str]
) -> None:
    proxy = start_proxy("[whoami]\n" + forward(upstream), environment=site)
    asked = wire.query("WhoAmI.example.org", "TXT", id=77)
    assert wire.txt(dns.message.from_wire(exchange(asked, proxy.port))) == ["127.0.0.1 UDP 77"]
    assert wire.txt(dns.message.from_wire(exchange_tcp(asked, proxy.port))) == ["127.0.0.1 TCP 77"]
    assert ask(wire.query("www.example.org"), proxy.port).rcode() == 0


def test_a_plugin_may_be_a_tap_and_speak_to_taps(
    start_proxy: StartProxy, upstream: HostileUpstream, collector: Collector, site: dict[str, str]
) -> None:
    proxy = start_proxy("[counter]\n" + dnstap(to=collector) + forward(upstream), environment=site)
    for number in range(3):
        exchange(wire.query(f"t{number}.counted.example.org"), proxy.port)
    messages = collector.wait_about("counted", 15)
    found = [message.type for message in messages]
    assert {type: found.count(type) for type in found} == {"CQ": 3, "FQ": 3, "TQ": 3, "FR": 3, "CR": 3}
    own = next(message for message in messages if message.type == "TQ")
    assert (own.response_address, own.response_port) == ("127.0.0.1", proxy.port)
    assert proxy.status()["plugins"]["counter"] == {"queries": 3, "responses": 3}


def test_plugins_lists_them_with_their_package(site: dict[str, str]) -> None:
    done = run_dnsproxy("plugins", environment=site)
    assert done.returncode == 0, done.stderr
    for name in ("forward", "dnstap", "records", "blocker", "whoami", "counter"):
        assert name in done.stdout
    one = run_dnsproxy("plugins", "blocker", environment=site)
    assert "blocker_plugin" in one.stdout
    assert "names" in one.stdout


def test_a_wrong_option_of_theirs_is_an_error_with_its_line(tmp_path: Path, site: dict[str, str]) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text("[blocker]\nnames = 7\nnme = 8\n")
    done = run_dnsproxy("--config", str(config), "--check", environment=site)
    assert done.returncode == 2
    assert f"{config}:2: [blocker.names]" in done.stderr
    assert f"{config}:3: [blocker.nme]" in done.stderr
