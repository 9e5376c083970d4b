"""The harness's side of the collector process: starts it, asks what has arrived."""

import sys
from dataclasses import dataclass
from pathlib import Path

from harness.children import Children
from harness.errors import BenchError

SINK = Path(__file__).with_name("sink.py")
IDENTITY = "xQ~bench~collector"  # every message carries it once; nothing else in a message looks like it


@dataclass(frozen=True)
class Arrived:
    """Messages and octets of one tap since the collector's start."""

    messages: int
    octets: int


class Collector:
    """One process for all taps of a measurement, since its cost is nobody's but takes from the shared cores."""

    def __init__(self, children: Children, paths: list[Path]) -> None:
        self._children = children
        command = [sys.executable, str(SINK), IDENTITY, *map(str, paths)]
        self._child = children.start("collector", command, talks=True)
        self._read_line()

    def arrived(self) -> list[Arrived]:
        """Tap by tap."""
        assert self._child.stdin is not None
        self._child.stdin.write(b"?\n")
        self._child.stdin.flush()
        return [Arrived(*map(int, tap.split("/"))) for tap in self._read_line().split()]

    def end(self) -> None:
        self._children.end(self._child)

    def _read_line(self) -> str:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise BenchError(f"the collector ended: {self._children.last_words('collector')}")
        return line.decode()
