"""The supervisor's side of file taps: one file for all workers, written in threads: a slow disk stops nobody."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
from pathlib import Path
from typing import Any, Final

from dnsproxy.dnstap.relayed_output import ANSWER, BATCH, MAX_BATCH
from dnsproxy.dnstap.stream_file import StreamFile

DISK_S: Final = 2.0  # for what is being written when everything ends

log = logging.getLogger("dnsproxy")


class Relay:
    """The files, by what the workers call them; a thread for each worker's connection to each of them."""

    def __init__(self) -> None:
        self._files: dict[str, _SharedFile] = {}
        self._changing = threading.Lock()  # the files and their writers
        self._threads: set[threading.Thread] = set()

    def serve(self, tap: dict[str, Any], descriptor: int) -> None:
        """Write what comes on a worker's connection to the file of a tap: `key`, `name` and `path`.

        The file is begun with the first connection, and ends with the last one that says so. One that breaks off says
        nothing: its worker may come back.
        """
        with self._changing:
            file = self._files.get(tap["key"])
            if file is None:
                file = self._files[tap["key"]] = _SharedFile(tap["name"], Path(tap["path"]))
            file.writers += 1
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
            is_over = has_ended and not file.writers
            if is_over and self._files.get(key) is file:
                del self._files[key]
        if is_over:
            file.finish()

    def close(self) -> None:
        """End every file in good order, once nobody writes any more."""
        end = time.monotonic() + DISK_S
        for thread in self._threads:
            thread.join(max(end - time.monotonic(), 0))
        for file in self._files.values():
            file.finish()
        self._files.clear()


class _SharedFile:
    """A file that several threads write, a batch at a time."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.writers = 0
        self._file = StreamFile(path)
        self._has_rest = False  # of a frame that was not written whole
        self._writing = threading.Lock()

    def open(self) -> int:
        """Begin the file unless it has been begun; errno, or 0."""
        with self._writing:
            try:
                if not self._file.is_open:
                    log.info("tap %s writes %s", self.name, self._file.create())
            except OSError as exc:
                return exc.errno or errno.EIO
        return 0

    def write(self, batch: memoryview) -> tuple[int, int]:
        """Octets of whole frames that are in the file, and errno: 0 when all are."""
        with self._writing:
            taken = 0
            try:
                if self._has_rest:
                    self._file.cut()
                    self._has_rest = False
                while taken < len(batch):
                    taken += self._file.write(batch[taken:], taken)
            except OSError as exc:
                whole = whole_frames(batch, taken)
                self._file.keep(whole)
                self._has_rest = True
                return whole, exc.errno or errno.EIO
            self._file.keep(taken)
            return taken, 0

    def finish(self) -> None:
        """End the stream, as far as the disk allows."""
        if not self._writing.acquire(timeout=DISK_S):
            log.warning("tap %s ends without STOP: the disk hangs", self.name)
            return
        try:
            if self._file.is_open:
                self._file.cut()
                self._file.finish()
        except OSError as exc:
            log.warning("tap %s ends without STOP: %s", self.name, exc.strerror)
            self._file.close()
        finally:
            self._writing.release()


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


def whole_frames(batch: memoryview, octets: int) -> int:
    """How many of the first `octets` of a batch are frames that are there to their end."""
    end = 0
    while end + BATCH.size <= octets:
        next_end = end + BATCH.size + int(BATCH.unpack_from(batch, end)[0])
        if next_end > octets:
            break
        end = next_end
    return end
