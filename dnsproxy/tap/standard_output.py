"""Text on standard output: UTF-8 whatever the locale, in large pieces, and an error where it happens, not at exit."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Final

PIECE: Final = 64 * 1024  # characters written at once


class StandardOutput:
    """Takes text; it is written when there is much of it, and by `flush`. OSError when it cannot be written."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._size = 0

    def write(self, text: str) -> None:
        """Take some."""
        self._pieces.append(text)
        self._size += len(text)
        if self._size >= PIECE:
            self.flush()

    def flush(self) -> None:
        """Write all of it."""
        octets = memoryview("".join(self._pieces).encode("utf-8", "replace"))
        self._pieces, self._size = [], 0
        while octets:
            octets = octets[os.write(sys.stdout.fileno(), octets) :]


def put(pieces: Iterable[str]) -> None:
    """Write them, and nothing else is left."""
    output = StandardOutput()
    for piece in pieces:
        output.write(piece)
    output.flush()
