"""The process: binds, builds the chains, serves until it is told to stop, and ends in good order."""

from __future__ import annotations

import logging
import resource
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any

import trio
import trio.lowlevel

import dnsproxy
from dnsproxy import admin
from dnsproxy.chain import Chain, Router
from dnsproxy.config import Configuration
from dnsproxy.datagram import make_receiver, make_sender
from dnsproxy.driver import make_driver
from dnsproxy.flight import Flights
from dnsproxy.intake import Intake
from dnsproxy.leases import Holder, Leases
from dnsproxy.listeners.tcp import TcpListener
from dnsproxy.listeners.udp import UdpListener, WildcardUdpListener
from dnsproxy.plugin import Plugin
from dnsproxy.sockets import Bound, StartError, bind_all, close_all
from dnsproxy.status import added, snapshot

log = logging.getLogger("dnsproxy")

SETTLED_EVERY_S = 0.005  # how often the end of the last query is looked for when stopping


def run(configuration: Configuration) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. What keeps it from starting is one line on standard error."""
    _raise_descriptor_limit()
    try:
        bound = bind_all(address for server in configuration.servers for address in server.listen)
    except StartError as exc:
        _complain(exc)
        return 1
    try:
        trio.run(Server(configuration, bound).serve)
    except BaseExceptionGroup as group:
        known, others = group.split((StartError, admin.AdminError))
        if others is not None:
            raise others from None
        for error in _leaves(known):
            _complain(error)
        return 1
    finally:
        close_all(bound)
    return 0


def _complain(error: BaseException) -> None:
    sys.stderr.write(f"dnsproxy: {error}\n")


def _raise_descriptor_limit() -> None:
    """As many descriptors as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _leaves(group: BaseExceptionGroup[Any] | None) -> Iterator[BaseException]:
    for error in group.exceptions if group is not None else ():
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


class Server:
    """Everything that runs in one process."""

    version = dnsproxy.__version__

    def __init__(self, configuration: Configuration, bound: list[Bound]) -> None:
        self.configuration = configuration
        self.bound = bound
        self.started = time.monotonic()
        limits = configuration.limits
        self.flights = Flights(limits.run_tasks)
        self.intake = Intake(self.flights, limits)
        self.leases = Leases(limits.stop)
        self.receiver = make_receiver()
        self.sender = make_sender()
        self.driver: Any = None
        self.chains: list[Chain] = []
        self.udp: list[UdpListener] = []
        self.tcp: list[TcpListener] = []

    async def serve(self) -> None:
        """Start everything, wait for a signal, end everything."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async with trio.open_nursery() as nursery:
                await self.start(nursery)
                log.info("ready: listening on %s", ", ".join(self._urls()))
                async for _ in signals:
                    break
                await self.stop()
                nursery.cancel_scope.cancel()

    async def start(self, nursery: trio.Nursery) -> None:
        """Build the chains and let queries in; StartError says what is in the way."""
        self.driver = make_driver(self.flights)
        self.flights.nursery = nursery
        self.chains = [_build(server) for server in self.configuration.servers]
        for chain in self.chains:
            self._bind(chain)
        await nursery.start(self.driver.run)
        await self.leases.start(nursery)
        for chain in self.chains:
            for plugin in chain.plugins:
                if type(plugin).run is not Plugin.run:
                    await nursery.start(plugin.run)
        for bound in self.bound:
            await self._listen(bound, nursery)
        if self.configuration.admin is not None:
            socket_path = self.configuration.admin
            await nursery.start(self._serve_admin, socket_path.path, socket_path.required)
        self._describe()

    async def _serve_admin(self, path: str, required: bool, *, task_status: trio.TaskStatus[None]) -> None:
        await admin.serve(path, self.snapshot, required=required, task_status=task_status)

    def _bind(self, chain: Chain) -> None:
        chain.holder = Holder(self, self.leases)
        self.flights.timers.fifo(chain.deadline_s)
        for plugin in chain.plugins:
            try:
                plugin.bind(chain.plugins, chain.holder)
            except Exception as exc:
                raise _unable(plugin.name, exc) from exc

    async def _listen(self, bound: Bound, nursery: trio.Nursery) -> None:
        router = Router([chain for chain in self.chains if bound.address in chain.listen])
        for scheme, sock in bound.sockets.items():
            if scheme == "tcp":
                listener = TcpListener(sock, router, self.intake)
                self.tcp.append(listener)
                await nursery.start(listener.run)
            else:
                kind = WildcardUdpListener if bound.address.is_wildcard else UdpListener
                pump = kind(sock, router, self.intake, self.driver, self.receiver, self.sender)
                self.udp.append(pump)
                self.driver.add(pump)

    def _urls(self) -> list[str]:
        return [*(listener.url for listener in self.udp), *(listener.url for listener in self.tcp)]

    def _describe(self) -> None:
        for chain in self.chains:
            for plugin in chain.plugins:
                for line in plugin.describe():
                    log.info("%s: %s", plugin.name, line)

    async def stop(self) -> None:
        """Let no query in, answer those in flight, drain what is leased: each within the limit `stop`."""
        for pump in self.udp:
            self.flights.submit(self._last_read, pump)
        for listener in self.tcp:
            listener.stop()
        for _ in range(int(self.configuration.limits.stop / SETTLED_EVERY_S) + 1):
            await trio.sleep(SETTLED_EVERY_S)
            if not (self.intake.in_flight or any(listener.connections for listener in self.tcp)):
                break
        await trio.lowlevel.checkpoint()
        await self.leases.end()

    def _last_read(self, pump: UdpListener) -> None:
        """Take what has come in before the end, then no more."""
        pump.on_readable()
        self.driver.remove(pump)

    def _taps(self) -> list[dict[str, Any]]:
        return [thing.tap_status() for thing in self.leases.things() if hasattr(thing, "tap_status")]

    def snapshot(self) -> dict[str, Any]:
        """What `dnsproxy status` shows."""
        plugins: dict[str, dict[str, Any]] = {}
        for chain in self.chains:
            for plugin in chain.plugins:
                counters = plugin.status()
                if counters is not None:
                    plugins[plugin.name] = added(plugins.get(plugin.name, {}), counters)
        status = snapshot(
            started=self.started,
            workers=self.configuration.workers,
            listeners=[*(listener.status() for listener in self.udp), *(listener.status() for listener in self.tcp)],
            taps=self._taps(),
            upstreams=[thing.upstream_status() for thing in self.leases.things() if hasattr(thing, "upstream_status")],
            plugins=plugins,
        )
        status["limits"] = {
            "in_flight": self.intake.in_flight,
            "tcp_connections": self.intake.connections,
            "refused": dict(self.intake.refused),
            "run_tasks_refused": self.flights.tasks_refused,
        }
        status["failures"] = self.intake.failures
        return status


def _build(config: Any) -> Chain:
    try:
        return Chain(config)
    except Exception as exc:
        raise _unable("chain", exc) from exc


def _unable(name: str, error: Exception) -> StartError:
    log.debug("plugin %s cannot start", name, exc_info=error)
    return StartError(f"plugin {name} cannot start: {error}")
