"""Frame Streams on standard output, as a recorder writes them."""

from __future__ import annotations

import os
from typing import Final

from dnsproxy.dnstap.rotation import NEVER
from dnsproxy.dnstap.stream_file import START, STOP

STANDARD_OUTPUT: Final = 1


class StandardStream:
    """From START, which is written at once, to STOP; as `recorder.Files`, with one file that never ends before."""

    turn = NEVER

    def __init__(self, descriptor: int = STANDARD_OUTPUT) -> None:
        """BrokenPipeError when nobody reads."""
        self.written = 0
        self._descriptor = descriptor
        self._is_broken = False
        self._write(START)

    def ask(self) -> None:
        """Nothing: there is no other file."""

    def is_due(self, now: float) -> bool:
        """Never."""
        return False

    def pause_s(self, now: float) -> float:
        """For ever."""
        return NEVER

    def write(self, frames: bytes | memoryview, now: float) -> None:
        """BrokenPipeError when nobody reads any more, once."""
        self._write(frames)
        self.written += len(frames)

    def sync(self) -> None:
        """Nothing: what is written has left."""

    def end(self) -> None:
        """STOP."""
        self._write(STOP)

    def abandon(self) -> None:
        """Nothing is left to be done."""

    def wait(self, timeout_s: float | None = None) -> bool:
        """Nothing is ever waited for."""
        return True

    def _write(self, octets: bytes | memoryview) -> None:
        rest = memoryview(octets)
        while rest and not self._is_broken:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BrokenPipeError:
                self._is_broken = True
                raise

    def __repr__(self) -> str:
        return f"<StandardStream of {self.written} octets>"
