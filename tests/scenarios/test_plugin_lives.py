"""Plugins that fail before their first query or beside them: a start is one line, and a reload changes nothing."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.client import ask, exchange
from tests.support.packages import install_package
from tests.support.proxy import Proxy
from tests.support.toml import forward
from tests.support.upstream import HostileUpstream

WWW = wire.query("www.example.org")

SOURCE = """
import dataclasses
import sys

import trio

from dnsproxy.plugin import Plugin, Tap


class Ill(Plugin):
    @dataclasses.dataclass(frozen=True)
    class Config:
        pass


class InInit(Ill):
    def __init__(self, stanzas):
        raise ValueError("on purpose")


class InBind(Ill):
    def bind(self, plugins, server):
        sys.exit("on purpose")


class Early(Ill):
    async def run(self, *, task_status):
        raise OSError("on purpose")


class Bare(Ill):
    async def run(self):
        raise AssertionError("on purpose")


class Late(Ill):
    async def run(self, *, task_status):
        task_status.started()
        sys.exit("on purpose")


class Idle(Ill):
    async def run(self, *, task_status):
        pass


class Endless(Ill):
    async def run(self, *, task_status):
        print("endless begins", file=sys.stderr)
        await trio.sleep_forever()


class Mute(Ill):
    def describe(self):
        sys.exit("on purpose")

    def status(self):
        return 7


class BadTap(Ill, Tap):
    def forwarder_query(self, event):
        raise ValueError("on purpose")

    def emit(self, event):
        raise ValueError("on purpose")


class Teller(Ill):
    def bind(self, plugins, server):
        self.taps = [plugin for plugin in plugins if isinstance(plugin, Tap)]

    def handle(self, query):
        for tap in self.taps:
            tap.emit(None)
        return self.next(query)
"""

PLUGINS = {
    "ininit": "InInit",
    "inbind": "InBind",
    "early": "Early",
    "bare": "Bare",
    "late": "Late",
    "idle": "Idle",
    "endless": "Endless",
    "mute": "Mute",
    "badtap": "BadTap",
    "teller": "Teller",
}
UNABLE = ("ininit", "inbind", "early", "bare")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return install_package(tmp_path_factory.mktemp("site"), "ill_plugins", SOURCE, PLUGINS)


@pytest.fixture(scope="module")
def upstream() -> Iterator[HostileUpstream]:
    with HostileUpstream() as server:
        yield server


@pytest.mark.parametrize("plugin", UNABLE)
def test_a_plugin_that_cannot_start_is_one_line_that_names_it(
    tmp_path: Path, site: dict[str, str], upstream: HostileUpstream, plugin: str
) -> None:
    proxy = Proxy(tmp_path, f"[{plugin}]\n[idle]\n" + forward(upstream), environment=site)
    proxy.launch()
    assert proxy.wait() == 1
    assert proxy.log.startswith(f"dnsproxy: plugin {plugin} cannot start: ")
    assert proxy.log.count("\n") == 1


@pytest.mark.parametrize("plugin", UNABLE)
def test_a_reload_that_brings_such_a_plugin_changes_nothing(
    start_proxy: StartProxy,
    site: dict[str, str],
    upstream: HostileUpstream,
    second_upstream: HostileUpstream,
    plugin: str,
) -> None:
    proxy = start_proxy(forward(upstream), environment=site)
    bad = f"[{plugin}]\n" + forward(second_upstream)
    proxy.config.write_text(proxy.config.read_text().replace(forward(upstream), bad))
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_for_log(rf"(?s)plugin {plugin} cannot start: .*reload: nothing changed")
    assert wire.addresses(ask(WWW, proxy.port)) == ["192.0.2.1"]
    assert len(proxy.status()["upstreams"]) == 1, "nothing of it stays leased"
    proxy.reload("[idle]\n" + forward(second_upstream))
    assert wire.addresses(ask(WWW, proxy.port)) == ["192.0.2.2"]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT])
def test_a_plugin_that_takes_for_ever_to_start_does_not_keep_the_proxy_from_ending(
    tmp_path: Path, site: dict[str, str], upstream: HostileUpstream, ending: signal.Signals
) -> None:
    proxy = Proxy(tmp_path, "[endless]\n" + forward(upstream), environment=site)
    proxy.launch()
    proxy.wait_for_log("endless begins")
    proxy.process.send_signal(ending)
    assert proxy.wait() == 0
    assert "Traceback" not in proxy.log


def test_nor_does_one_that_a_reload_brings(
    start_proxy: StartProxy, site: dict[str, str], upstream: HostileUpstream
) -> None:
    proxy = start_proxy(forward(upstream), environment=site)
    proxy.config.write_text(proxy.config.read_text().replace(forward(upstream), "[endless]\n" + forward(upstream)))
    proxy.process.send_signal(signal.SIGHUP)
    proxy.wait_for_log("endless begins")
    assert wire.addresses(ask(WWW, proxy.port)) == ["192.0.2.1"], "the old chain serves meanwhile"
    proxy.stop()


def test_what_fails_beside_the_queries_costs_no_query(
    start_proxy: StartProxy, site: dict[str, str], upstream: HostileUpstream
) -> None:
    proxy = start_proxy("[late]\n[idle]\n[mute]\n" + forward(upstream), environment=site, may_trace=True)
    proxy.wait_for_log("plugin late: its background work has ended")
    proxy.wait_for_log("plugin mute cannot be described")
    assert wire.rcode(exchange(WWW, proxy.port)) == 0
    assert "mute" not in proxy.status()["plugins"]
    proxy.wait_for_log("plugin mute: its status cannot be taken")


def test_a_tap_that_raises_is_counted_and_changes_neither_an_answer_nor_who_tells_it(
    start_proxy: StartProxy, site: dict[str, str], upstream: HostileUpstream
) -> None:
    proxy = start_proxy("[badtap]\n[teller]\n" + forward(upstream), environment=site, may_trace=True)
    for number in range(3):
        assert wire.addresses(ask(wire.query(f"{number}.example.org"), proxy.port)) == ["192.0.2.1"]
    status = proxy.status()
    assert (status["observer_failures"], status["failures"]) == (6, 0)
    assert proxy.log.count("plugin badtap failed while watching (logged once)") == 2
