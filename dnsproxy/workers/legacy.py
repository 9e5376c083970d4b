"""What workers have counted that are gone: without it sums would fall, and rates that others make of them jump."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from dnsproxy.metric import PluginMetrics
from dnsproxy.status import IDENTITIES, Entry, added, merged

# what only grows in the entries of a status; the rest says how things are now
COUNTERS: Final = {
    "listeners": ("queries", "responses", "dropped", "send_failed"),
    "taps": ("offered", "sent", "dropped", "bytes", "connects", "reconnects"),
    "upstreams": (
        "queries",
        "responses",
        "timeouts",
        "mismatches",
        "transitions",
        "probes",
        "probe_failures",
        "handshakes",
        "resumptions",
    ),
    "limits": ("refused", "run_tasks_refused"),
}

Status = Mapping[str, Any]


class Legacy:
    """The counters of all processes that have ended, as far as they told them."""

    def __init__(self) -> None:
        self.plugins: PluginMetrics = {}  # which of their numbers only grow
        self._status: Entry = {}

    def add(self, status: Status) -> None:
        """The last status that one of them told."""
        tables = {name: [_counters(name, entry) for entry in status[name]] for name in IDENTITIES}
        tables["taps"] = [_with_closed_books(tap) for tap in status["taps"]]
        before = self._status
        self._status = {name: merged([*before.get(name, ()), *tables[name]], IDENTITIES[name]) for name in IDENTITIES}
        rest = {
            "plugins": {name: self._of_plugin(name, counters) for name, counters in status["plugins"].items()},
            "limits": _counters("limits", status.get("limits", {})),
            "failures": status.get("failures", 0),
            "observer_failures": status.get("observer_failures", 0),
        }
        self._status |= added({name: before.get(name) for name in rest}, rest)

    def _of_plugin(self, name: str, counters: Status) -> Entry:
        growing = {key for metric in self.plugins.get(name, ()) if metric.is_counter for key in metric.keys}
        return {key: value for key, value in counters.items() if key in growing}

    def beside(self, statuses: list[Status]) -> list[Status]:
        """As a status more, of what those that are there have too."""
        if not (statuses and self._status):
            return []
        tables = {name: list(self._known(name, statuses)) for name in IDENTITIES}
        present = {name for each in statuses for name in each["plugins"]}
        plugins = {name: counters for name, counters in self._status["plugins"].items() if name in present}
        return [{**self._status, **tables, "plugins": plugins}]

    def _known(self, table: str, statuses: list[Status]) -> Iterator[Entry]:
        present = {_identity(table, entry) for each in statuses for entry in each[table]}
        return (entry for entry in self._status[table] if _identity(table, entry) in present)


def _identity(table: str, entry: Status) -> tuple[Any, ...]:
    return tuple(entry.get(name) for name in IDENTITIES[table])


def _counters(table: str, entry: Status) -> Entry:
    kept = (*IDENTITIES.get(table, ()), *COUNTERS[table])
    return {name: value for name, value in entry.items() if name in kept}


def _with_closed_books(tap: Status) -> Entry:
    """What was queued in memory has gone with the process; what was spooled, another one finds and counts."""
    spooled = tap.get("spooled", 0)
    lost = {"shutdown": tap["queued"] - spooled}
    counters = _counters("taps", tap)
    return counters | {"offered": tap["offered"] - spooled, "dropped": added(tap["dropped"], lost)}
