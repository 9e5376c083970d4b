"""What a program of the bench of `dnsproxy tap` spends from its start to its end."""

import filecmp
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import BenchError
from harness.tap_tasks import REPLAY, filled

READY_S = 10  # a Python program starts on a busy machine
SEND_S = 120
LOOK_S = 0.01
LISTENING = "00010000"  # flags of a socket in /proc/net/unix


@dataclass(frozen=True)
class Cost:
    """Of each frame, in microseconds of the processor; and frames in each second that passed."""

    user_us: float
    system_us: float
    per_second: float

    @property
    def total_us(self) -> float:
        return self.user_us + self.system_us


class Program:
    """A context manager: a program whose standard output is thrown away, ended when the block is left."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as errors:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,  # Ctrl-C is for the harness
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._child.returncode is None:
            self._child.kill()
            self._child.wait()

    def stop(self) -> None:
        """Ask it to end."""
        self._child.send_signal(signal.SIGTERM)

    def spent(self) -> tuple[float, float]:
        """Wait for its end: seconds of the processor, of the user's and of the system's.

        BenchError with its last words when it fails.
        """
        _, status, used = os.wait4(self._child.pid, 0)
        self._child.returncode = os.waitstatus_to_exitcode(status)
        if self._child.returncode not in {0, -signal.SIGTERM}:
            raise BenchError(f"{self} ended with status {self._child.returncode}: {self._last_words()}")
        return used.ru_utime, used.ru_stime

    def wait_until_it_listens(self, path: Path) -> None:
        """BenchError when it does not in time."""
        deadline = time.monotonic() + READY_S
        while not _listens(path):
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise BenchError(f"{self} does not listen: {self._last_words()}")
            time.sleep(LOOK_S)

    def _last_words(self) -> str:
        return self._log.read_text(errors="replace").strip()[-500:] or "it said nothing"

    def __str__(self) -> str:
        return " ".join(map(str, self._child.args)) if isinstance(self._child.args, list) else str(self._child.args)


def _listens(path: Path) -> bool:
    lines = Path("/proc/net/unix").read_text().splitlines()
    return any(line.endswith(f" {path}") and line.split()[3] == LISTENING for line in lines)


def cost_of_reading(command: Sequence[str], frames: int, folder: Path) -> Cost:
    """Of a program that ends by itself."""
    began = time.perf_counter()
    with Program(command, folder / "program.log") as program:
        user_s, system_s = program.spent()
    return _cost(frames, user_s, system_s, time.perf_counter() - began)


def cost_of_recording(command: Sequence[str], frames: int, folder: Path, places: Mapping[str, object]) -> Cost:
    """Of a program that writes what fstrm_replay sends; frames/s are until that has FINISH.

    BenchError unless the file is the one that was sent, octet for octet.
    """
    with Program(command, folder / "program.log") as program:
        program.wait_until_it_listens(Path(str(places["socket"])))
        began = time.perf_counter()
        _send(filled(REPLAY, places))
        seconds = time.perf_counter() - began
        program.stop()
        user_s, system_s = program.spent()
    if not filecmp.cmp(str(places["frames"]), str(places["output"]), shallow=False):
        raise BenchError(f"{command[0]} has written something else than was sent")
    return _cost(frames, user_s, system_s, seconds)


def _send(command: Sequence[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SEND_S)
    if done.returncode:
        raise BenchError(f"{command[0]} failed: {done.stderr.strip()[-500:]}")


def _cost(frames: int, user_s: float, system_s: float, seconds: float) -> Cost:
    return Cost(user_s * 1e6 / frames, system_s * 1e6 / frames, frames / seconds)
