"""The bench of `dnsproxy tap`: its frames, what it takes for sound, its bars and its report."""

import sys
from collections import Counter
from pathlib import Path

import pytest
import tap_tools
from harness.errors import BenchError
from harness.tap_cost import Cost, cost_of_reading
from harness.tap_frames import write_frames
from harness.tap_report import TapRun, markdown, verdicts
from harness.tap_tasks import CPU, SPEED, TASKS, Bar, Task, filled

from dnsproxy.tap.files import TapFile

RATIO = Bar(CPU, 1.5, is_ratio=True)
FAST = Bar(SPEED, 300_000, at_least=True)
TASK = Task("quiet", "read -q", ("read", "-q", "{frames}"), (RATIO, FAST), "dnstap -q", ("dnstap", "-q", "{frames}"))
FILTER = Task("by-name", "read --zone", ("read", "--zone", "x", "{frames}"), (Bar(CPU, 4.0),))


def cost(total_us: float, per_second: float = 500_000) -> Cost:
    return Cost(total_us - 0.5, 0.5, per_second)


def test_frames_are_those_of_whole_exchanges_and_all_good(tmp_path: Path) -> None:
    write_frames(tmp_path / "a.fstrm", 2_003)
    file = TapFile(str(tmp_path / "a.fstrm"))
    frames = list(file.frames())
    assert Counter(frame.mnemonic for frame in frames) == {"CQ": 500, "FQ": 500, "FR": 500, "CR": 500}
    assert not file.damages.counts
    assert not [frame for frame in frames if frame.malformed]
    assert all(frame.latency_ns for frame in frames if not frame.is_query)
    assert {frame.rcode for frame in frames if not frame.is_query} == {0, 3}


def test_frames_are_the_same_in_every_run_and_fewer_are_the_first_ones(tmp_path: Path) -> None:
    for name, number in (("a", 400), ("b", 400), ("c", 200)):
        write_frames(tmp_path / name, number)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    few = (tmp_path / "c").read_bytes()
    assert (tmp_path / "a").read_bytes().startswith(few[:-12]), "all but STOP"


def test_bars_are_sentences_and_bound_from_one_side() -> None:
    assert RATIO.text("dnstap -q") == "CPU per frame ≤ 1.5 × dnstap -q"
    assert FAST.text("fstrm_capture") == "frames/s ≥ 300 000"
    assert (RATIO.is_held_by(1.5), RATIO.is_held_by(1.51)) == (True, False)
    assert (FAST.is_held_by(300_000), FAST.is_held_by(299_999)) == (True, False)


def test_a_ratio_is_taken_between_neighbours_in_time() -> None:
    """The machine got three times slower in the second round, for both alike."""
    costs = {("quiet", "ours"): [cost(4.0), cost(12.0), cost(4.0)]}
    costs["quiet", "dnstap -q"] = [cost(2.0), cost(6.0), cost(2.0)]
    held, fast = verdicts(TapRun([TASK], ["ours"], costs, []))
    assert str(held) == "BROKEN: ours, read -q: CPU per frame ≤ 1.5 × dnstap -q; it is 2"
    assert str(fast) == "held: ours, read -q: frames/s ≥ 300 000; it is 500 000"


@pytest.mark.parametrize(("theirs", "word"), [(400_000, "BROKEN"), (200_000, "not judged")])
def test_on_a_machine_too_slow_for_the_real_tool_speed_is_not_judged(theirs: float, word: str) -> None:
    costs = {("quiet", "ours"): [cost(1.0, 250_000)], ("quiet", "dnstap -q"): [cost(1.0, theirs)]}
    _, fast = verdicts(TapRun([TASK], ["ours"], costs, []))
    assert str(fast).startswith(f"{word}: ours, read -q: frames/s ≥ 300 000; it is 250 000")


def test_the_report_has_a_line_for_each_program_and_each_bar() -> None:
    costs = {
        ("quiet", "ours"): [cost(3.0), cost(2.0), cost(4.0)],
        ("quiet", "dnstap -q"): [cost(3.0)] * 3,
        ("by-name", "ours"): [cost(1.5)] * 3,
    }
    lines = markdown(TapRun([TASK, FILTER], ["ours"], costs, ["a remark"])).splitlines()
    assert lines[2:5] == [
        "| read -q | ours | 2.50 | 0.50 | 3.00 (2.00–4.00) | 500 000 | 1.00 |",
        "| read -q | dnstap -q | 2.50 | 0.50 | 3.00 (3.00–3.00) | 500 000 | 1.00 |",
        "| read --zone | ours | 1.00 | 0.50 | 1.50 (1.50–1.50) | 500 000 | – |",
    ]
    assert "- a remark" in lines
    assert "- held: ours, read --zone: CPU per frame ≤ 4 µs; it is 1.5" in lines


def test_every_task_has_a_name_of_its_own_a_bar_and_a_file() -> None:
    assert len({task.name for task in TASKS}) == len(TASKS)
    for task in TASKS:
        assert task.bars
        assert bool(task.tool) == bool(task.theirs)
        assert all(task.tool for bar in task.bars if bar.is_ratio)
        assert task.records or "a.fstrm" in filled(task.ours, {"frames": "a.fstrm"})
    assert [task.name for task in TASKS if task.records] == ["record"]


@pytest.mark.parametrize(
    ("task", "printed"),
    [
        (TASK, [b"a\nb\n", b"a\nb\n"]),
        (Task("json", "read --json", (), (), "dnstap -j", ("dnstap",)), [b"{}\n{}\n", b"x\ny\n"]),
        (FILTER, [b""]),
    ],
)
def test_what_programs_print_is_looked_at(task: Task, printed: list[bytes]) -> None:
    tap_tools.check(task, "ours", printed, 2)
    with pytest.raises(BenchError, match="ours, read"):
        tap_tools.check(task, "ours", [b"a\n", *printed[1:]], 2)


def test_a_program_costs_what_the_system_says(tmp_path: Path) -> None:
    found = cost_of_reading([sys.executable, "-c", "sum(range(2_000_000))"], 1000, tmp_path)
    assert 1 < found.total_us < 1e6 / found.per_second + 1e3


def test_a_program_that_fails_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="status 3: no such file"):
        cost_of_reading(
            [sys.executable, "-c", "import sys; print('no such file', file=sys.stderr); sys.exit(3)"], 1, tmp_path
        )
