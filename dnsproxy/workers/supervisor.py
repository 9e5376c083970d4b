"""Runs the workers: binds for them, starts them and starts them again, passes on signals, and adds up their numbers."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from dnsproxy import config
from dnsproxy.activation import passed_sockets
from dnsproxy.admin import AdminError
from dnsproxy.config import ConfigErrors, Configuration
from dnsproxy.dnstap.rename import process_key
from dnsproxy.listen_address import host_port
from dnsproxy.metric import plugin_metrics
from dnsproxy.metrics_server import bind_metrics
from dnsproxy.sockets import (
    Place,
    Sockets,
    StartError,
    bind_all,
    bind_shared,
    close_all,
    places,
    raise_descriptor_limit,
)
from dnsproxy.workers.admin_server import AdminServer
from dnsproxy.workers.control import Message
from dnsproxy.workers.handle import State, WorkerHandle
from dnsproxy.workers.inquiry import Inquiry
from dnsproxy.workers.legacy import Legacy
from dnsproxy.workers.listening_relay import ListeningRelay
from dnsproxy.workers.loop import Loop
from dnsproxy.workers.metrics_server import MetricsServer
from dnsproxy.workers.relay import Relay
from dnsproxy.workers.reloading import Reloading
from dnsproxy.workers.totals import TapTotals, combined

EXIT_S: Final = 2.0  # beyond what is in flight and the taps' drain, each of which may take the limit `stop`
SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

log = logging.getLogger("dnsproxy")


def run(text: str, configuration: Configuration, ports: Mapping[int, int]) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. What keeps it from starting is one line on standard error.

    `text` is what `configuration` was read from: the workers read the same.
    """
    raise_descriptor_limit()
    supervisor = Supervisor(text, configuration, ports)
    try:
        supervisor.open()
        return supervisor.serve()
    except (StartError, AdminError) as exc:
        sys.stderr.write(f"dnsproxy: {exc}\n")
        return 1
    finally:
        supervisor.close()


class Supervisor:
    """The process that answers no query, so that there is always one that sees to those that do."""

    def __init__(self, text: str, configuration: Configuration, ports: Mapping[int, int]) -> None:
        self._text = text
        self._configuration = configuration
        self._ports = ports
        self._passed = passed_sockets(os.environ)
        self._started = time.monotonic()
        self._loop = Loop()
        self._workers = [WorkerHandle(number, self._loop, self) for number in range(1, configuration.workers + 1)]
        self._legacy = Legacy()
        self._inquiry = Inquiry(self._loop, self._workers, self._legacy)
        self._admin = AdminServer(self._loop, self._take_status)
        self._metrics = MetricsServer(self._loop, self._take_status)
        self._relay = Relay()
        self._listening = ListeningRelay()
        self._totals = TapTotals(configuration.workers)
        self._reloading: Reloading | None = None
        self._reload_again = False
        self._can_start = False  # a worker has been ready: with this configuration it is possible
        self._held: list[tuple[WorkerHandle, str]] = []  # ended before that was known
        self._has_been_ready = False  # all workers have been, together
        self._is_stopping = False
        self._restarts = 0
        self._exit_status = 0

    def open(self) -> None:
        """Bind everything, before anything else; StartError or AdminError when it cannot be had."""
        bound = bind_shared(self._places(), len(self._workers), passed=self._passed)
        for worker, sockets in zip(self._workers, bound, strict=True):
            worker.sockets = sockets
        self._apply_metrics(self._bind_metrics(self._configuration))
        self._passed.warn_of_unused()
        self._admin.open(self._configuration.admin)

    def serve(self) -> int:
        """Start the workers, see to them until the end; the exit status."""
        with self._loop.signals(SIGNALS, self._on_signal):
            for worker in self._workers:
                self._start(worker)
            self._loop.run()
        self._relay.close()
        self._listening.close()
        self._totals.finish()
        return self._exit_status

    def close(self) -> None:
        """Let go of everything."""
        self._admin.close()
        self._metrics.close()
        for worker in self._workers:
            worker.kill()
            worker.close()
        self._loop.close()

    def _places(self) -> list[Place]:
        return places(address for server in self._configuration.servers for address in server.listen)

    def _bind_metrics(self, configuration: Configuration) -> Sockets:
        return bind_metrics(configuration, self._metrics.sockets, partial(bind_all, passed=self._passed))

    def _apply_metrics(self, bound: Sockets) -> None:
        self._legacy.plugins = plugin_metrics(self._configuration)
        self._metrics.apply(self._configuration, bound)

    def _urls(self) -> str:
        bound = sorted(self._workers[0].sockets.items(), key=lambda item: item[0].scheme != "udp")
        return ", ".join(f"{place.scheme}://{host_port(*sock.getsockname()[:2])}" for place, sock in bound)

    def _orders(self, text: str) -> dict[str, Any]:
        file, ports = self._configuration.file, list(self._ports.items())
        return {"text": text, "file": file, "ports": ports, "names_key": process_key().hex()}

    # what workers do

    def _start(self, worker: WorkerHandle) -> None:
        if not self._is_stopping:
            describe = worker.number == 1 and not self._has_been_ready
            worker.start(self._orders(self._text) | {"workers": len(self._workers), "describe": describe})

    def heard(self, worker: WorkerHandle, message: Message) -> None:
        """A worker says something."""
        body = message.body
        if message.kind == "ready":
            worker.is_ready()
            self._note_readiness()
        elif message.kind == "failed":
            worker.reason = body["reason"]
        elif message.kind == "reloaded" and self._reloading is not None:
            self._reloading.answered(worker, body["errors"])
        elif message.kind == "status":
            self._inquiry.answered(worker, body["number"], body["status"])
        elif message.kind == "tap_ended":
            self._totals.removed(worker.number, body["tap"])
        elif message.kind == "stopped":
            self._inquiry.said_last(worker, body["status"])
            self._totals.stopped(body["status"]["taps"])
        elif message.kind == "relay":
            self._relay.serve(body, *message.descriptors)
        elif message.kind == "listen":
            self._listening.serve(body, *message.descriptors)

    def _note_readiness(self) -> None:
        self._can_start = True
        while self._held:
            self._restart(*self._held.pop())
        if not self._has_been_ready and all(worker.state is State.READY for worker in self._workers):
            self._has_been_ready = True
            log.info("ready: listening on %s", self._urls())

    def ended(self, worker: WorkerHandle, how: str) -> None:
        """A worker's process is gone: start another one, unless this is the end."""
        self._inquiry.lost(worker)
        if self._reloading is not None:
            self._reloading.lost(worker)
        if self._is_stopping:
            self._stop_if_alone()
        elif self._can_start:
            self._restart(worker, how)
        elif any(each.pid for each in self._workers):
            self._held.append((worker, how))
        else:
            self._give_up()

    def _restart(self, worker: WorkerHandle, how: str) -> None:
        self._restarts += 1
        when = f"in {worker.backoff_s:g} s" if worker.backoff_s else "now"
        why = f" ({worker.reason})" if worker.reason else ""
        log.error("worker %d %s%s: another one starts %s", worker.number, how, why, when)
        self._loop.later(worker.backoff_s, partial(self._start, worker))

    def _give_up(self) -> None:
        """No worker can be started at all."""
        reasons = dict.fromkeys(worker.reason or "a worker ended before it was ready" for worker in self._workers)
        for reason in reasons:
            sys.stderr.write(f"dnsproxy: {reason}\n")
        self._exit_status = 1
        self._is_stopping = True
        self._loop.stop()

    # what operators want

    def _on_signal(self, number: int) -> None:
        if number == signal.SIGCHLD:
            for worker in self._workers:
                worker.reap()
        elif number == signal.SIGHUP:
            self._reload()
        elif not self._is_stopping:
            self._stop()

    def _take_status(self, answer: Callable[[dict[str, Any]], None]) -> None:
        def tell(statuses: list[dict[str, Any]]) -> None:
            ready = sum(worker.state is State.READY for worker in self._workers)
            own = {"workers_ready": ready, "worker_restarts": self._restarts}
            answer(combined(statuses, self._started, len(self._workers), self._legacy) | own)

        self._inquiry.ask(tell)

    def _stop(self) -> None:
        self._is_stopping = True
        if self._reloading is not None:
            self._reloading.abandon()
        self._loop.later(2 * self._configuration.limits.stop + EXIT_S, self._lose_patience)
        for worker in self._workers:
            worker.end()
            worker.drop(list(worker.sockets))
        self._stop_if_alone()

    def _stop_if_alone(self) -> None:
        if not any(worker.pid for worker in self._workers):
            self._loop.stop()

    def _lose_patience(self) -> None:
        for worker in self._workers:
            if worker.pid:
                log.error("worker %d does not stop: it is killed", worker.number)
                worker.kill()
        self._exit_status = 1

    def _reload(self) -> None:
        if self._is_stopping:
            return
        if self._reloading is not None:
            self._reload_again = True  # once: the file is read when its turn comes
            return
        try:
            text = config.read_text(self._configuration.file)
            configuration = config.parse(text, self._configuration.file, self._ports)
            wanted = places(address for server in configuration.servers for address in server.listen)
            present = self._workers[0].sockets
            new = [place for place in wanted if place not in present]
            for_metrics = self._bind_metrics(configuration)
            try:
                added = bind_shared(new, len(self._workers), present, self._passed)
            except StartError:
                close_all(for_metrics)
                raise
        except (ConfigErrors, StartError) as exc:
            self._refuse(str(exc).splitlines())
            return
        commit = partial(self._commit, text, configuration, added, for_metrics)
        end = partial(self._reloaded, [*added, for_metrics], self._relay.reopener())
        self._reloading = Reloading(self._loop, self._orders(text), added, commit, end)
        self._reloading.begin(self._workers)

    def _commit(self, text: str, configuration: Configuration, added: list[Sockets], for_metrics: Sockets) -> None:
        """A worker has taken the new configuration: from now on it is everybody's."""
        before, self._text, self._configuration = self._configuration, text, configuration
        wanted = self._places()
        for worker, sockets in zip(self._workers, added, strict=True):
            worker.sockets |= sockets
            worker.drop([place for place in worker.sockets if place not in wanted])
        if configuration.workers != len(self._workers):
            log.warning("reload: workers = %d takes a restart; there are %d", configuration.workers, len(self._workers))
        self._apply_metrics(for_metrics)
        if configuration.admin != before.admin:
            try:
                self._admin.open(configuration.admin)
            except AdminError as exc:
                log.warning("reload: %s", exc)

    def _reloaded(self, added: list[Sockets], reopen_files: Callable[[], None], errors: list[str]) -> None:
        self._reloading = None
        if errors:
            for sockets in added:
                close_all(sockets)
            self._refuse(errors)
        else:
            reopen_files()
            self._listening.reopen()
            log.info("reload: done, listening on %s", self._urls())
        if self._reload_again:
            self._reload_again = False
            self._reload()

    def _refuse(self, errors: list[str]) -> None:
        for line in errors:
            log.error("%s", line)
        log.error("reload: nothing changed")
