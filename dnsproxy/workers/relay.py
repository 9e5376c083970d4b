"""The supervisor's side of file taps: the same files for all workers, written in threads: a slow disk stops nobody."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from dnsproxy.dnstap.relayed_output import ANSWER, BATCH, MAX_BATCH
from dnsproxy.dnstap.rotation import LOOK_S, Rotation
from dnsproxy.dnstap.rotation_series import FileSeries

DISK_S: Final = 5.0  # for what is being written, and compressed, when everything ends
RETRY_S: Final = 1.0  # after a file could not be ended or begun in time

log = logging.getLogger("dnsproxy")


class Relay:
    """The files, by what the workers call them; a thread for each worker's connection to each of them.

    `clock` gives seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._files: dict[str, _SharedFile] = {}
        self._changing = threading.Lock()  # the files and their writers
        self._threads: set[threading.Thread] = set()

    def serve(self, tap: dict[str, Any], descriptor: int) -> None:
        """Write what comes on a worker's connection to the files of a tap: `key`, `name`, `path` and `rotation`.

        The first is begun with the first connection, and the last one ends with the last connection once one has said
        so. One that breaks off says nothing: its worker may come back.
        """
        with self._changing:
            file = self._files.get(tap["key"])
            if file is None:
                series = FileSeries(tap["name"], tap["path"], Rotation(**tap["rotation"]))
                file = self._files[tap["key"]] = _SharedFile(tap["name"], series, self._clock)
            file.writers += 1
            file.is_ending = False
        connection = socket.socket(fileno=descriptor)
        thread = threading.Thread(target=self._write, args=(tap["key"], file, connection), daemon=True)
        self._threads = {each for each in self._threads if each.is_alive()} | {thread}
        thread.start()

    def _write(self, key: str, file: _SharedFile, connection: socket.socket) -> None:
        connection.setblocking(True)
        with connection:
            has_ended = _write_batches(file, connection)
        with self._changing:
            file.writers -= 1
            file.is_ending = file.is_ending or has_ended  # a connection that broke off may be noticed after that
            is_over = file.is_ending and not file.writers
            if is_over and self._files.get(key) is file:
                del self._files[key]
        if is_over:
            file.finish(time.monotonic() + DISK_S)

    def reopener(self) -> Callable[[], None]:
        """A call that has every file of this moment end, and another one begin in its place; it does not wait."""
        with self._changing:
            files = list(self._files.values())

        def reopen() -> None:
            for file in files:
                file.reopen()

        return reopen

    def close(self) -> None:
        """End every file in good order, once nobody writes any more."""
        end = time.monotonic() + DISK_S
        for thread in self._threads:
            thread.join(_left_s(end))
        for file in self._files.values():
            file.finish(end)
        self._files.clear()


class _SharedFile:
    """What several threads write, a batch at a time, and one more looks after while they have nothing to write."""

    def __init__(self, name: str, series: FileSeries, clock: Callable[[], float]) -> None:
        self.name = name
        self.writers = 0
        self.is_ending = False  # a writer has said so, and none has come since
        self._series = series
        self._clock = clock
        self._writing = threading.Lock()
        self._woken = threading.Event()
        self._is_over = False
        threading.Thread(target=self._tend, daemon=True).start()

    def open(self) -> int:
        """Begin a file unless one is being written; errno, or 0."""
        with self._writing:
            try:
                if not self._series.is_open:
                    self._series.begin(self._clock())
                    self._woken.set()
            except OSError as exc:
                return exc.errno or errno.EIO
        return 0

    def write(self, batch: memoryview) -> tuple[int, int]:
        """Octets of whole frames that are in files, and errno: 0 when all are."""
        with self._writing:
            before, error = self._series.written, 0
            try:
                self._series.write(batch, self._clock())
            except OSError as exc:
                error = exc.errno or errno.EIO
            return self._series.written - before, error

    def reopen(self) -> None:
        """Have another file begun, in a moment."""
        self._series.ask()
        self._woken.set()

    def finish(self, deadline: float) -> None:
        """End the stream, as far as the disk allows, until then by the monotonic clock."""
        self._is_over = True
        self._woken.set()
        if not self._writing.acquire(timeout=_left_s(deadline)):
            log.warning("tap %s ends without STOP: the disk hangs", self.name)
            return
        try:
            self._series.end()
        except OSError as exc:
            log.warning("tap %s ends without STOP: %s", self.name, exc.strerror)
            self._series.abandon()
        finally:
            self._writing.release()
        if not self._series.wait(_left_s(deadline)):
            log.warning("tap %s: its closed files are not all compressed; the next start does the rest", self.name)

    def _tend(self) -> None:
        """Begin files that are due, whether anything is written or not."""
        pause_s = LOOK_S
        while not self._is_over:
            self._woken.wait(pause_s)
            self._woken.clear()
            with self._writing:
                pause_s = self._turn_if_due()

    def _turn_if_due(self) -> float:
        """For how long there is nothing more to do."""
        now = self._clock()
        try:
            if self._series.is_due(now) and not self._is_over:
                self._series.write(b"", now)
        except OSError:  # whoever writes next is told
            return RETRY_S
        return min(self._series.pause_s(self._clock()), LOOK_S)


def _left_s(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)


def _write_batches(file: _SharedFile, connection: socket.socket) -> bool:
    """Until the worker has no more; whether it said so."""
    try:
        error = file.open()
        connection.sendall(ANSWER.pack(0, error))
        while not error:
            (octets,) = BATCH.unpack(_receive(connection, BATCH.size))
            if not octets:
                return True
            if octets > MAX_BATCH:
                log.error("tap %s: a batch of %d octets from a worker", file.name, octets)
                return False
            connection.sendall(ANSWER.pack(*file.write(_receive(connection, octets))))
    except (OSError, EOFError):
        pass  # the worker is gone, or begins again
    return False


def _receive(connection: socket.socket, octets: int) -> memoryview:
    """So many octets; EOFError when the other side closes before."""
    received = memoryview(bytearray(octets))
    have = 0
    while have < octets:
        part = connection.recv_into(received[have:])
        if not part:
            raise EOFError
        have += part
    return received
