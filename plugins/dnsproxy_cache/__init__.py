"""The `cache` plugin: answers again what upstreams have answered, for as long as they said."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Coroutine, Hashable, Sequence
from typing import Any

import trio

from dnsproxy.errors import NOERROR, NXDOMAIN, QueryError
from dnsproxy.flight import Flights, Pending, first_of
from dnsproxy.message import Query, Response
from dnsproxy.plugin import Plugin, Server, Stage
from dnsproxy.values import show_duration, show_size
from dnsproxy.wire import TC
from dnsproxy_cache.asking import Again, Errand, Miss, Renewal
from dnsproxy_cache.config import CacheConfig
from dnsproxy_cache.entry import Entry, stale_response
from dnsproxy_cache.keys import key_of, shared_key, subnet_of
from dnsproxy_cache.reading import Bounds, read
from dnsproxy_cache.store import Store

__all__ = ["Cache", "CacheConfig"]

STALE_AFTER_S = 1.8  # how long clients wait for upstreams when there is something else to give (RFC 8767 section 5)
RETRY_S = 5.0  # between attempts to refresh what upstreams were silent about; longer than a query's deadline
PREFETCH_SHARE = 0.1  # of an entry's life: its last part, in which popular ones are refreshed
PREFETCH_S = 1.0  # before its end at the latest
PREFETCHES = 1000  # under way at once


class Shelf:
    """What outlives a reload: the store, and which of the caches that share it refreshes its entries."""

    def __init__(self, config: CacheConfig) -> None:
        self.store = Store(config.size, config.stale_s)
        self.keeper: Cache | None = None
        self.prefetching = 0

    def renew(self, again: Again) -> None:
        """Ask again for a popular entry."""
        if self.keeper is not None and self.prefetching < PREFETCHES:
            self.store.prefetches += 1
            self.keeper.ask_again(again)


class Cache(Plugin):
    """Keeps answers, within a number of octets."""

    stage = Stage.CACHE
    Config = CacheConfig
    flights: Flights
    shelf: Shelf
    store: Store

    def __init__(self, stanzas: Sequence[CacheConfig]) -> None:
        super().__init__(stanzas)
        config = self.config = stanzas[0]
        self.prefetch = config.prefetch
        self.bounds = Bounds(int(config.min_ttl), int(config.max_ttl), int(config.max_negative_ttl))

    def bind(self, plugins: Sequence[Plugin], server: Server) -> None:
        """Lease the store: chains that go on alike behind the cache share one, before and after a reload."""
        self.flights = server.flights
        self.shelf = server.lease(self._lease_key(plugins), lambda: Shelf(self.config))
        self.store = self.shelf.store

    def _lease_key(self, plugins: Sequence[Plugin]) -> Hashable:
        behind = plugins[plugins.index(self) + 1 :]
        key = ("cache", self.config, tuple((plugin.name, *plugin.stanzas) for plugin in behind))
        try:
            hash(key)
        except TypeError:  # a configuration that cannot be compared: nobody shares it
            return ("cache", self)
        return key

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Refresh what the store holds, for as long as this chain is in service."""
        self.shelf.keeper = self
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            if self.shelf.keeper is self:
                self.shelf.keeper = None

    def handle(self, query: Query) -> Awaitable[Response]:
        """The answer that is kept, or that of the rest of the chain."""
        store = self.store
        shape = query.shape
        entry = store.known.get(shape.key)
        if entry is None or query.partition:
            return self._look_up(query)
        now = self.flights.now
        if now >= entry.until:
            return self._hit(query, entry, now) if now < entry.expires else self._look_up(query)
        entry.hits += 1
        store.hits += 1
        query.metadata["cache/state"] = "hit"
        response = entry.plain if shape.opt_offset < 0 else entry.with_opt
        return response or entry.respond(shape.opt_offset >= 0, shape.do)

    def _look_up(self, query: Query) -> Awaitable[Response]:
        key = key_of(query)
        if key is None:
            self._count_miss(query)
            return self.next(query)
        now = self.flights.now
        entry = self._find(query, key, now)
        if entry is None:
            return self._ask(query, key)
        if now < entry.expires:
            if not query.partition and not query.shape.ecs and not entry.failed:
                self.store.know(query.shape.key, entry)
            return self._hit(query, entry, now)
        return self._ask_or_stale(query, key, entry, now)

    def _find(self, query: Query, key: bytes, now: float) -> Entry | None:
        """The entry for a query: a fresh one, else one that may be served stale."""
        shape = query.shape
        entry = self.store.get(key)
        if entry is not None and now < entry.expires and entry.serves(shape.opt_offset >= 0):
            return entry
        if shape.ecs:
            shared = self.store.get(shared_key(query) or b"")
            if shared is not None and shared.scope == 0 and now < shared.expires:
                return shared
        if entry is None or entry.failed or now >= entry.expires + self.store.stale_s:
            return None
        return entry

    def _hit(self, query: Query, entry: Entry, now: float) -> Response:
        shape = query.shape
        entry.hits += 1
        self.store.hits += 1
        query.metadata["cache/state"] = "hit"
        entry.count_down(now)
        if shape.ecs:
            return entry.respond_to_subnet(subnet_of(query), shape.do)
        if self.prefetch and entry.renewal is None and not entry.failed:
            self._look_at_popularity(query, entry, now)
        return entry.respond(shape.opt_offset >= 0, shape.do)

    def _ask(self, query: Query, key: bytes) -> Awaitable[Response]:
        """Have the rest of the chain answer, and learn from it."""
        self._count_miss(query)
        answer: Any = self.next(query)
        if isinstance(answer, Pending):
            return Miss(self, query, key, answer)
        if type(answer) is Response:
            self.learn(query, key, answer)
        elif isinstance(answer, Coroutine):
            return self._learn_later(query, key, answer)
        return answer  # type: ignore[no-any-return]

    async def _learn_later(self, query: Query, key: bytes, answer: Awaitable[Response]) -> Response:
        response = await answer
        self.learn(query, key, response)
        return response

    def _count_miss(self, query: Query) -> None:
        self.store.misses += 1
        query.metadata["cache/state"] = "miss"

    def learn(self, query: Query, key: bytes, response: Response) -> None:
        """Keep what the rest of the chain has answered, if it may be kept."""
        now = self.flights.now
        store = self.store
        before = store.get(key)
        if response.policy is not None or (before is not None and before.shown_at == now):
            return  # made up by a plugin; or kept just now, for the first of several with this question
        answer = read(response.wire, query.shape, self.bounds)
        if answer is None:
            if before is not None and not response.wire[2] & TC and _is_good(response):
                store.drop(key)
        else:
            shared = shared_key(query) if answer.scope == 0 else None
            store.put(shared or key, answer, now, query.shape.opt_offset >= 0)

    def _ask_or_stale(self, query: Query, key: bytes, entry: Entry, now: float) -> Awaitable[Response]:
        """The entry is past its end, but better than nothing."""
        if not entry.retry_at:
            return self._wait_for_fresh(query, key, entry)
        self._count_miss(query)
        if now >= entry.retry_at:
            entry.retry_at = now + RETRY_S
            self.ask_again(Again(query, key))
        return self._respond_stale(query, entry.wire, entry.offsets)

    async def _wait_for_fresh(self, query: Query, key: bytes, entry: Entry) -> Response:
        """Ask; the old answer is given when there is no good one in time."""
        self._count_miss(query)
        kept = entry.wire, entry.offsets  # the entry may be evicted meanwhile
        errand = Errand(self.flights, self.next, query)
        try:
            in_time = await first_of(errand, until=self.flights.now + STALE_AFTER_S)
        finally:
            errand.cancel()
        if in_time is None:
            entry.retry_at = self.flights.now + RETRY_S
            self.ask_again(Again(query, key))
        elif errand.error is None and _is_good(errand.value):
            self.learn(query, key, errand.value)
            return errand.value  # type: ignore[no-any-return]
        return self._respond_stale(query, *kept)

    def _respond_stale(self, query: Query, octets: bytes, offsets: tuple[int, ...]) -> Response:
        self.store.stale += 1
        query.metadata["cache/state"] = "stale"
        return stale_response(octets, offsets, query.shape.opt_offset >= 0, query.shape.do)

    def _look_at_popularity(self, query: Query, entry: Entry, now: float) -> None:
        """Have an entry refreshed when it has enough hits; until then each hit comes here."""
        if entry.hits < self.prefetch:
            entry.until = 0.0
            return
        when = entry.expires - max(entry.life * PREFETCH_SHARE, PREFETCH_S)
        if now <= entry.expires - PREFETCH_S:
            entry.renewal = Renewal(Again(query, entry.key), self.shelf.renew)
            self.flights.timers.at(max(when, now), entry.renewal)

    def ask_again(self, again: Again) -> None:
        """Ask for an entry in the background, for no client."""
        query = again.query(time.time_ns())
        self.shelf.prefetching += 1
        query.flight = self.flights.spawn(self._renew(query, again.key), f"refreshing {query.name}")

    async def _renew(self, query: Query, key: bytes) -> None:
        try:
            response = await self.next(query)
            if _is_good(response):
                self.learn(query, key, response)
        except QueryError:
            return  # the old answer stays as long as it may
        finally:
            self.shelf.prefetching -= 1

    def status(self) -> dict[str, object] | None:
        """Counters of the store, once when several chains share it."""
        return self.store.status() if self.shelf.keeper in (self, None) else None

    def describe(self) -> list[str]:
        """How much is kept, for how long."""
        return [f"keeps answers in {show_size(self.config.size)}, at most {show_duration(self.config.max_ttl)}"]


def _is_good(response: Response) -> bool:
    """Whether upstreams do their work: they know, or know that there is nothing."""
    return response.rcode in (NOERROR, NXDOMAIN)
