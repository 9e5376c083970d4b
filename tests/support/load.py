"""Queries in numbers: a batch at a time, each answered, or at a steady rate in a thread."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.support import wire
from tests.support.client import answers, udp_socket

BATCH = 50  # in flight at once: well below what any socket buffer holds
ANSWER_WITHIN_S = 3.0


def ask_many(port: int, count: int, label: str = "many", *, qtype: str = "A") -> None:
    """So many queries for different names, each answered."""
    with udp_socket(port) as client:
        for start in range(0, count, BATCH):
            ids = range(start, min(start + BATCH, count))
            for id in ids:
                client.send(wire.query(f"q{id}.{label}.example.org", qtype, id=id))
            assert len(answers(client, len(ids))) == len(ids)


class SteadyLoad:
    """Asks `rate` queries a second from `with` to its end; `latencies_s` has what each answer took."""

    def __init__(self, port: int, rate: int, label: str = "steady") -> None:
        self.port, self.rate, self.label = port, rate, label
        self.asked = 0
        self.latencies_s = list[float]()
        self._sent = dict[int, float]()
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def lost(self) -> int:
        return self.asked - len(self.latencies_s)

    def end(self) -> None:
        """Stops asking, and waits for the last answers."""
        self._over.set()
        self._thread.join()

    def latency_s(self, part: float = 0.99, *, since: int = 0) -> float:
        """The latency that this part of the answers, from number `since` on, stayed below."""
        ordered = sorted(self.latencies_s[since:])
        return ordered[min(int(len(ordered) * part), len(ordered) - 1)]

    def _run(self) -> None:
        with udp_socket(self.port) as client:
            started = time.monotonic()
            while not self._over.is_set():
                while self.asked < (time.monotonic() - started) * self.rate:
                    self._ask(client.send)
                self._hear(answers(client, self.rate, within_s=0.002))
            self._hear(answers(client, self.lost, within_s=ANSWER_WITHIN_S))

    def _ask(self, send: Callable[[bytes], int]) -> None:
        id = self.asked & 0xFFFF
        self._sent[id] = time.monotonic()
        send(wire.raw_query(wire.name_to_wire(f"s{self.asked}.{self.label}.example.org"), id=id))
        self.asked += 1

    def _hear(self, found: list[bytes]) -> None:
        now = time.monotonic()
        self.latencies_s += [now - self._sent.pop(wire.message_id(one)) for one in found]
