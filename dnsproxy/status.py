"""What a running proxy is doing: the object that `status --json` prints, tables of it, and what is down."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dnsproxy
from dnsproxy.text_table import aligned, clean

WELL_TAPS = ("connected", "listening")
WELL_UPSTREAMS = ("up",)
# where entries are added up the worst state is shown, what it is being first here
WORST_FIRST = ("down", "closed", "connecting", "probing", "listening", "connected", "up")
GREATEST = ("oldest_queued_s", "rtt_ms")  # not sums: of several, the one that matters to an operator
# the tables of a status, and what tells two of their entries apart
IDENTITIES = {"listeners": ("address",), "taps": ("name", "socket"), "upstreams": ("name", "address")}
# columns of the tables, after the names
LISTENER_COLUMNS = ("queries", "responses", "dropped")
TAP_BOOKS = ("offered", "sent", "queued", "spooled", "dropped", "bytes")
TAP_COLUMNS = ("state", *TAP_BOOKS, "connects", "collectors", "oldest_s", "last_error")
UPSTREAM_COLUMNS = (
    "state",
    "queries",
    "responses",
    "timeouts",
    "mismatches",
    "in_flight",
    "rtt_ms",
    "failures",
    "transitions",
    "connections",
)
# most taps and upstreams have none
SHOWN_IF_ANY = ("spooled", "collectors", "failures", "transitions", "connections")

Entry = dict[str, Any]


def snapshot(
    *,
    started: float,
    workers: int,
    listeners: Iterable[Mapping[str, Any]],
    taps: Iterable[Mapping[str, Any]],
    upstreams: Iterable[Mapping[str, Any]],
    plugins: Mapping[str, Mapping[str, Any]],
) -> Entry:
    """The status of a proxy that started at `started` (time.monotonic()), entries for the same thing added up."""
    return {
        "version": dnsproxy.__version__,
        "compiled": dnsproxy.COMPILED,
        "uptime_s": round(time.monotonic() - started, 1),
        "workers": workers,
        "listeners": merged(listeners, IDENTITIES["listeners"]),
        "taps": merged(map(_with_reconnects, taps), IDENTITIES["taps"]),
        "upstreams": merged(upstreams, IDENTITIES["upstreams"]),
        "plugins": {name: dict(counters) for name, counters in plugins.items()},
    }


def _with_reconnects(tap: Mapping[str, Any]) -> Entry:
    """Every connection of a tap's own but the first; collectors that dial in are not counted so."""
    dials = "connects" in tap and "collectors" not in tap
    return {"reconnects": max(tap["connects"] - 1, 0), **tap} if dials else dict(tap)


def merged(entries: Iterable[Mapping[str, Any]], identity: Sequence[str]) -> list[Entry]:
    """One entry for all that agree in `identity`: counters added, the worst state, the last error."""
    by_identity: dict[tuple[Any, ...], Entry] = {}
    for entry in entries:
        key = tuple(entry.get(name) for name in identity)
        before = by_identity.get(key)
        by_identity[key] = dict(entry) if before is None else added(before, entry)
    return list(by_identity.values())


def added(first: Mapping[str, Any], second: Mapping[str, Any]) -> Entry:
    """Two entries of counters as one."""
    total = {name: _added(name, first.get(name), second.get(name)) for name in dict.fromkeys([*first, *second])}
    if "since_s" in total:  # of the state that is shown
        ages = [entry.get("since_s") or 0 for entry in (first, second) if entry.get("state") == total.get("state")]
        total["since_s"] = max(ages, default=None)
    return total


def _added(name: str, first: Any, second: Any) -> Any:
    if first is None or second is None:
        return second if first is None else first
    if name == "state":
        return min(first, second, key=lambda state: WORST_FIRST.index(state) if state in WORST_FIRST else -1)
    if name == "last_error":
        return second
    if name in GREATEST:
        return max(first, second)
    if isinstance(first, dict):
        return added(first, second)
    if isinstance(first, bool):
        return first or second
    return first + second if isinstance(first, int | float) else first


def problems(status: Mapping[str, Any]) -> list[str]:
    """A line for what is not well: missing workers, each tap, each upstream."""
    found = []
    workers = status.get("workers", 1)
    missing = workers - status.get("workers_ready", workers)
    if missing:
        found.append(f"{missing} of {workers} workers {'is' if missing == 1 else 'are'} not ready")
    for tap in status.get("taps", ()):
        if tap.get("state") not in WELL_TAPS:
            found.append(_problem("tap", tap))
        elif tap.get("stalled"):
            waits = tap.get("oldest_queued_s") or 0
            found.append(f"tap {clean(tap.get('name'))} has stalled: {tap.get('queued')} queued, oldest {waits:g} s")
    upstreams = [each for each in status.get("upstreams", ()) if each.get("state") not in WELL_UPSTREAMS]
    return found + [_problem("upstream", each) for each in upstreams]


def _problem(kind: str, entry: Mapping[str, Any]) -> str:
    reason = f": {clean(entry['last_error'])}" if entry.get("last_error") else ""
    return f"{kind} {clean(entry.get('name'))} is {clean(entry.get('state'))}{reason}"


def well(status: Mapping[str, Any]) -> str:
    """The line for when there are no problems."""
    return f"ok: {_count('tap', status.get('taps', ()))}, {_count('upstream', status.get('upstreams', ()))}"


def _count(noun: str, entries: Sequence[object]) -> str:
    return f"{len(entries)} {noun}{'' if len(entries) == 1 else 's'}"


def tables(status: Mapping[str, Any]) -> str:
    """The status for people."""
    parts = [[_headline(status)]]
    parts.append(_table("LISTENER", "address", LISTENER_COLUMNS, status.get("listeners", ())))
    parts.append(_table("TAP", "name", TAP_COLUMNS, [_tap_row(tap) for tap in status.get("taps", ())]))
    parts.append(_table("UPSTREAM", "name", UPSTREAM_COLUMNS, status.get("upstreams", ())))
    parts.append([f"{clean(name)}: {_counters(counters)}" for name, counters in status.get("plugins", {}).items()])
    parts.append(_troubles(status))
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def _tap_row(tap: Mapping[str, Any]) -> Entry:
    state = f"{tap.get('state')}, stalled" if tap.get("stalled") else tap.get("state")
    return {**tap, "state": state, "oldest_s": tap.get("oldest_queued_s")}


def _counters(counters: Mapping[str, Any]) -> str:
    return ", ".join(f"{clean(name).replace('_', ' ')} {clean(value)}" for name, value in counters.items())


def _troubles(status: Mapping[str, Any]) -> list[str]:
    """What was refused for a limit, and what failed inside: lines only where there was any."""
    refused = status.get("limits", {}).get("refused", {})
    lines = [f"refused for the limit {clean(name)}: {clean(number)}" for name, number in refused.items() if number]
    if status.get("failures"):
        lines.append(f"queries that failed inside a plugin: {clean(status['failures'])} (see the log)")
    if status.get("observer_failures"):
        lines.append(f"failures of observers and taps: {clean(status['observer_failures'])} (see the log)")
    return lines


def _headline(status: Mapping[str, Any]) -> str:
    build = "compiled" if status.get("compiled") else "interpreted"
    workers = status.get("workers", 1)
    up = f"up {status.get('uptime_s', 0):g} s"
    return f"dnsproxy {clean(status.get('version'))}, {build}, {up}, {workers} worker{'' if workers == 1 else 's'}"


def _table(title: str, name: str, columns: Sequence[str], entries: Sequence[Mapping[str, Any]]) -> list[str]:
    if not entries:
        return []
    columns = [name for name in columns if name not in SHOWN_IF_ANY or any(entry.get(name) for entry in entries)]
    header = [title, *(column.upper().replace("_", " ") for column in columns)]
    rows = [[_cell(entry.get(column)) for column in (name, *columns)] for entry in entries]
    numbers = [number for number, cell in enumerate(rows[0]) if cell.replace(".", "").isdigit()]
    return aligned([header, *rows], right=numbers)


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{clean(name)} {_cell(inner)}" for name, inner in value.items() if inner) or "-"
    return "-" if value is None else clean(value)
