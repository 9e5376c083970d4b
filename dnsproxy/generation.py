"""What one configuration puts in service: its chains, their plugins' work, and their end."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import trio

from dnsproxy.chain import Chain, Failures, PluginFailed, Router
from dnsproxy.errors import failure_in, shown, words_of
from dnsproxy.intake import QueryFlight
from dnsproxy.leases import Holder
from dnsproxy.plugin import Plugin, Tap
from dnsproxy.sockets import Place, StartError
from dnsproxy.status import added

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from dnsproxy.config import Configuration
    from dnsproxy.flight import Flights

log = logging.getLogger("dnsproxy")

START_MAX_S = 60.0  # for a plugin's background work to be usable: time enough to fetch a long list
LOOK_S = 0.1  # between looks at what is under way in a chain that has been replaced
LINGER_S = 1.0  # beyond a chain's deadline, for the answers that its last queries may still get


class Generation:
    """The chains of a configuration. A reload makes a new one; the old one lives until its last query is answered."""

    def __init__(self, configuration: Configuration, server: Any, observer_failures: Failures | None = None) -> None:
        """Build and bind every chain; StartError, and nothing stays leased, when a plugin cannot."""
        self.configuration = configuration
        self.scope = trio.CancelScope()
        self.chains: list[Chain] = []
        self.holders: list[Holder] = []
        self._uncountable: set[Plugin] = set()
        try:
            for config in configuration.servers:
                self.chains.append(Chain(config, observer_failures))
                self._bind(self.chains[-1], server)
        except PluginFailed as exc:
            self.release()
            raise _unable(exc.name, exc.error) from exc
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
            except (Exception, SystemExit) as exc:
                raise _unable(plugin.name, exc) from exc
        chain.watch()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the plugins' background work until `retire`; usable once all of it has started.

        StartError, and nothing stays leased, when some of it cannot.
        """
        failed: list[StartError] = []
        with self.scope:
            async with trio.open_nursery() as nursery:
                try:
                    for plugin in self.plugins():
                        if type(plugin).run is not Plugin.run:
                            await _start(nursery, plugin)
                except StartError as exc:
                    failed.append(exc)
                    nursery.cancel_scope.cancel()
                else:
                    task_status.started()
                await trio.sleep_forever()
        if failed:  # raised here, for a nursery would put it into a group
            self.release()
            raise failed[0]

    async def retire(self, flights: Flights) -> None:
        """No new query comes: wait for the last answer, then let go of everything."""
        with trio.move_on_after(max((chain.deadline_s for chain in self.chains), default=0.0) + LINGER_S):
            await self._last_answer(flights)
        self.scope.cancel()
        self.release()

    async def _last_answer(self, flights: Flights) -> None:
        """Returns when none of its queries is under way."""
        while True:
            await trio.sleep(LOOK_S)
            if not any(
                isinstance(flight, QueryFlight) and flight.chain in self.chains for flight in flights.under_way()
            ):
                return

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
            if not isinstance(counters, dict | None):
                raise TypeError(f"{counters!r} is no dictionary")
            json.dumps(counters)
        except (Exception, SystemExit):
            if plugin not in self._uncountable:
                log.exception("plugin %s: its status cannot be taken", plugin.name)
            self._uncountable.add(plugin)
            return None
        return counters

    def describe(self) -> None:
        """Say on the terminal what every plugin does; what several servers have in common, as a tap of all, once."""
        told = set[str]()
        for plugin in self.plugins():
            try:
                for line in (f"{plugin.name}: {line}" for line in plugin.describe()):
                    if line not in told:
                        log.info("%s", line)
                    told.add(line)
            except (Exception, SystemExit):
                log.exception("plugin %s cannot be described", plugin.name)


async def _start(nursery: trio.Nursery, plugin: Plugin) -> None:
    """Begin with a plugin's background work; StartError when it fails before it is usable, or takes for ever."""
    with trio.move_on_after(START_MAX_S):
        await nursery.start(_run, plugin)
        return
    raise _unable(plugin.name, TimeoutError(f"its run has not called started() within {START_MAX_S:g} s"))


async def _run(plugin: Plugin, *, task_status: trio.TaskStatus[None]) -> None:
    """A plugin's background work. Failing before it is usable keeps the proxy from starting, later only itself."""
    started = _Started(task_status)
    try:
        await plugin.run(task_status=started)
    except BaseException as exc:
        failure = failure_in(exc)
        if failure is None:
            raise
        if not started.is_set:
            raise _unable(plugin.name, failure) from exc
        log.exception("plugin %s: its background work has ended", plugin.name, exc_info=failure)
    else:
        if not started.is_set:  # it had nothing to do
            started.started()


class _Started(trio.TaskStatus[None]):
    """Remembers that `started` was called."""

    def __init__(self, inner: trio.TaskStatus[None]) -> None:
        self.inner = inner
        self.is_set = False

    def started(self, value: None = None) -> None:
        self.is_set = True
        self.inner.started(value)


def _unable(name: str, error: BaseException) -> StartError:
    log.debug("plugin %s cannot start", name, exc_info=error)
    told = words_of(error) if isinstance(error, (OSError, ValueError)) else ""
    return StartError(f"plugin {name} cannot start: {told or shown(error)}")
