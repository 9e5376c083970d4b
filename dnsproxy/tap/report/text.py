"""The report for a terminal: tables of what was most frequent, and of what took how long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import Final

from dnsproxy.tap.frame import TYPE_NAMES
from dnsproxy.tap.report.amounts import cut, duration, grouped
from dnsproxy.tap.report.summary import SHARES, Summary
from dnsproxy.tap.report.tiles import tiles
from dnsproxy.text_table import aligned

WORDS_MAX: Final = 12  # rows of record types and the like
VALUE_MAX: Final = 40  # characters of a name

List = tuple[str, Sequence[tuple[str, int]]]


def lines(summary: Summary) -> Iterator[str]:
    """Line by line."""
    yield ", ".join(map(_said, tiles(summary)))
    first, last = summary.first, summary.last
    if first is not None:
        yield f"{first} to {last}"
    words: list[List] = [("type", summary.types), ("protocol", summary.protocols)]
    words += [("qtype", summary.qtypes), ("rcode", summary.rcodes)]
    yield from _beside([(heading, rows[:WORDS_MAX]) for heading, rows in words])
    yield from _latencies(summary)
    yield from _beside([("name", summary.names), ("client", summary.clients), ("upstream", summary.upstreams)])
    if not summary.is_exact:
        yield ""
        yield "So many names, clients or upstreams are different that rare ones were forgotten: counts are at least."


def _beside(lists: Sequence[List]) -> Iterator[str]:
    """Lists beside each other; those without rows are left out."""
    shown = [(heading, rows) for heading, rows in lists if rows]
    if not shown:
        return
    table = [[cell for heading, _ in shown for cell in (heading, "messages", "")]]
    lengthwise = zip_longest(*(rows for _, rows in shown))
    table += [[cell for item in row for cell in _cells(item)] for row in lengthwise]
    yield ""
    yield from aligned(table, right=range(1, len(table[0]), 3))


def _said(tile: tuple[str, str]) -> str:
    value, meaning = tile
    return f"{meaning} {value}" if meaning.endswith("within") else f"{value} {meaning}"


def _cells(item: tuple[str, int] | None) -> tuple[str, str, str]:
    return ("", "", "") if item is None else (cut(item[0], VALUE_MAX), grouped(item[1]), "")


def _latencies(summary: Summary) -> Iterator[str]:
    latencies = sorted(summary.tally.latencies.items())
    if not latencies:
        return
    table = [["latency", "messages", "half", "90 %", "99 %", "longest"]]
    for type, values in latencies:
        name = TYPE_NAMES.get(type, "unknown types")
        times = [duration(value) for value in (*values.at(*SHARES), values.maximum)]
        table.append([name, grouped(values.count), *times])
    yield ""
    yield from aligned(table, right=range(1, 6))
