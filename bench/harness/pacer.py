"""A client that asks at an even rate and measures each answer: `pacer.py HOST PORT QUERIES RATE SECONDS`.

Runs as a program of its own and prints one line of JSON. A query leaves when it is due, whatever became of those
before it. An answer's time of arrival is the kernel's (SO_TIMESTAMPNS), so that answers are read in handfuls, and the
client neither wakes up for each one nor adds its own delay to it.
"""

import ctypes
import gc
import json
import math
import socket
import struct
import sys
import time
from array import array
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

READ_EVERY = 32  # queries: far fewer than a socket of default size holds answers
LAST_ANSWER_S = 3.0  # after the last query: an upstream of the bench may take half of that
WARM_UP_SHARE = 0.1  # of the answers, at the start: not measured
ANCILLARY_OCTETS = 64  # a struct timespec with its header, and room to spare
WIRE_OCTETS = 4096
RECEIVE_BUFFER = 4 << 20  # where the system allows it
PR_SET_TIMERSLACK = 29  # of Linux's prctl: sleeps are otherwise up to 50 µs too long
SO_TIMESTAMPNS = getattr(socket, "SO_TIMESTAMPNS", 35)
IDS = 65_536
TYPES = {"A": 1, "TXT": 16, "AAAA": 28}
CLASS_IN, RECURSION_DESIRED = 1, 0x0100
RCODE_BITS, NOERROR = 0x0F, 0


@dataclass(frozen=True)
class Summary:
    """What came of the queries; the percentiles of the answers' times in microseconds, 0 when none came."""

    sent: int
    answered: int
    noerror: int
    seconds: float
    p50_us: float
    p90_us: float
    p99_us: float

    @classmethod
    def of(cls, sent: int, noerror: int, seconds: float, latencies_ns: Sequence[int]) -> "Summary":
        measured = sorted(latencies_ns[int(len(latencies_ns) * WARM_UP_SHARE) :])
        p50, p90, p99 = (percentile(measured, share) / 1000 for share in (0.5, 0.9, 0.99))
        return cls(sent, len(latencies_ns), noerror, seconds, p50, p90, p99)


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least of the values that is not below `share` of them (nearest rank); 0 of nothing."""
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else 0


def question(line: str) -> bytes:
    """A query without its ID, of a line of dnsperf's input: a name and a type."""
    name, type_ = line.split()
    labels = (label.encode() for label in name.rstrip(".").split("."))
    wire = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return struct.pack("!5H", RECURSION_DESIRED, 1, 0, 0, 0) + wire + struct.pack("!2H", TYPES[type_], CLASS_IN)


class Pacer:
    """One socket, its queries and what is known of their answers."""

    def __init__(self, host: str, port: int, questions: Sequence[bytes]) -> None:
        self.questions = questions
        self.sent = self.noerror = 0
        self.latencies_ns = array("q")
        self._sent_ns = [0] * IDS  # by message ID; 0: not asked or answered already
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        self._socket.connect((host, port))
        self._socket.setblocking(False)

    def run(self, rate: float, seconds: float) -> Summary:
        """Asks for that many seconds, waits for the last answers."""
        gap_ns = 1e9 / rate
        start_ns = time.monotonic_ns()
        for number in range(round(rate * seconds)):
            early_ns = start_ns + number * gap_ns - time.monotonic_ns()
            if early_ns > 0:
                time.sleep(early_ns / 1e9)
            self._ask(number)
            if not number % READ_EVERY:
                self._read()
        took_s = (time.monotonic_ns() - start_ns) / 1e9
        self._wait_for_the_rest()
        return Summary.of(self.sent, self.noerror, took_s, self.latencies_ns)

    def _ask(self, number: int) -> None:
        id_ = number % IDS
        wire = id_.to_bytes(2, "big") + self.questions[number % len(self.questions)]
        self._sent_ns[id_] = time.time_ns()
        self.sent += 1
        try:
            self._socket.send(wire)
        except (BlockingIOError, ConnectionRefusedError):
            return  # a query that is lost, like any other

    def _wait_for_the_rest(self) -> None:
        give_up = time.monotonic() + LAST_ANSWER_S
        while len(self.latencies_ns) < self.sent and time.monotonic() < give_up:
            time.sleep(0.01)
            self._read()

    def _read(self) -> None:
        """Every answer that has arrived."""
        while True:
            try:
                wire, ancillary, _flags, _address = self._socket.recvmsg(WIRE_OCTETS, ANCILLARY_OCTETS)
            except (BlockingIOError, ConnectionRefusedError):
                return
            id_ = int.from_bytes(wire[:2], "big")
            sent_ns, self._sent_ns[id_] = self._sent_ns[id_], 0
            if sent_ns:
                seconds, nanoseconds = struct.unpack("@2l", ancillary[0][2])
                self.latencies_ns.append(seconds * 1_000_000_000 + nanoseconds - sent_ns)
                self.noerror += wire[3] & RCODE_BITS == NOERROR


def main() -> None:
    host, port, queries, rate, seconds = sys.argv[1:]
    gc.disable()
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, ctypes.c_ulong(1))
    questions = [question(line) for line in Path(queries).read_text().splitlines()]
    print(json.dumps(asdict(Pacer(host, int(port), questions).run(float(rate), float(seconds)))))


if __name__ == "__main__":
    main()
