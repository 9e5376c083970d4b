"""Prints messages as they come: rendered at once, written in a thread, so that a slow reader stops nobody's heart."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Final

import trio

from dnsproxy.tap.damage import Damages
from dnsproxy.tap.decoding import decoded
from dnsproxy.tap.frame import TapFrame
from dnsproxy.tap.output import NEW_MODE, STANDARD_OUTPUT
from dnsproxy.tap.rendering import Rendering
from dnsproxy.tap.runs import Run

FULL_OCTETS: Final = 4 << 20  # that wait for a slow reader before producers have to
END_S: Final = 1.0  # for whoever reads a pipe to take the rest


class Printer:
    """A consumer whose `run` writes; `done` is set once as many messages were printed as were wanted."""

    def __init__(self, rendering: Rendering, descriptor: int) -> None:
        self.done = trio.Event()
        self.octets = 0  # written
        self._rendering = rendering
        self._descriptor = descriptor
        self._waiting = [rendering.begin] if rendering.begin else []
        self._queued = len(rendering.begin)  # octets, of these and of what is being written
        self._woken = trio.Event()
        self._progress = trio.Event()
        self._is_ending = False

    @property
    def is_full(self) -> bool:
        """As a consumer's."""
        return self._queued >= FULL_OCTETS

    def take(self, run: Run, damages: Damages) -> None:
        """As a consumer's."""
        self.print(decoded(run, damages))

    def print(self, frames: list[TapFrame]) -> None:
        """Print those that are wanted; never waits."""
        octets = self._rendering.render(frames)
        if octets:
            self._waiting.append(octets)
            self._queued += len(octets)
            self._woken.set()
        if self._rendering.is_done:
            self.done.set()

    async def wait_for_room(self) -> None:
        """As a consumer's."""
        while self.is_full:
            await self._progress.wait()

    async def flush(self) -> None:
        """As a consumer's."""
        while self._queued:
            await self._progress.wait()

    def end(self) -> None:
        """Write what is left, and end `run`; a reader that takes nothing is not waited for."""
        if not self._is_ending:
            self._is_ending = True
            self._waiting.append(self._rendering.end)
            self._queued += len(self._rendering.end)
            self._woken.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until `end`; BrokenPipeError when nobody reads any more."""
        task_status.started()
        while self._waiting or not self._is_ending:
            await self._write()
            if not self._waiting:
                await self._woken.wait()

    async def _write(self) -> None:
        octets, self._waiting = b"".join(self._waiting), []
        self._woken = trio.Event()
        if octets:
            await trio.to_thread.run_sync(self._write_out, octets, abandon_on_cancel=True)
            self.octets += len(octets)
            self._queued -= len(octets)
        self._progress.set()
        self._progress = trio.Event()

    def _write_out(self, octets: bytes) -> None:
        rest = memoryview(octets)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def __repr__(self) -> str:
        return f"<Printer {self.octets} octets, {self._queued} waiting>"


def printer_to(options: argparse.Namespace) -> Printer:
    """What `common.add_forms`, `add_filters`, `add_masks` and `add_output` read; WrongUsage, OSError.

    A file is begun anew unless text is appended.
    """
    rendering = Rendering(options)
    if options.write in {None, STANDARD_OUTPUT}:
        return Printer(rendering, sys.stdout.fileno())
    how = os.O_APPEND if options.append else os.O_TRUNC
    return Printer(rendering, os.open(options.write, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | how, NEW_MODE))
