"""A collector that costs little: accepts Frame Streams on unix sockets, counts the messages, keeps nothing.

Runs as a program of its own, `sink.py MARKER PATH...`: prints `ready`, then, for each line on standard input, one
line of counts.
"""

import selectors
import socket
import struct
import sys
from functools import partial
from pathlib import Path

# Both control frames that a collector sends, with the content type that dnstap uses.
CONTENT_TYPE = b"protobuf:dnstap.Dnstap"
ACCEPT = struct.pack("!IIIII", 0, 12 + len(CONTENT_TYPE), 1, 1, len(CONTENT_TYPE)) + CONTENT_TYPE
FINISH = struct.pack("!III", 0, 4, 5)
STOP = struct.pack("!III", 0, 4, 3)
READY_OCTETS = 8 + 4 + 8 + len(CONTENT_TYPE)  # READY with one content type, which is what every peer here sends
READ_OCTETS = 1 << 20  # far above what a unix socket holds, so that one read empties it


class Counter:
    """Counts occurrences of a marker in a stream of chunks.

    Each message carries the marker once, as its identity. 43 ns a message, against 161 for walking the frames' lengths.
    """

    def __init__(self, marker: bytes) -> None:
        self.marker = marker
        self.messages = 0
        self.octets = 0
        self._kept = 0  # octets of the last chunk that may begin a marker
        self._buffer = bytearray(len(marker) + READ_OCTETS)
        self._views = [memoryview(self._buffer)[kept:] for kept in range(len(marker))]

    @property
    def space(self) -> memoryview:
        """Where the next chunk belongs."""
        return self._views[self._kept]

    def advance(self, octets: int) -> bytes:
        """Counts the chunk that has been put into `space`; returns the last octets seen."""
        end = self._kept + octets
        self.octets += octets
        self.messages += self._buffer.count(self.marker, 0, end)
        last = bytes(self._buffer[max(0, end - len(self.marker) + 1) : end])
        self._kept = len(last)
        self._buffer[: self._kept] = last
        return last


class Sink:
    """Every tap's listener and connections, in one loop without threads."""

    def __init__(self, marker: str, paths: list[str]) -> None:
        self.marker = marker.encode()
        self.totals = [[0, 0] for _ in paths]  # messages and octets
        self._selector = selectors.DefaultSelector()
        for number, path in enumerate(paths):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(path)
            listener.listen()
            self._selector.register(listener, selectors.EVENT_READ, partial(self._accept, listener, number))
        self._selector.register(sys.stdin, selectors.EVENT_READ, self._report)

    def run(self) -> None:
        """Until standard input ends."""
        print("ready", flush=True)
        while True:
            for key, _events in self._selector.select():
                key.data()

    def _accept(self, listener: socket.socket, number: int) -> None:
        connection, _ = listener.accept()
        connection.settimeout(5)
        connection.recv(READY_OCTETS, socket.MSG_WAITALL)
        connection.sendall(ACCEPT)
        read = partial(self._read, connection, Counter(self.marker), self.totals[number])
        self._selector.register(connection, selectors.EVENT_READ, read)

    def _read(self, connection: socket.socket, counter: Counter, total: list[int]) -> None:
        before = counter.messages
        octets = connection.recv_into(counter.space)
        last = counter.advance(octets)
        total[0] += counter.messages - before
        total[1] += octets
        if last.endswith(STOP):
            connection.sendall(FINISH)
        if not octets:
            self._selector.unregister(connection)
            connection.close()

    def _report(self) -> None:
        if not sys.stdin.readline():
            raise SystemExit
        print(" ".join(f"{messages}/{octets}" for messages, octets in self.totals), flush=True)


if __name__ == "__main__":
    for stale in map(Path, sys.argv[2:]):
        stale.unlink(missing_ok=True)
    Sink(sys.argv[1], sys.argv[2:]).run()
