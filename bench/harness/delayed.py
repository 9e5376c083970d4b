"""An upstream that keeps every query waiting: `delayed.py HOST SECONDS`.

Runs as a program of its own: prints its port, then, for each line on standard input, how many queries it got and the
most that it has had waiting at once. Its answers are one A record with TTL 0.
"""

import selectors
import socket
import struct
import sys
import time
from collections import deque

SO_RCVBUFFORCE = 33  # Linux; for root only
RECEIVE_BUFFER = 8 << 20  # a burst of thousands of queries, should others have the processor meanwhile
BATCH = 64  # queries read before the answers due are looked at again
WIRE_OCTETS = 4096
ANSWER_FLAGS = struct.pack("!5H", 0x8580, 1, 1, 0, 0)  # QR AA RD RA; one question, one answer
RECORD = struct.Struct("!3HIH4B")


def answer(query: bytes, ttl: int = 0) -> bytes:
    """NOERROR and one address, to a query with one question; an OPT is not answered."""
    end = query.index(0, 12) + 5
    return query[:2] + ANSWER_FLAGS + query[12:end] + RECORD.pack(0xC00C, 1, 1, ttl, 4, 192, 0, 2, 1)


class Delayed:
    """One socket and the answers that wait for their time, in order."""

    def __init__(self, host: str, delay_s: float) -> None:
        self.delay_s = delay_s
        self.asked = self.most_waiting = 0
        self._waiting: deque[tuple[float, bytes, tuple[str, int]]] = deque()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._enlarge_buffer()
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self.socket, selectors.EVENT_READ, self._read)
        self._selector.register(sys.stdin, selectors.EVENT_READ, self._report)

    def run(self) -> None:
        """Until standard input ends."""
        print(self.socket.getsockname()[1], flush=True)
        while True:
            for key, _events in self._selector.select(self._pause_s()):
                key.data()
            self._answer()

    def _enlarge_buffer(self) -> None:
        try:
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except OSError:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def _pause_s(self) -> float | None:
        return max(self._waiting[0][0] - time.monotonic(), 0) if self._waiting else None

    def _read(self) -> None:
        now = time.monotonic()
        for _ in range(BATCH):
            try:
                query, client = self.socket.recvfrom(WIRE_OCTETS)
            except BlockingIOError:
                break
            self.asked += 1
            self._waiting.append((now + self.delay_s, answer(query), client))
        self.most_waiting = max(self.most_waiting, len(self._waiting))

    def _answer(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            _due, wire, client = self._waiting.popleft()
            try:
                self.socket.sendto(wire, client)
            except OSError:
                continue  # the program under test has closed that socket, or the buffer is full: it will ask again

    def _report(self) -> None:
        if not sys.stdin.readline():
            raise SystemExit
        print(self.asked, self.most_waiting, flush=True)


if __name__ == "__main__":
    Delayed(sys.argv[1], float(sys.argv[2])).run()
