"""The report of the bench of `dnsproxy tap`: a table, and which bars are held."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.figures import Figure
from harness.machine import machine
from harness.tables import markdown_row
from harness.tap_cost import Cost
from harness.tap_tasks import Bar, Task
from harness.verdict import Verdict, shown

HEAD = ("task", "program", "user µs", "system µs", "total µs (least–greatest)", "frames/s", "× the real tool")
NOTES = """\
CPU per frame of the whole process, start and end included, as the system counts it for a process that has ended.
Medians; a ratio is the median of the rounds' ratios. Output goes to /dev/null. Recorders get their frames from
fstrm_replay over a unix socket; frames/s are until that has ended, and the file is the one that was sent.\
"""

Costs = Mapping[tuple[str, str], Sequence[Cost]]  # by task and program, a cost for each round


@dataclass(frozen=True)
class TapRun:
    """What was measured, of which programs of ours, and what is to be said about it."""

    tasks: Sequence[Task]
    ours: Sequence[str]
    costs: Costs
    remarks: Sequence[str]

    def figure(self, task: Task, program: str, field: str) -> Figure:
        return Figure.of([getattr(cost, field) for cost in self.costs[task.name, program]])

    def ratio(self, task: Task, program: str, field: str) -> Figure:
        """As a multiple of the real tool's, round by round since neighbours in time compare best."""
        pairs = zip(self.costs[task.name, program], self.costs[task.name, task.tool], strict=True)
        return Figure.of([getattr(ours, field) / getattr(theirs, field) for ours, theirs in pairs])


def verdicts(run: TapRun) -> list[Verdict]:
    """Every bar, for every build."""
    return [_verdict(run, task, program, bar) for program in run.ours for task in run.tasks for bar in task.bars]


def _verdict(run: TapRun, task: Task, program: str, bar: Bar) -> Verdict:
    field = bar.quantity.field
    value = (run.ratio if bar.is_ratio else run.figure)(task, program, field).median
    text = f"{program}, {task.title}: {bar.text(task.tool)}; it is {_number(value)}"
    held = bar.is_held_by(value)
    if task.tool and not (held or bar.is_ratio):
        theirs = run.figure(task, task.tool, field).median
        if not bar.is_held_by(theirs):  # the machine is slow, or busy with something else
            return Verdict(None, f"{text}, but {task.tool} does not reach it either, with {_number(theirs)}")
    return Verdict(held, text)


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if value >= 1000 else shown(value)


def markdown(run: TapRun) -> str:
    """The whole report."""
    parts = [
        [markdown_row(HEAD), "|" + "---|" * len(HEAD), *_rows(run)],
        NOTES.splitlines(),
        [f"- {remark}" for remark in (machine(), *run.remarks)],
        [f"- {verdict}" for verdict in verdicts(run)],
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _rows(run: TapRun) -> Iterator[str]:
    for task in run.tasks:
        for program in (*run.ours, task.tool):
            if program:
                yield markdown_row([task.title, program, *_cells(run, task, program)])


def _cells(run: TapRun, task: Task, program: str) -> Iterator[str]:
    total = run.figure(task, program, "total_us")
    yield from (f"{run.figure(task, program, field).median:.2f}" for field in ("user_us", "system_us"))
    yield f"{total.median:.2f} ({total.least:.2f}–{total.greatest:.2f})"
    yield f"{run.figure(task, program, 'per_second').median:,.0f}".replace(",", " ")
    yield f"{run.ratio(task, program, 'total_us').median:.2f}" if task.tool else "–"
