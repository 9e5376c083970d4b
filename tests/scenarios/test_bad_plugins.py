"""The contract for plugins, held by those that break it: each fails its own query, loudly, and nobody else's."""

import time
from collections.abc import Iterator

import dns.message
import dns.rcode
import pytest

from tests.support import wire
from tests.support.client import TcpClient, answers, ask, exchange, exchange_tcp, udp_socket
from tests.support.collector import Collector
from tests.support.packages import install_package
from tests.support.proxy import Proxy
from tests.support.shared import shared_collector, shared_upstream
from tests.support.toml import dnstap, forward
from tests.support.upstream import HostileUpstream

# Each plugin meets the queries that have its name as a label, and passes the others on.
SOURCE = """
import dataclasses
import socket
import threading

import trio

from dnsproxy.flight import Waiter
from dnsproxy.plugin import Observer, Plugin, Stage


class Bad(Plugin):
    stage = Stage.LOCAL

    @dataclasses.dataclass(frozen=True)
    class Config:
        pass

    def handle(self, query):
        if self.label in query.name.split("."):
            return self.misbehave(query)
        return self.next(query)


class Scope(Bad):
    label = "badscope"

    async def misbehave(self, query):
        with trio.move_on_after(0.01):
            return await self.next(query)


class Nursery(Bad):
    label = "badnursery"

    async def misbehave(self, query):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 0)
        return await self.next(query)


class Lock(Bad):
    label = "badlock"

    async def misbehave(self, query):
        async with trio.Lock():
            return await self.next(query)


class Event(Bad):
    label = "badevent"

    async def misbehave(self, query):
        await trio.Event().wait()


class Sleep(Bad):
    label = "badsleep"

    async def misbehave(self, query):
        await trio.sleep(0.01)
        return await self.next(query)


class Thread(Bad):
    label = "badthread"

    async def misbehave(self, query):
        await trio.to_thread.run_sync(threading.get_ident)
        return await self.next(query)


class Socket(Bad):
    label = "badsocket"

    async def misbehave(self, query):
        with trio.socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
            await own.bind(("127.0.0.1", 0))
            await own.recv(1)


class Nonsense(Bad):
    label = "badnonsense"

    def misbehave(self, query):
        return "nonsense"


class AsyncNonsense(Bad):
    label = "badasyncnonsense"

    async def misbehave(self, query):
        return {"rcode": 0}


class Raises(Bad):
    label = "badraises"

    def misbehave(self, query):
        raise RuntimeError("on purpose")


class RaisesLater(Bad):
    label = "badraiseslater"

    async def misbehave(self, query):
        await self.next(query)
        raise RuntimeError("on purpose, later")


class ForeignAwait(Bad):
    label = "badawait"

    async def misbehave(self, query):
        class Foreign:
            def __await__(self):
                yield "what is this"

        await Foreign()


class Spinner(Bad):
    label = "badspinner"

    async def misbehave(self, query):
        class Forever:
            def __await__(self):
                while True:
                    yield None

        await Forever()


class Stubborn(Bad):
    label = "badstubborn"

    async def misbehave(self, query):
        class Deaf:
            def __await__(self):
                for _ in range(5):
                    try:
                        yield None
                    except BaseException:
                        pass

        await Deaf()


class Exits(Bad):
    label = "badexits"

    def misbehave(self, query):
        raise SystemExit("on purpose")


class Never(Bad):
    label = "badnever"

    async def misbehave(self, query):
        return await Waiter()


class Watcher(Observer):
    @dataclasses.dataclass(frozen=True)
    class Config:
        pass

    def on_query(self, query):
        if "badwatcher" in query.name:
            raise RuntimeError("in on_query")

    def on_response(self, query, response):
        if "badwatcher" in query.name:
            raise RuntimeError("in on_response")
"""

PLUGINS = {
    "badscope": "Scope",
    "badnursery": "Nursery",
    "badlock": "Lock",
    "badevent": "Event",
    "badsleep": "Sleep",
    "badthread": "Thread",
    "badsocket": "Socket",
    "badnonsense": "Nonsense",
    "badasyncnonsense": "AsyncNonsense",
    "badraises": "Raises",
    "badraiseslater": "RaisesLater",
    "badawait": "ForeignAwait",
    "badspinner": "Spinner",
    "badstubborn": "Stubborn",
    "badexits": "Exits",
    "badnever": "Never",
}


upstream = shared_upstream()
collector = shared_collector()


@pytest.fixture(scope="module")
def proxy(upstream: HostileUpstream, collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    folder = tmp_path_factory.mktemp("proxy")
    found = install_package(folder / "site", "bad_plugins", SOURCE, {**PLUGINS, "badwatcher": "Watcher"})
    stanzas = "".join(f"[{name}]\n" for name in (*PLUGINS, "badwatcher"))
    body = stanzas + dnstap(to=collector) + forward(upstream)
    with Proxy(folder, body, environment=found, may_trace=True) as running:
        yield running


@pytest.mark.parametrize("tcp", [False, True], ids=["udp", "tcp"])
@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_bad_handle_costs_its_own_query_and_nothing_else(
    proxy: Proxy, collector: Collector, plugin: str, tcp: bool
) -> None:
    send = exchange_tcp if tcp else exchange
    name = f"{'tcp' if tcp else 'udp'}.{plugin}.example.org"
    started = time.monotonic()
    answer = dns.message.from_wire(send(wire.query(name), proxy.port))
    assert answer.rcode() == dns.rcode.SERVFAIL
    assert time.monotonic() - started < 6, "the deadline, at the latest"
    assert collector.wait_about(plugin, 2)[0].type == "CQ"
    proxy.wait_for_log(rf"plugin (\w+ or )*{plugin}( or \w+)* (failed|gave) ")
    for number in range(20):
        assert wire.rcode(send(wire.query(f"after{number}.example.org"), proxy.port)) == 0


def test_all_at_once_they_harm_no_neighbour(proxy: Proxy) -> None:
    with udp_socket(proxy.port) as client, TcpClient(proxy.port) as stream:
        proxy.pause()
        for id, plugin in enumerate(PLUGINS):
            client.send(wire.query(f"once.{plugin}.example.org", id=1000 + id))
            client.send(wire.query(f"good{id}.example.org", id=id))
            stream.send(
                wire.query(f"once.{plugin}.example.org", id=1000 + id), wire.query(f"fine{id}.example.org", id=id)
            )
        proxy.proceed()
        for found in (answers(client, 2 * len(PLUGINS)), stream.receive_all(2 * len(PLUGINS))):
            rcodes = {wire.message_id(answer): wire.rcode(answer) for answer in found}
            assert all(rcodes[id] == 0 for id in range(len(PLUGINS)))
            assert all(rcodes[1000 + id] == wire.SERVFAIL for id in range(len(PLUGINS)))


def test_an_observer_that_raises_changes_no_answer_and_is_logged_once(proxy: Proxy, collector: Collector) -> None:
    for number in range(5):
        answer = ask(wire.query(f"w{number}.badwatcher.example.org"), proxy.port)
        assert wire.addresses(answer) == ["192.0.2.1"]
    collector.wait_about("badwatcher", 20)
    proxy.wait_for_log("badwatcher")
    for hook in ("on_query", "on_response"):
        assert proxy.log.count(f"RuntimeError: in {hook}\n") == 1


def test_nothing_of_it_is_left_in_flight(proxy: Proxy) -> None:
    status = proxy.wait_for_status(lambda now: not any(one["in_flight"] for one in now["upstreams"]), "all is quiet")
    assert all(one["queries"] == one["responses"] for one in status["listeners"])
