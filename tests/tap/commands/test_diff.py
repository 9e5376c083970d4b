"""`diff`: two recordings of the same queries."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from dnsproxy.tap.frame import TapFrame
from tests.tap.commands.in_process import Captured, run
from tests.tap.frames import CORPUS, MAIN, write_stream
from tests.tap.test_differences import A, B


def recording(path: Path, frames: Iterable[TapFrame]) -> Path:
    return write_stream(path, (frame.payload for frame in frames))


def test_what_differs_is_told_and_gives_1(tmp_path: Path, capfd: Captured) -> None:
    a, b = recording(tmp_path / "a.fstrm", A), recording(tmp_path / "b.fstrm", B)
    done = run(capfd, "diff", a, b)
    assert (done.status, done.err) == (1, "")
    assert done.lines[0] == "www.example.org. IN A: another answer"
    assert f"gone.test. IN A: missing in {b}" in done.lines
    (values,) = run(capfd, "diff", "--json", a, b).values
    assert [each["differs"] for each in values["differences"]] == ["answer", "rcode", "missing", "missing"]


def test_latency_alone_gives_0(tmp_path: Path, capfd: Captured) -> None:
    a = recording(tmp_path / "a.fstrm", [frame for frame in A if frame.name == "same.test."])
    b = recording(tmp_path / "b.fstrm", [frame for frame in B if frame.name == "same.test."])
    done = run(capfd, "diff", a, b)
    assert (done.status, done.lines[0]) == (0, "1 queries went the same, 0 otherwise")
    assert "half answered within 40 ms" in done.lines[2]


def test_filters_leave_out_what_does_not_matter(tmp_path: Path, capfd: Captured) -> None:
    a, b = recording(tmp_path / "a.fstrm", A), recording(tmp_path / "b.fstrm", B)
    assert run(capfd, "diff", a, b, "--zone", "same.test").status == 0
    assert run(capfd, "diff", a, b, "--zone", "b.test").status == 1


def test_files_of_any_format(tmp_path: Path, capfd: Captured) -> None:
    run(capfd, "convert", MAIN, tmp_path / "main.jsonl")
    assert run(capfd, "diff", MAIN, tmp_path / "main.jsonl").status == 0


def test_damage_gives_1_though_all_else_is_the_same(capfd: Captured) -> None:
    done = run(capfd, "diff", CORPUS / "trunc.fstrm", CORPUS / "trunc.fstrm")
    assert done.status == 1
    assert "truncated" in done.err


@pytest.mark.parametrize("arguments", [[], ["a"], ["a", "b", "c"]])
def test_wrong_usage_is_one_line(arguments: list[str], capfd: Captured) -> None:
    done = run(capfd, "diff", *arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
