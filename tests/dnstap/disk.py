"""A disk that fills up."""

import errno
import os
from math import inf
from typing import Any

import pytest


class Disk:
    """Stands before `os.pwrite`: takes so many octets of a file and is full then, until told otherwise."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room = inf
        self.refuses_start = False
        self._pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", self)

    def __call__(self, descriptor: int, octets: Any, at: int) -> int:
        end = int(min(self.room, at + len(octets)))
        if end <= at or (self.refuses_start and not at):
            self.refuse()
        return self._pwrite(descriptor, octets[: end - at], at)

    def refuse(self, *_arguments: object) -> Any:
        """What a full disk says to everything."""
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
