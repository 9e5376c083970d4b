"""What a program has cost so far: processor time from /proc, instructions from perf where the machine counts them."""

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import programs

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
UTIME, STIME = 11, 12  # fields 14 and 15 of /proc/PID/stat, counted behind the closing bracket of the name
EVENTS = "instructions:u,instructions:k"


@dataclass(frozen=True)
class CpuTime:
    """Seconds of all threads: `user` and `system` in clock ticks, `scheduled` in nanoseconds while none has ended."""

    user_s: float
    system_s: float
    scheduled_s: float

    def since(self, earlier: "CpuTime") -> "CpuTime":
        return CpuTime(
            self.user_s - earlier.user_s, self.system_s - earlier.system_s, self.scheduled_s - earlier.scheduled_s
        )


@dataclass(frozen=True)
class Instructions:
    """Instructions in user space and in the kernel."""

    user: int
    kernel: int


def cpu_time(pid: int) -> CpuTime:
    """Of a process and its descendants, so that workers count too.

    schedstat knows the living threads only, the ticks those that have ended too: dnslib has one for each query.
    """
    user = system = scheduled_ns = 0
    for process in family(pid):
        folder = Path(f"/proc/{process}")
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        user += int(fields[UTIME])
        system += int(fields[STIME])
        scheduled_ns += sum(int(task.read_text().split()[0]) for task in folder.glob("task/*/schedstat"))
    ticks_s = (user + system) / TICKS_PER_S
    return CpuTime(user / TICKS_PER_S, system / TICKS_PER_S, max(scheduled_ns / 1e9, ticks_s))


def family(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from family(int(child))


def peak_mib(pid: int) -> float:
    """The most memory that any one process of a family has had resident, in MiB."""
    return max(_peak_kib(process) for process in family(pid)) / 1024


def _peak_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))


def counts_instructions() -> bool:
    """Whether perf is there and this machine counts instructions (virtual machines often do not)."""
    perf = programs.find("perf")
    if perf is None:
        return False
    trial = subprocess.run([perf, "stat", "-x,", "-e", EVENTS, "true"], capture_output=True, text=True)
    return trial.returncode == 0 and _parse(trial.stderr) is not None


class InstructionCounter:
    """Counts the instructions of a process from `__init__` to `stop`."""

    def __init__(self, pid: int) -> None:
        processes = ",".join(map(str, family(pid)))
        command = [programs.find("perf") or "perf", "stat", "-x,", "-e", EVENTS, "-p", processes]
        self._perf = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)

    def stop(self) -> Instructions | None:
        """What was counted, or None."""
        self._perf.send_signal(signal.SIGINT)
        return _parse(self._perf.communicate()[1])


def _parse(report: str) -> Instructions | None:
    """Reads perf's comma-separated lines: count, unit, event, …"""
    counts = {fields[2]: fields[0] for line in report.splitlines() if len(fields := line.split(",")) > 2}
    try:
        return Instructions(int(counts["instructions:u"]), int(counts["instructions:k"]))
    except (KeyError, ValueError):
        return None
