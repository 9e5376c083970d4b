"""Writes what producers send to files: gathered for a moment, written in a thread, counted when it cannot be."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import Final, Protocol

import trio

from dnsproxy.tap.damage import Damages, tell
from dnsproxy.tap.errors import Failure
from dnsproxy.tap.runs import Run

WRITE_OCTETS: Final = 1 << 20  # written at once; larger ones are faster by nothing that can be measured
FULL_OCTETS: Final = 16 << 20  # that wait for a slow disk before producers have to
MOMENT_S: Final = 0.001  # before a file must end
END_S: Final = 5.0  # for a disk, or for whoever reads a pipe, to take the rest


class Files(Protocol):
    """Where a recorder writes; as `Recording`, whose methods wait for the disk."""

    @property
    def turn(self) -> float:
        """When the file must end, in seconds since 1970."""

    @property
    def written(self) -> int:
        """Octets of whole frames that are in files."""

    def ask(self) -> None:
        """Have the next `write` begin another file."""

    def is_due(self, now: float) -> bool:
        """Whether `write` has something to do even without frames."""

    def pause_s(self, now: float) -> float:
        """For how long `is_due` need not be looked at."""

    def write(self, frames: bytes | memoryview, now: float) -> None:
        """Write whole frames; OSError when not all could be, `written` tells how many."""

    def sync(self) -> None:
        """Wait until the disk has for good what was written."""

    def end(self) -> None:
        """End the file."""

    def abandon(self) -> None:
        """Leave the file as it is."""

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until complete files are what they shall be."""


class Recorder:
    """A consumer whose `run` writes.

    `taken`, `written` and `dropped` are frames. What could not be written is dropped, counted and told, and the next
    write tries again. `longest` is the most octets that a frame may have to fit into a file, its length included.
    """

    def __init__(
        self, files: Files, flush_s: float, longest: float = inf, clock: Callable[[], float] = time.time
    ) -> None:
        self.taken = 0
        self.written = 0
        self.dropped = 0
        self._files = files
        self._flush_s = flush_s
        self._longest = longest
        self._clock = clock
        self._waiting: list[Run] = []
        self._octets = 0  # of these, and of what is being written
        self._due = inf  # when these must be in a file
        self._pause = trio.CancelScope()
        self._hurried = trio.Event()  # replaced with each write
        self._progress = trio.Event()  # likewise
        self._must_rotate = self._must_sync = self._is_ending = False
        self._refused = 0  # frames, since writing fails

    # the side of producers

    @property
    def is_full(self) -> bool:
        """As a consumer's."""
        return self._octets >= FULL_OCTETS

    def take(self, run: Run, damages: Damages) -> None:
        """As a consumer's; frames that no file has room for are dropped."""
        self.taken += run.frames
        if self._longest < inf:
            run = self._fitting(run)
        if not run.frames:
            return
        if not self._waiting:
            self._due = trio.current_time() + self._flush_s
            self._pause.deadline = min(self._pause.deadline, self._due)
        self._waiting.append(run)
        self._octets += len(run.octets)
        if self._octets >= WRITE_OCTETS:
            self._hurried.set()

    async def wait_for_room(self) -> None:
        """As a consumer's."""
        while self.is_full:
            await self._progress.wait()

    async def flush(self) -> None:
        """As a consumer's: what was taken is in a file, or dropped, when this returns."""
        target = self.taken
        while self.written + self.dropped < target:
            self._hurried.set()
            await self._progress.wait()

    def _fitting(self, run: Run) -> Run:
        frames = [frame for frame in run.whole_frames() if len(frame) <= self._longest]
        self.dropped += run.frames - len(frames)
        return Run(b"".join(frames), len(frames), run.offset)

    # the side of signals

    def rotate(self) -> None:
        """Begin another file behind what has come until now."""
        self._must_rotate = True
        self._hurried.set()

    def sync(self) -> None:
        """Have the disk take for good what has come until now."""
        self._must_sync = True
        self._hurried.set()

    def end(self) -> None:
        """Write what is left, end the file, and end `run`."""
        self._is_ending = True
        self._hurried.set()

    def summary(self) -> str:
        """`wrote 12 frames, dropped 0`."""
        return f"wrote {self.written} frames, dropped {self.dropped}"

    # writing

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Until `end`, and until complete files are what they shall be.

        Failure when the last file cannot be completed, BrokenPipeError when nobody reads any more.
        """
        task_status.started()
        try:
            while not self._is_ending or self._waiting:
                await self._wait()
                await self._write()
        finally:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + END_S):
                await self._write()
                await trio.to_thread.run_sync(self._end, abandon_on_cancel=True)
        await trio.to_thread.run_sync(self._files.wait, abandon_on_cancel=True)

    async def _wait(self) -> None:
        """Until there is something to write, or else to do."""
        now = trio.current_time()
        deadline = min(now + self._files.pause_s(self._clock()), self._due)
        with trio.CancelScope(deadline=deadline) as self._pause:
            await self._hurried.wait()

    async def _write(self) -> None:
        """Write what waits, and begin files that are due."""
        runs, self._waiting, self._due = self._waiting, [], inf
        self._hurried = trio.Event()
        octets = b"".join([run.octets for run in runs])
        before = self._files.written
        try:
            await trio.to_thread.run_sync(self._write_out, octets, abandon_on_cancel=True)
        except BrokenPipeError:
            raise
        except OSError as exc:
            self._note(exc)
        frames = sum(run.frames for run in runs)
        taken = self._files.written - before
        self._count(frames, frames if taken == len(octets) else Run(octets[:taken]).recount())
        self._octets -= len(octets)
        self._progress.set()
        self._progress = trio.Event()

    def _write_out(self, octets: bytes) -> None:
        now, turn = self._clock(), self._files.turn
        if octets and now >= turn:
            self._files.write(octets, turn - MOMENT_S)  # they came before
            octets = b""
        self._files.write(octets, now)
        if self._must_rotate:
            self._must_rotate = False
            self._files.ask()
            self._files.write(b"", now)
        if self._must_sync:
            self._must_sync = False
            self._files.sync()

    def _count(self, frames: int, written: int) -> None:
        self.written += written
        self.dropped += frames - written
        if written < frames:
            self._refused += frames - written
        elif frames and self._refused:
            tell(f"recording goes on, {self._refused} frames were dropped")
            self._refused = 0

    def _note(self, exc: OSError) -> None:
        if not self._refused:
            tell(f"recording: {exc.strerror or exc}; what comes is dropped until it can be written")

    def _end(self) -> None:
        try:
            self._files.end()
        except OSError as exc:
            self._files.abandon()
            raise Failure(f"the last file stays incomplete: {exc.strerror or exc}") from exc

    def __repr__(self) -> str:
        return f"<Recorder {self.summary()}, {len(self._waiting)} waiting>"
