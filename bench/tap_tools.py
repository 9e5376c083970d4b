"""Measures `dnsproxy tap` beside dnstap and fstrm_capture on the same million frames; says whether bars are held.

    python bench/tap_tools.py [--quick] [--only record] [--write]

All programs of a task in turn, each a fresh process, round by round. Status as of `bench/run.py`.
"""

import argparse
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from harness import options, programs, tap_report
from harness.campaign import end_on_signals, say, scratch
from harness.errors import BenchError
from harness.peers.dnsproxy import Dnsproxy
from harness.tap_cost import Cost, cost_of_reading, cost_of_recording
from harness.tap_frames import write_frames
from harness.tap_report import TapRun
from harness.tap_tasks import REPLAY, TASKS, Task, filled

COULD_NOT_MEASURE = 2
ROUNDS, FRAMES = 3, 1_000_000
QUICK_ROUNDS, QUICK_FRAMES = 1, 400_000  # with fewer, starting a Python program would count
CHECKED = 20_000  # frames whose text is looked at before anything is measured
CHECK_S = 60


def main() -> int:
    """0: every bar is held; 1: one is broken; 2: nothing could be measured."""
    end_on_signals()
    chosen = _parser().parse_args()
    try:
        with scratch() as folder:
            return _run(chosen, folder)
    except BenchError as exc:
        print(f"tap_tools: {exc}", file=sys.stderr)
        return COULD_NOT_MEASURE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_proxy(parser)
    parser.add_argument("--one-build", action="store_true", help="no interpreted twin of a compiled build")
    names = [task.name for task in TASKS]
    parser.add_argument("--only", action="append", choices=names, help="one task (repeatable); default: all")
    parser.add_argument("--rounds", type=options.positive, help=f"default {ROUNDS}")
    parser.add_argument("--frames", type=options.positive, help=f"default {FRAMES}")
    parser.add_argument("--quick", action="store_true", help="a smoke test; its figures are rough")
    parser.add_argument(
        "--write",
        type=Path,
        nargs="?",
        const=options.RESULTS,
        metavar="DIR",
        help=f"write tap.md, default {options.RESULTS}",
    )
    return parser


def _run(chosen: argparse.Namespace, folder: Path) -> int:
    rounds = chosen.rounds or (QUICK_ROUNDS if chosen.quick else ROUNDS)
    frames = max((chosen.frames or (QUICK_FRAMES if chosen.quick else FRAMES)) // 4 * 4, 4)
    tasks = [task for task in TASKS if not chosen.only or task.name in chosen.only]
    _require(tasks)
    builds = options.proxies(chosen.proxy)
    ours, remarks = (builds, []) if chosen.one_build else options.with_twins(builds, folder / "twin")
    bench = Bench(folder, ours, frames)
    bench.prepare(tasks)
    costs = bench.measure(tasks, rounds)
    run = TapRun(tasks, [each.name for each in ours], costs, [*_facts(ours, rounds, frames), *remarks])
    print(tap_report.markdown(run))
    if chosen.write:
        chosen.write.mkdir(parents=True, exist_ok=True)
        (chosen.write / "tap.md").write_text(tap_report.markdown(run))
    return int(any(one.held is False for one in tap_report.verdicts(run)))


def _require(tasks: Sequence[Task]) -> None:
    for task in tasks:
        for command in (task.theirs, REPLAY if task.records else ()):
            if command:
                programs.require(command[0])


def _facts(ours: Sequence[Dnsproxy], rounds: int, frames: int) -> list[str]:
    versions = "; ".join(f"{each.name}: {each.version()}" for each in ours)
    return [f"frames: {frames}; programs in turn, each a fresh process; rounds: {rounds}", versions]


class Bench:
    """A folder with frames, and our builds."""

    def __init__(self, folder: Path, ours: Sequence[Dnsproxy], frames: int) -> None:
        self._folder = folder
        self._ours = ours
        self._frames = frames
        self._places = {"frames": folder / "frames.fstrm", "socket": folder / "s.sock", "output": folder / "out.fstrm"}

    def prepare(self, tasks: Sequence[Task]) -> None:
        """Make the frames; BenchError when a build does not print of the first ones what it should."""
        say(f"making {self._frames} frames")
        write_frames(self._places["frames"], self._frames)
        few = min(self._frames, CHECKED)
        sample = {"frames": self._folder / "few.fstrm"}
        write_frames(sample["frames"], few)
        for task in tasks:
            for build in () if task.records else self._ours:
                check(task, build.name, [_printed(command, sample) for command in _commands(task, build)], few)

    def measure(self, tasks: Sequence[Task], rounds: int) -> dict[tuple[str, str], list[Cost]]:
        """By task and program, a cost for each round."""
        costs = defaultdict(list)
        for task in tasks:
            for round_ in range(rounds):
                for name, command in self._programs(task):
                    cost = self._cost(task, command)
                    said = f"{cost.total_us:.2f} µs, {cost.per_second:.0f} frames/s"
                    say(f"{task.title}, round {round_ + 1}, {name}: {said}")
                    costs[task.name, name].append(cost)
        return costs

    def _programs(self, task: Task) -> list[tuple[str, Sequence[str]]]:
        theirs = [(task.tool, task.theirs)] if task.theirs else []
        return [*((each.name, each.tap(task.ours)) for each in self._ours), *theirs]

    def _cost(self, task: Task, command: Sequence[str]) -> Cost:
        places = self._places
        places["output"].unlink(missing_ok=True)
        places["socket"].unlink(missing_ok=True)
        if task.records:
            return cost_of_recording(filled(command, places), self._frames, self._folder, places)
        return cost_of_reading(filled(command, places), self._frames, self._folder)


def _commands(task: Task, build: Dnsproxy) -> list[Sequence[str]]:
    """Ours, and the real tool's if there is one."""
    return [build.tap(task.ours), *([task.theirs] if task.theirs else [])]


def _printed(command: Sequence[str], places: dict[str, Path]) -> bytes:
    words = filled(command, places)
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=CHECK_S)
    if done.returncode:
        raise BenchError(f"{words} failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def check(task: Task, name: str, printed: Sequence[bytes], frames: int) -> None:
    """BenchError unless ours, the first, is what the real tool prints, has a line for each frame, or filters all."""
    ours = printed[0]
    if not task.tool:
        sound = not ours
    elif task.name == "quiet":
        sound = ours == printed[1]
    else:
        sound = all(text.count(b"\n") == frames for text in printed)
    if not sound:
        raise BenchError(f"{name}, {task.title}: it does not print what it should")


if __name__ == "__main__":
    sys.exit(main())
