"""What outlives a chain: tap outputs, upstreams, stores — made once, shared by key, ended when nobody holds them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from dnsproxy.errors import failure_in

if TYPE_CHECKING:
    from dnsproxy.dnstap.relayed_listening import Listen
    from dnsproxy.dnstap.relayed_output import Relay

log = logging.getLogger("dnsproxy")
T = TypeVar("T")


class _Entry:
    def __init__(self, thing: Any) -> None:
        self.thing = thing
        self.holders = 0
        self.scope = trio.CancelScope()
        self.running = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run the thing until it is cancelled; when it fails, that is its own end only."""
        with self.scope:
            try:
                await self.thing.run(task_status=task_status)
            except BaseException as exc:
                failure = failure_in(exc)
                if failure is None:
                    raise
                log.exception("%r has ended", self.thing, exc_info=failure)
            with contextlib.suppress(RuntimeError):  # whoever waits for its start need not; it may have been said
                task_status.started()

    async def end(self, deadline_s: float) -> None:
        """Let it finish what it has, within a deadline."""
        drain = getattr(self.thing, "drain", None)
        if drain is not None and self.running:
            try:
                with trio.move_on_after(deadline_s + 1):
                    await drain(deadline_s)
            except Exception:
                log.exception("%r cannot be drained", self.thing)
        self.scope.cancel()


class Leases:
    """The registry of a server."""

    def __init__(self, drain_s: float) -> None:
        self.entries: dict[Hashable, _Entry] = {}
        self.ending: set[_Entry] = set()  # nobody holds them, and they have not finished
        self.on_ended: Callable[[Any], None] = _nothing  # called with each thing that has, but for the end of all
        self.nursery: trio.Nursery | None = None
        self.drain_s = drain_s

    async def start(self, nursery: trio.Nursery) -> None:
        """Run what has been leased so far, and from now on what will be."""
        self.nursery = nursery
        for entry in list(self.entries.values()):
            if not entry.running and hasattr(entry.thing, "run"):
                entry.running = True
                await nursery.start(entry.run)

    def take(self, key: Hashable, factory: Callable[[], T]) -> T:
        """One holder more for what stands under `key`, made by `factory` unless it exists."""
        entry = self.entries.get(key)
        if entry is None:
            entry = self.entries[key] = _Entry(factory())
            if self.nursery is not None and hasattr(entry.thing, "run"):
                entry.running = True
                self.nursery.start_soon(entry.run)
        entry.holders += 1
        thing: T = entry.thing
        return thing

    def release(self, key: Hashable) -> None:
        """One holder less; the last one ends the thing, in the background."""
        entry = self.entries[key]
        entry.holders -= 1
        if not entry.holders:
            del self.entries[key]
            if self.nursery is not None:
                self.ending.add(entry)
                self.nursery.start_soon(self._end, entry)
            elif hasattr(entry.thing, "close"):  # the start has failed: nothing has ever run
                entry.thing.close()

    async def _end(self, entry: _Entry) -> None:
        await entry.end(self.drain_s)
        self.ending.discard(entry)
        self.on_ended(entry.thing)

    def reopen(self, keys: Iterable[Hashable]) -> None:
        """Call `reopen`, which must not wait, of those under these keys that have it: for files, certificates."""
        for key in keys:
            thing = self.entries[key].thing
            try:
                if hasattr(thing, "reopen"):
                    thing.reopen()
            except Exception:
                log.exception("%r cannot be reopened", thing)

    async def end(self) -> None:
        """End everything, at once and together."""
        async with trio.open_nursery() as nursery:
            for entry in (*self.entries.values(), *self.ending):
                nursery.start_soon(entry.end, self.drain_s)

    def things(self) -> Iterator[Any]:
        """Everything that is leased now, and what has not ended yet since it was."""
        for entry in (*self.entries.values(), *self.ending):
            yield entry.thing


def _nothing(_thing: Any) -> None:
    """What most servers do when a thing has ended."""


class Holder:
    """What a chain's plugins get as `server`: the process's parts, and leases that end with the chain."""

    def __init__(self, server: Any, leases: Leases, listens_on: Callable[[str, int, str | None], bool]) -> None:
        self.listens_on = listens_on
        self.version: str = server.version
        self.workers: int = server.workers
        self.relay: Relay | None = server.relay
        self.listen: Listen | None = server.listen
        self.flights = server.flights
        self.driver = server.driver
        self.receiver = server.receiver
        self.sender = server.sender
        self.keys: set[Hashable] = set()
        self._leases = leases

    def lease(self, key: Hashable, factory: Callable[[], T]) -> T:
        """As `plugin.Server.lease`; a key that this chain holds already is not counted twice."""
        thing = self._leases.take(key, factory)
        if key in self.keys:
            self._leases.entries[key].holders -= 1
        self.keys.add(key)
        return thing

    def give_back(self, key: Hashable) -> None:
        """As `plugin.Server.give_back`."""
        self.keys.remove(key)
        self._leases.release(key)

    def release(self) -> None:
        """The chain is gone."""
        for key in self.keys:
            self._leases.release(key)
        self.keys.clear()
