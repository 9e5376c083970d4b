"""A DuckDB database, in a folder that goes with it, with frames in the table `dns`."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from dnsproxy.tap.arrow import Tables, require
from dnsproxy.tap.errors import Failure
from dnsproxy.tap.frame import TapFrame

TABLE: Final = "dns"
ROWS: Final = 500  # fetched at once
INSERTED: Final = 4000  # at once, which takes 5 MiB; DuckDB takes 1 ms for each time
WAIT_S: Final = 0.2  # between two looks whether a signal has come
OPTIONS: Final = {
    "autoinstall_known_extensions": "false",  # a query about files loads nothing from the network
    "memory_limit": "1GB",  # what takes more goes to the disk
}


class Database:
    """Closed, and gone, when the block ends. MissingModule where it takes what is not installed."""

    def __init__(self) -> None:
        require("sql", "duckdb", "pyarrow")
        import duckdb

        self._folder = tempfile.TemporaryDirectory(prefix="dnsproxy-tap-")
        path = Path(self._folder.name)
        self._connection = duckdb.connect(str(path / "dns.duckdb"), config={**OPTIONS, "temp_directory": str(path)})
        self._tables = Tables(frames=False)
        self._waiting: list[TapFrame] = []
        self._connection.register("frames", self._tables.schema.empty_table())
        self._connection.execute(f"CREATE TABLE {TABLE} AS SELECT * FROM frames")
        self._connection.begin()  # one transaction for all rows: 25 µs a row against 40
        self._is_open = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._folder.cleanup()

    def insert(self, frames: list[TapFrame]) -> None:
        """A row for each, by the query that follows, behind which there are no more."""
        self._waiting += frames
        if len(self._waiting) >= INSERTED:
            self._insert()

    def query(self, text: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
        """Names of columns, and rows, of the last statement in it; Failure says what is wrong with it."""
        self._insert()
        with _one_line():
            self._commit()
        self._execute(text)
        names = [column[0] for column in self._connection.description or ()]
        return names, self._rows()

    def _insert(self) -> None:
        if self._waiting:
            with _one_line():
                self._connection.register("frames", self._tables.of(self._waiting))
                self._connection.execute(f"INSERT INTO {TABLE} SELECT * FROM frames")
        self._waiting = []

    def _commit(self) -> None:
        if self._is_open:
            self._connection.commit()
            self._connection.unregister("frames")
            self._is_open = False

    def _rows(self) -> Iterator[tuple[Any, ...]]:
        while rows := self._fetch():
            yield from rows

    def _fetch(self) -> list[tuple[Any, ...]]:
        with _one_line():
            rows: list[tuple[Any, ...]] = self._connection.fetchmany(ROWS)
        return rows

    def _execute(self, text: str) -> None:
        """In a thread, as DuckDB lets no signal through until it is done."""
        errors: list[Failure] = []
        is_done = threading.Event()  # Thread.join takes a thread for ended once a signal has interrupted it

        def work() -> None:
            try:
                with _one_line():
                    self._connection.execute(text)
            except Failure as exc:
                errors.append(exc)
            finally:
                is_done.set()

        threading.Thread(target=work).start()
        try:
            while not is_done.wait(WAIT_S):
                pass
        except BaseException:
            self._connection.interrupt()
            while not is_done.wait(WAIT_S):
                self._connection.interrupt()  # it had not begun
            raise
        if errors:
            raise errors[0]


@contextmanager
def _one_line() -> Iterator[None]:
    """What DuckDB finds wrong becomes a Failure of one line: a query, or a disk that is full."""
    import duckdb

    try:
        yield
    except (duckdb.Error, RuntimeError) as exc:
        raise Failure(" ".join(line.strip() for line in str(exc).splitlines() if line.strip(" ^"))) from exc
