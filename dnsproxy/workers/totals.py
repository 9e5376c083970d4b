"""What the workers count, as one proxy's numbers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from functools import reduce
from itertools import chain
from typing import Any

from dnsproxy.status import IDENTITIES, Entry, added, snapshot
from dnsproxy.workers.legacy import Legacy

OWN = ("version", "compiled", "uptime_s", "workers", *IDENTITIES, "plugins")  # keys of a status that `snapshot` makes

log = logging.getLogger("dnsproxy")


def combined(
    statuses: Iterable[Mapping[str, Any]], started: float, workers: int, legacy: Legacy | None = None
) -> Entry:
    """The workers' statuses, and what those before them counted, as one; the supervisor `started` then (monotonic)."""
    statuses = list(statuses)
    if legacy is not None:
        statuses += legacy.beside(statuses)
    lists = {name: list(chain.from_iterable(each[name] for each in statuses)) for name in IDENTITIES}
    plugins = _sum(each["plugins"] for each in statuses)
    rest = _sum({name: value for name, value in each.items() if name not in OWN} for each in statuses)
    return snapshot(started=started, workers=workers, plugins=plugins, **lists) | rest


def _sum(entries: Iterable[Mapping[str, Any]]) -> Entry:
    nothing: Entry = {}
    return reduce(added, entries, nothing)


class TapTotals:
    """The books of taps that have ended in some worker or other, until each tap's one line is written."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._books: dict[tuple[str, str], dict[str, int]] = {}
        self._removals: dict[tuple[str, str], set[int]] = {}

    def removed(self, worker: int, tap: Mapping[str, Any]) -> None:
        """A reload ended the tap in that worker; once it has in all of them its line is due."""
        key = self._add(tap)
        gone = self._removals.setdefault(key, set())
        gone.add(worker)
        if len(gone) == self._workers:
            self._tell(key)

    def stopped(self, taps: Iterable[Mapping[str, Any]]) -> None:
        """A worker has stopped, with these taps."""
        for tap in taps:
            self._add(tap)

    def finish(self) -> None:
        """Write the lines of all taps that have none yet."""
        for key in list(self._books):
            self._tell(key)

    def _add(self, tap: Mapping[str, Any]) -> tuple[str, str]:
        key = (str(tap["name"]), str(tap["socket"]))
        books = {name: int(tap[name]) for name in ("offered", "sent", "queued")}
        books["dropped"] = sum(tap["dropped"].values())
        self._books[key] = added(self._books.get(key, {}), books)
        return key

    def _tell(self, key: tuple[str, str]) -> None:
        books = self._books.pop(key)
        self._removals.pop(key, None)
        figures = " ".join(f"{name}={books[name]}" for name in ("offered", "sent", "queued", "dropped"))
        log.info("tap %s: %s", key[0], figures)
