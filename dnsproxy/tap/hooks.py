"""`--exec`: a command for each complete file, one at a time and in order, beside the recording."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from dnsproxy.dnstap.stream_file import StreamFile
from dnsproxy.tap.damage import tell

MOST_WAITING: Final = 10_000  # files; a command that hangs must not take all memory


class Hooks:
    """Runs the command in a thread while there are files; ValueError when it is none."""

    def __init__(self, command: str) -> None:
        self._arguments = shlex.split(command)
        if not self._arguments:
            raise ValueError("an empty command")
        self._command = command
        self._files: deque[tuple[Path, int]] = deque()  # with their frames; the first is being seen to
        self._changing = threading.Condition()
        self._is_working = False
        self.on_done: Callable[[], object] = _nothing  # called whenever a file is needed no more

    def take(self, path: Path, file: StreamFile) -> None:
        """As `rotation_archive.Hook`."""
        frames = file.count_frames()
        with self._changing:
            if len(self._files) >= MOST_WAITING:
                tell(f"--exec {self._command}: {path} is left out, {MOST_WAITING} files wait")
                return
            self._files.append((path, frames))
            if not self._is_working:
                self._is_working = True
                threading.Thread(target=self._work, daemon=True).start()

    def needs(self, path: Path) -> bool:
        """As `rotation_archive.Hook`."""
        with self._changing:
            return any(path == each for each, _ in self._files)

    def wait(self) -> None:
        """Wait until the command has had all files."""
        with self._changing:
            self._changing.wait_for(lambda: not self._is_working)

    def _work(self) -> None:
        while (waiting := self._next()) is not None:
            self._run(*waiting)
            with self._changing:
                self._files.popleft()
            self.on_done()

    def _next(self) -> tuple[Path, int] | None:
        with self._changing:
            if self._files:
                return self._files[0]
            self._is_working = False
            self._changing.notify_all()
            return None

    def _run(self, path: Path, frames: int) -> None:
        environment = {**os.environ, "TAP_FRAMES": str(frames)}
        try:
            done = subprocess.run(
                [*self._arguments, str(path)],
                env=environment,
                stdin=subprocess.DEVNULL,
                check=False,
                start_new_session=True,  # Ctrl-C is for us alone
            )
        except OSError as exc:
            tell(f"--exec {self._command}: {exc.strerror} ({path})")
            return
        if done.returncode > 0:
            tell(f"--exec {self._command}: status {done.returncode} ({path})")
        elif done.returncode:
            tell(f"--exec {self._command}: ended by signal {-done.returncode} ({path})")

    def __repr__(self) -> str:
        return f"<Hooks {self._command}, {len(self._files)} files>"


def _nothing() -> None:
    pass
