"""What one configuration puts in service: its chains, their plugins' work, and their end."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import trio

from dnsproxy.chain import Chain, Router
from dnsproxy.leases import Holder
from dnsproxy.plugin import Plugin, Tap
from dnsproxy.sockets import Place, StartError
from dnsproxy.status import added

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from dnsproxy.config import Configuration, ServerConfig

log = logging.getLogger("dnsproxy")

LINGER_S = 1.0  # beyond a chain's deadline, for the answers that its last queries may still get


class Generation:
    """The chains of a configuration. A reload makes a new one; the old one lives until its last query is answered."""

    def __init__(self, configuration: Configuration, server: Any) -> None:
        """Build and bind every chain; StartError, and nothing stays leased, when a plugin cannot."""
        self.configuration = configuration
        self.scope = trio.CancelScope()
        self.chains: list[Chain] = []
        self.holders: list[Holder] = []
        self._uncountable: set[Plugin] = set()
        try:
            for config in configuration.servers:
                self.chains.append(_build(config))
                self._bind(self.chains[-1], server)
        except StartError:
            self.release()
            raise

    def _bind(self, chain: Chain, server: Any) -> None:
        holder = Holder(server, server.leases, chain.listens_on)
        self.holders.append(holder)
        server.flights.timers.fifo(chain.deadline_s)
        taps_first = sorted(chain.plugins, key=lambda plugin: not isinstance(plugin, Tap))  # others ask what they want
        for plugin in taps_first:
            try:
                plugin.bind(chain.plugins, holder)
            except Exception as exc:
                raise _unable(plugin.name, exc) from exc
        chain.watch()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the plugins' background work until `retire`; usable once all of it has started."""
        with self.scope:
            async with trio.open_nursery() as nursery:
                for plugin in self.plugins():
                    if type(plugin).run is not Plugin.run:
                        await nursery.start(_run, plugin)
                task_status.started()
                await trio.sleep_forever()

    async def retire(self) -> None:
        """No new query comes: wait for the last answer, then let go of everything."""
        await trio.sleep(max((chain.deadline_s for chain in self.chains), default=0.0) + LINGER_S)
        self.scope.cancel()
        self.release()

    def release(self) -> None:
        """Give back every lease."""
        for holder in self.holders:
            holder.release()

    def leased(self) -> set[Hashable]:
        """The keys of everything that its plugins hold."""
        return {key for holder in self.holders for key in holder.keys}

    def router(self, place: Place) -> Router:
        """Which chain serves what arrives on a socket; there is none when the place is not this generation's."""
        return Router([chain for chain in self.chains if any(place.serves(address) for address in chain.listen)])

    def plugins(self) -> Iterator[Plugin]:
        """Every plugin of every chain."""
        for chain in self.chains:
            yield from chain.plugins

    def status(self) -> dict[str, dict[str, Any]]:
        """Plugins' counters, by plugin, added up over chains."""
        plugins: dict[str, dict[str, Any]] = {}
        for plugin in self.plugins():
            if counters := self._counters(plugin):
                plugins[plugin.name] = added(plugins.get(plugin.name, {}), counters)
        return plugins

    def _counters(self, plugin: Plugin) -> dict[str, Any] | None:
        """What it counts; nothing, and one line in the log, when it fails to tell, or tells what is no JSON."""
        try:
            counters = plugin.status()
            json.dumps(counters)
        except Exception:
            if plugin not in self._uncountable:
                log.exception("plugin %s: its status cannot be taken", plugin.name)
            self._uncountable.add(plugin)
            return None
        return counters

    def describe(self) -> None:
        """Say on the terminal what every plugin does."""
        for plugin in self.plugins():
            for line in plugin.describe():
                log.info("%s: %s", plugin.name, line)


async def _run(plugin: Plugin, *, task_status: trio.TaskStatus[None]) -> None:
    """A plugin's background work. Failing before it is usable keeps the proxy from starting, later only itself."""
    started = _Started(task_status)
    try:
        await plugin.run(task_status=started)
    except Exception as exc:
        if not started.is_set:
            raise _unable(plugin.name, exc) from exc
        log.exception("plugin %s: its background work has ended", plugin.name)


class _Started(trio.TaskStatus[None]):
    """Remembers that `started` was called."""

    def __init__(self, inner: trio.TaskStatus[None]) -> None:
        self.inner = inner
        self.is_set = False

    def started(self, value: None = None) -> None:
        self.is_set = True
        self.inner.started(value)


def _build(config: ServerConfig) -> Chain:
    try:
        return Chain(config)
    except Exception as exc:
        raise _unable(", ".join(entry.name for entry in config.plugins), exc) from exc


def _unable(name: str, error: Exception) -> StartError:
    log.debug("plugin %s cannot start", name, exc_info=error)
    return StartError(f"plugin {name} cannot start: {error}")
