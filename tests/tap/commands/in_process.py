"""A command of `dnsproxy tap` in the tests' own process: many of them take no time."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dnsproxy.tap.cli import main

Captured = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Done:
    """How it ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def values(self) -> list[Any]:
        """A JSON value for each line."""
        return [json.loads(line) for line in self.lines]


def run(captured: Captured, *arguments: str | Path) -> Done:
    """`dnsproxy tap ARGUMENTS…` with what `capfd` catches."""
    captured.readouterr()
    status = main([os.fspath(argument) for argument in arguments])
    out, err = captured.readouterr()
    return Done(status, out, err)
