"""`dnsproxy tap sql QUERY FILE…`: SQL over files, in the table `dns` with the keys of `--json` for columns."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any, Final

from dnsproxy.tap import common
from dnsproxy.tap.choice import choice_from
from dnsproxy.tap.database import Database
from dnsproxy.tap.inputs import Inputs
from dnsproxy.tap.progress import Progress
from dnsproxy.tap.standard_output import put
from dnsproxy.text_table import aligned

DONE, DAMAGED = 0, 1
Row = tuple[Any, ...]
ALIGNED_ROWS: Final = 1000  # that have common widths; more would have to be waited for


def add_options(parser: common.Parser) -> None:
    """See `dnsproxy tap sql --help`."""
    parser.add_argument("query", metavar="QUERY", help='such as "SELECT qname, count(*) FROM dns GROUP BY qname"')
    common.add_files(parser, "all are in the table, merged by message time")
    common.add_order(parser)
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument("--json", action="store_true", help="a JSON object for each row")
    forms.add_argument("--csv", action="store_true", help="comma-separated values, with a line of names")
    common.add_filters(parser)
    common.add_masks(parser)


def run(options: argparse.Namespace) -> int:
    """1 if a file could not be read whole, or had damage, or the query is wrong."""
    choose = choice_from(options)
    with Database() as database:
        progress = Progress(options.files)
        inputs = Inputs(options.files, None, options.max_frame, options.concat, progress.tell)
        try:
            for batch in inputs.batches():
                database.insert(choose(batch))
                progress.show(inputs.position)
        finally:
            progress.end()
        names, rows = database.query(options.query)
        write = _json if options.json else _csv if options.csv else _table
        put(write(names, rows))
    return DONE if inputs.is_whole else DAMAGED


def _json(names: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(dict(zip(names, row, strict=True)), default=_plain) + "\n"


def _csv(names: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """As RFC 4180 has it, but for the end of a line."""
    if names:
        yield _csv_line(names)
    for row in rows:
        yield _csv_line([_text(value, "") for value in row])


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _table(names: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """Columns as wide as the widest of some rows."""
    rows = iter(rows)
    block = list(islice(rows, ALIGNED_ROWS))
    numbers = [place for place in range(len(names)) if all(isinstance(row[place], int | float) for row in block)]
    header = [names] if names else []
    while header or block:
        table = [*header, *([_text(value, "null") for value in row] for row in block)]
        yield from (f"{line}\n" for line in aligned(table, numbers))
        header, block = [], list(islice(rows, ALIGNED_ROWS))


def _plain(value: object) -> object:
    """What JSON has no form for."""
    return float(value) if isinstance(value, Decimal) else str(value)


def _text(value: object, nothing: str) -> str:
    if value is None:
        return nothing
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | dict):
        return json.dumps(value, default=_plain)
    return str(value)
