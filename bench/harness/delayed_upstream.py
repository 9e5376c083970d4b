"""The harness's side of the upstream that keeps queries waiting: starts it, asks what it saw."""

from pathlib import Path

from harness.children import Children
from harness.loopback import HOST
from harness.talker import Talker

DELAYED = Path(__file__).with_name("delayed.py")


class DelayedUpstream:
    """Answers every query after `delay_s`."""

    def __init__(self, children: Children, delay_s: float) -> None:
        self._talker = Talker(children, "delayed upstream", DELAYED, [HOST, f"{delay_s:g}"])
        self.port = int(self._talker.greeting)

    def asked(self) -> int | None:
        return self._counts()[0]

    def most_waiting(self) -> int:
        """The most queries that it has had at once."""
        return self._counts()[1]

    def _counts(self) -> tuple[int, int]:
        asked, most = self._talker.ask().split()
        return int(asked), int(most)
