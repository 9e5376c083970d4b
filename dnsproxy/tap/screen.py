"""What `top` shows, as tables for a terminal."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from dnsproxy.tap.frame import TYPE_NAMES
from dnsproxy.tap.report.amounts import duration, grouped, rate, share
from dnsproxy.tap.report.summary import SHARES, Summary
from dnsproxy.tap.tally import FINE, RCODE, TYPE, Tally
from dnsproxy.tap.window import Window
from dnsproxy.tap.words import word
from dnsproxy.text_table import clean

BLOCKS: Final = " ▁▂▃▄▅▆▇█"
TOP: Final = 10  # rows of names, clients, upstreams
WORDS: Final = 5  # rows of record types and the like
NUMBER_WIDTH: Final = 6  # characters: `89.7 %`, `36.4 ms` takes one more
DIM, BOLD, BAD = "dim", "bold", "bold red"

Rows = Sequence[tuple[str, int]]


def screen(window: Window, title: str, now: float) -> RenderableType:
    """All of it; `now` is in seconds since 1970."""
    tally = window.tally()
    summary = Summary(tally, TOP)
    words = [("protocol", summary.protocols), ("qtype", summary.qtypes), ("rcode", summary.rcodes)]
    lists = [("name", summary.names), ("client", summary.clients), ("upstream", summary.upstreams)]
    return Group(
        _head(window, tally, title, now),
        _beside(_types(window, tally), _latencies(tally), ratios=(5, 6)),
        _beside(*(_words(heading, rows[:WORDS], tally.frames) for heading, rows in words)),
        _beside(*(_list(heading, rows) for heading, rows in lists)),
    )


def _head(window: Window, tally: Tally, title: str, now: float) -> RenderableType:
    rcodes = tally.by(RCODE)
    errors = sum(count for rcode, count in rcodes.items() if rcode not in FINE)
    numbers = Text()
    for value, meaning, style in (
        (grouped(window.frames), "messages", BOLD),
        (rate(window.rate()), "per second", BOLD),
        (share(errors, rcodes.total()), "with an error", BAD if errors else BOLD),
        (grouped(window.damaged), "damaged", BAD if window.damaged else BOLD),
    ):
        numbers.append(value, style).append(f" {meaning}   ")
    grid = Table.grid(expand=True)
    grid.add_column(no_wrap=True, overflow="ellipsis")
    grid.add_column(no_wrap=True, justify="right")
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    grid.add_row(Text(clean(title), BOLD), Text(clock, DIM))
    grid.add_row(numbers, Text(sparkline(window.amounts()), "cyan"))
    return grid


def sparkline(amounts: Sequence[float]) -> str:
    """A character for each, as high as it is much."""
    most = max(amounts, default=0.0)
    if not most:
        return BLOCKS[0] * len(amounts)
    return "".join(BLOCKS[-(-int(amount * 1000) * (len(BLOCKS) - 1) // int(most * 1000 + 1))] for amount in amounts)


def _types(window: Window, tally: Tally) -> Table:
    table = _table("type", "count", "per second")
    for type, count in tally.by(TYPE).most_common(WORDS):
        table.add_row(word(TYPE_NAMES, type), grouped(count), rate(window.rate(type)))
    return table


def _latencies(tally: Tally) -> Table:
    table = _table("took", "half", "90 %", "99 %", "longest")
    for type, latencies in sorted(tally.latencies.items()):
        times = (duration(value) for value in (*latencies.at(*SHARES), latencies.maximum))
        table.add_row(word(TYPE_NAMES, type), *times)
    return table


def _words(heading: str, rows: Rows, total: int) -> Table:
    table = _table(heading, "count", "")
    for value, count in rows:
        table.add_row(value, grouped(count), Text(share(count, total), DIM))
    return table


def _list(heading: str, rows: Rows) -> Table:
    table = _table(heading, "count")
    for value, count in rows:
        table.add_row(Text(clean(value), overflow="ellipsis"), grouped(count))
    return table


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style=DIM, padding=(0, 1), pad_edge=False, expand=True)
    table.add_column(first, no_wrap=True, ratio=1)
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True, min_width=NUMBER_WIDTH)
    return table


def _beside(*tables: Table, ratios: Sequence[int] = (1, 1, 1)) -> Table:
    grid = Table.grid(expand=True, padding=(0, 2))
    for ratio in ratios:
        grid.add_column(ratio=ratio)
    grid.add_row(*tables)
    return grid
