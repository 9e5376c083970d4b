"""The harness's side of the collector process: starts it, asks what has arrived."""

from dataclasses import dataclass
from pathlib import Path

from harness.children import Children
from harness.talker import Talker

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
        self._talker = Talker(children, "collector", SINK, [IDENTITY, *map(str, paths)])

    def arrived(self) -> list[Arrived]:
        """Tap by tap."""
        return [Arrived(*map(int, tap.split("/"))) for tap in self._talker.ask().split()]
