"""Answers past their end, and popular ones near it: serve-stale (RFC 8767) and prefetch."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from math import inf

from dnsproxy.errors import NOERROR, NXDOMAIN, QueryError
from dnsproxy.flight import Flights, first_of
from dnsproxy.message import Query, Response
from dnsproxy_cache.asking import Again, Errand, Learner, Renewal
from dnsproxy_cache.entry import Entry, stale_response
from dnsproxy_cache.store import Store

STALE_AFTER_S = 1.8  # how long clients wait for upstreams when there is something else to give (RFC 8767 section 5)
RETRY_S = 5.0  # between attempts to refresh what upstreams were silent about; longer than a query's deadline
PREFETCH_SHARE = 0.1  # of an entry's life: its last part, in which popular ones are refreshed
PREFETCH_S = 1.0  # before its end at the latest
REFRESHES = 1000  # under way at once for no client


class Shelf:
    """What outlives a reload: the store, and who refreshes its entries now."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.keeper: Refresher | None = None
        self.refreshing = 0

    def prefetch(self, again: Again) -> None:
        """It is time to refresh a popular entry."""
        if self.keeper is not None and self.keeper.ask_again(again):
            self.store.prefetches += 1


class Refresher:
    """Has the rest of the chain behind `cache` asked again."""

    def __init__(self, cache: Learner, flights: Flights, shelf: Shelf) -> None:
        self.cache = cache
        self.flights = flights
        self.shelf = shelf

    def refresh(self, query: Query, key: bytes, entry: Entry) -> Awaitable[Response]:
        """The answer to a query whose entry is past its end: a fresh one, or the old one while upstreams fail."""
        if entry.retry_at == inf:
            return self._wait_for_fresh(query, key, entry)
        if self.flights.now >= entry.retry_at:
            self._retry(query, key, entry)
        return self._respond_stale(query, entry.wire, entry.offsets)

    async def _wait_for_fresh(self, query: Query, key: bytes, entry: Entry) -> Response:
        kept = entry.wire, entry.offsets  # the entry may be evicted meanwhile
        errand = Errand(self.flights, self.cache.next, query)
        try:
            in_time = await first_of(errand, until=self.flights.now + STALE_AFTER_S)
        finally:
            errand.cancel()
        if in_time is None:
            if entry.retry_at == inf and self.flights.now >= entry.expires:  # the first of those who waited
                self._retry(query, key, entry)
        elif errand.error is None and is_good(errand.value):
            response: Response = errand.value
            self.cache.learn(query, key, response)
            return response
        return self._respond_stale(query, *kept)

    def _retry(self, query: Query, key: bytes, entry: Entry) -> None:
        entry.retry_at = self.flights.now + RETRY_S
        self.ask_again(Again(query, key))

    def _respond_stale(self, query: Query, octets: bytes, offsets: tuple[int, ...]) -> Response:
        self.shelf.store.stale += 1
        query.metadata["cache/state"] = "stale"
        return stale_response(octets, offsets, query.shape.opt_offset >= 0, query.shape.do)

    def plan(self, query: Query, entry: Entry) -> None:
        """Prefetch a popular entry when its time comes; its last second is too late to begin with that."""
        last = entry.expires - PREFETCH_S
        now = self.flights.now
        if now <= last:
            entry.renewal = Renewal(Again(query, entry.key), self.shelf.prefetch)
            self.flights.timers.at(max(now, min(last, entry.expires - entry.life * PREFETCH_SHARE)), entry.renewal)

    def ask_again(self, again: Again) -> bool:
        """Refresh an entry in the background, for no client; whether there is room for that."""
        if self.shelf.refreshing >= REFRESHES:
            return False
        query = again.query(time.time_ns())
        self.shelf.refreshing += 1
        query.flight = self.flights.spawn(self._renew(query, again.key), f"refreshing {query.name}")
        return True

    async def _renew(self, query: Query, key: bytes) -> None:
        try:
            response = await self.cache.next(query)
            if is_good(response):
                self.cache.learn(query, key, response)
        except QueryError:
            return  # the old answer stays as long as it may
        finally:
            self.shelf.refreshing -= 1


def is_good(response: Response) -> bool:
    """Whether upstreams do their work: they know, or know that there is nothing."""
    return response.rcode in (NOERROR, NXDOMAIN)
