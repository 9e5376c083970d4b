"""The process: binds, puts a configuration in service, replaces it on SIGHUP, and ends in good order."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import trio

import dnsproxy
from dnsproxy import admin
from dnsproxy.activation import passed_sockets
from dnsproxy.chain import Failures
from dnsproxy.config import AdminSocket, ConfigErrors, Configuration
from dnsproxy.datagram import make_receiver, make_sender
from dnsproxy.dnstap.relayed_listening import Listen
from dnsproxy.dnstap.relayed_output import Relay
from dnsproxy.driver import make_driver
from dnsproxy.flight import Flights
from dnsproxy.generation import Generation
from dnsproxy.intake import Intake
from dnsproxy.leases import Leases
from dnsproxy.listeners.tcp import TcpListener
from dnsproxy.listeners.udp import UdpListener, WildcardUdpListener
from dnsproxy.metrics_server import MetricsServer, bind_metrics
from dnsproxy.sockets import (
    OpenSockets,
    Place,
    Sockets,
    StartError,
    bind_all,
    close_all,
    places,
    raise_descriptor_limit,
)
from dnsproxy.status import snapshot

log = logging.getLogger("dnsproxy")

LAST_BATCHES = 1000  # more than any socket's buffer holds
SETTLED_EVERY_S = 0.005  # how often the end of the last query is looked for when stopping
GC_ALLOCATIONS = 10_000  # objects between looks at the youngest generation: queries free themselves, without cycles

Load = Callable[[], Configuration]


def run(configuration: Configuration, load: Load | None = None) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. What keeps it from starting is one line on standard error.

    `load` reads the file again on SIGHUP.
    """
    raise_descriptor_limit()
    passed = passed_sockets(os.environ)
    server = Server(configuration, load, partial(bind_all, passed=passed))
    try:
        server.bind()
        passed.warn_of_unused()
        trio.run(server.serve)
    except StartError as exc:
        _complain(exc)
        return 1
    except BaseExceptionGroup as group:
        known, others = group.split((StartError, admin.AdminError))
        if others is not None:
            raise others from None
        for error in _leaves(known):
            _complain(error)
        return 1
    finally:
        close_all(server.sockets)
        close_all(server.metrics.sockets)
    return 0


def _complain(error: BaseException) -> None:
    sys.stderr.write(f"dnsproxy: {error}\n")


def _leaves(group: BaseExceptionGroup[Any] | None) -> Iterator[BaseException]:
    for error in group.exceptions if group is not None else ():
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _places(configuration: Configuration) -> list[Place]:
    return places(address for server in configuration.servers for address in server.listen)


class Server:
    """Everything that runs in one process."""

    version = dnsproxy.__version__

    def __init__(
        self, configuration: Configuration, load: Load | None = None, open_sockets: OpenSockets = bind_all
    ) -> None:
        self.configuration = configuration
        self.workers = configuration.workers
        self.load = load
        self.open_sockets = open_sockets
        self.relay: Relay | None = None
        self.listen: Listen | None = None
        self.started = time.monotonic()
        limits = configuration.limits
        self.flights = Flights(limits.run_tasks)
        self.intake = Intake(self.flights, limits)
        self.leases = Leases(limits.stop)
        self.receiver = make_receiver()
        self.sender = make_sender()
        self.sockets: Sockets = {}
        self.driver: Any = None
        self.nursery: trio.Nursery | None = None
        self.generation: Generation | None = None
        self.observer_failures = Failures()
        self.udp: dict[Place, UdpListener] = {}
        self.tcp: dict[Place, TcpListener] = {}
        self.admin_scope = trio.CancelScope()
        self.in_service = trio.CancelScope()  # from the start until a signal says that it is over
        self.is_ready = False
        self.hangup = trio.Event()
        self.metrics = MetricsServer(self.snapshot)

    def bind(self) -> None:
        """Open every listening socket, before anything else; StartError when one cannot be had."""
        self.sockets = self.open_sockets(_places(self.configuration), ())
        self.metrics.sockets = bind_metrics(self.configuration, {}, self.open_sockets)

    async def serve(self) -> None:
        """Start everything, do what signals say, end everything."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._heed, signals)
                with self.in_service:
                    await self._serve(nursery)
                if self.is_ready:
                    await self.stop()
                signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))  # we are ending already
                nursery.cancel_scope.cancel()

    async def _heed(self, signals: AsyncIterator[int]) -> None:
        """Take signals, also while a plugin takes its time to start."""
        async for number in signals:
            if number != signal.SIGHUP:
                break
            self.hangup.set()
        self.in_service.cancel()

    async def _serve(self, nursery: trio.Nursery) -> None:
        generation = await self.start(nursery)
        generation.describe()
        log.info("ready: listening on %s", ", ".join(self._urls()))
        self.is_ready = True
        while True:
            await self.hangup.wait()
            self.hangup = trio.Event()
            await self.reload()

    async def start(self, nursery: trio.Nursery) -> Generation:
        """Put the configuration in service; StartError says what is in the way."""
        self.nursery = self.flights.nursery = nursery
        self.driver = make_driver(self.flights)
        generation = self.generation = Generation(self.configuration, self, self.observer_failures)
        await nursery.start(self.driver.run)
        await self.leases.start(nursery)
        await nursery.start(generation.run)
        for place in self.sockets:
            await self._listen(place, generation)
        await self._open_admin(self.configuration.admin)
        await self.metrics.apply(self.configuration, self.metrics.sockets, nursery)
        gc.collect()
        gc.freeze()  # what exists now stays: no collection need look at it again
        gc.set_threshold(GC_ALLOCATIONS)
        return generation

    async def _open_admin(self, wanted: AdminSocket | None) -> None:
        assert self.nursery is not None
        if wanted is not None:
            self.admin_scope = trio.CancelScope()
            await self.nursery.start(self._serve_admin, wanted, self.admin_scope)

    async def _serve_admin(
        self, wanted: AdminSocket, scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]
    ) -> None:
        with scope:
            await admin.serve(wanted.path, self.snapshot, required=wanted.required, task_status=task_status)

    async def _listen(self, place: Place, generation: Generation) -> None:
        """Let queries in on a bound socket."""
        assert self.nursery is not None
        sock = self.sockets[place]
        router = generation.router(place)
        if place.scheme == "tcp":
            listener = self.tcp[place] = TcpListener(sock, router, self.intake)
            await self.nursery.start(listener.run)
        else:
            kind = WildcardUdpListener if place.is_wildcard else UdpListener
            pump = self.udp[place] = kind(sock, router, self.intake, self.driver, self.receiver, self.sender)
            self.driver.add(pump)

    def _urls(self) -> list[str]:
        return [*(pump.url for pump in self.udp.values()), *(listener.url for listener in self.tcp.values())]

    # reload

    async def reload(self) -> None:
        """Read the file again and put what it says in service; whatever is wrong with it changes nothing."""
        if self.load is None:
            return
        try:
            configuration = self.load()
            await self.replace(configuration)
        except (ConfigErrors, StartError) as exc:
            for line in str(exc).splitlines():
                log.error("%s", line)  # noqa: TRY400  the operator's mistake: no traceback
            log.error("reload: nothing changed")  # noqa: TRY400
            return
        log.info("reload: done, listening on %s", ", ".join(self._urls()))

    async def replace(self, configuration: Configuration) -> None:
        """Put another configuration in service; StartError, and nothing is changed, when that cannot be."""
        assert self.nursery is not None
        assert self.generation is not None
        wanted = _places(configuration)
        added = self.open_sockets([place for place in wanted if place not in self.sockets], self.sockets)
        for_metrics: Sockets = {}
        try:
            for_metrics = bind_metrics(configuration, self.metrics.sockets, self.open_sockets)
            generation = Generation(configuration, self, self.observer_failures)
            await self.nursery.start(generation.run)
        except BaseException:  # also trio's, when a signal ends us meanwhile
            close_all(added | for_metrics)
            raise
        self.sockets |= added
        old, self.generation = self.generation, generation
        self._route(generation, wanted)
        for place in added:
            await self._listen(place, generation)
        for place in [place for place in self.sockets if place not in wanted]:
            self._stop_listening(place)
        await self._apply(configuration)
        await self.metrics.apply(configuration, for_metrics, self.nursery)
        self.leases.reopen(old.leased() & generation.leased())
        self.nursery.start_soon(old.retire, self.flights)

    def _route(self, generation: Generation, wanted: list[Place]) -> None:
        """From now on queries go to the new chains; what a listener that goes still gets is the old ones'."""
        listeners: dict[Place, UdpListener | TcpListener] = {**self.udp, **self.tcp}
        for place in wanted:
            if place in listeners:
                listeners[place].use(generation.router(place))
        self.intake.forget_chains()

    def _stop_listening(self, place: Place) -> None:
        if place in self.udp:
            self.flights.submit(self._last_read, self.udp.pop(place), self.sockets.pop(place))
        elif place in self.tcp:
            self.tcp.pop(place).stop()
            self.sockets.pop(place).close()

    async def _apply(self, configuration: Configuration) -> None:
        """What is the process's own: limits, admin socket."""
        limits = configuration.limits
        self.intake.limit(limits)
        self.flights.run_tasks = limits.run_tasks
        self.leases.drain_s = limits.stop
        for listener in self.tcp.values():
            listener.limit(limits)
        before, self.configuration = self.configuration.admin, configuration
        if configuration.admin != before:
            self.admin_scope.cancel()
            try:
                await self._open_admin(configuration.admin)
            except admin.AdminError as exc:
                log.error("reload: %s", exc)  # noqa: TRY400

    # the end

    async def stop(self) -> None:
        """Let no query in, answer those in flight, drain what is leased: each within the limit `stop`."""
        for pump in self.udp.values():
            self.flights.submit(self._last_read, pump, None)
        for listener in self.tcp.values():
            listener.stop()
        with trio.move_on_after(self.configuration.limits.stop):
            await self._settled()
        self.flights.submit(self.flights.close)  # those whose time is up are told so
        await trio.lowlevel.checkpoint()
        await self.leases.end()

    async def _settled(self) -> None:
        """Returns when nobody waits for an answer any more."""
        while True:
            await trio.sleep(SETTLED_EVERY_S)
            if not (self.intake.in_flight or any(listener.connections for listener in self.tcp.values())):
                return

    def _last_read(self, pump: UdpListener, close: Any) -> None:
        """Take what has come in before the end, then no more."""
        for _ in range(LAST_BATCHES):
            taken = pump.taken
            pump.on_readable()
            if pump.taken == taken:
                break
        self.driver.remove(pump)
        if close is not None:
            self.flights.flush()
            close.close()

    def snapshot(self) -> dict[str, Any]:
        """What `dnsproxy status` shows."""
        leased = list(self.leases.things())
        status = snapshot(
            started=self.started,
            workers=self.workers,
            listeners=[
                *(pump.status() for pump in self.udp.values()),
                *(listener.status() for listener in self.tcp.values()),
            ],
            taps=[thing.tap_status() for thing in leased if hasattr(thing, "tap_status")],
            upstreams=[thing.upstream_status() for thing in leased if hasattr(thing, "upstream_status")],
            plugins=self.generation.status() if self.generation is not None else {},
        )
        status["limits"] = {
            "in_flight": self.intake.in_flight,
            "tcp_connections": self.intake.connections,
            "refused": dict(self.intake.refused),
            "run_tasks_refused": self.flights.tasks_refused,
        }
        status["failures"] = self.intake.failures
        status["observer_failures"] = self.observer_failures.count
        return status
