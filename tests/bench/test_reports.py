"""Tables and pictures of whole runs."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from harness import growth_report, report
from harness.figures import Results
from harness.growth_report import Growth
from harness.measure import Effort
from harness.peers import Peer, Site, Tapless
from harness.sweeps import sweeps
from harness.tables import tables
from harness.verdict import Verdict
from harness.workloads import COREDNS, DNSDIST, FORWARD, PACED_2000, WORKLOADS

from tests.bench.samples import sample

EFFORT = Effort(rounds=1, seconds=1.0, warm_up_s=0.5)


class Program(Tapless):
    """A program under test that only has a name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def version(self) -> str:
        return "1.0"

    def configure(self, site: Site) -> list[str]:
        raise NotImplementedError


PROGRAMS: Sequence[Peer] = (Program("ours"), Program(DNSDIST), Program(COREDNS))


def one_table(*samples: object) -> list[str]:
    (lines,) = tables(Results([*samples]), WORKLOADS, PROGRAMS)  # type: ignore[list-item]
    return lines


def test_a_line_for_each_program_with_its_ratios() -> None:
    head, _rule, ours, theirs = one_table(sample(FORWARD, "ours", 9.0), sample(FORWARD, DNSDIST, 10.0))
    assert head == (
        "| workload | program | user µs | system µs | total µs (least–greatest) | queries/s | lost | upstream asked "
        "| × dnsdist |"
    )
    assert ours == "| forward | ours | 4.5 | 4.5 | 9.0 (9.0–9.0) | 50 000 | 0.00% | 100% | 0.90 |"
    assert theirs.startswith("| forward | dnsdist |")


def test_evenly_spaced_queries_have_a_table_of_their_own() -> None:
    paced = sample(PACED_2000, "ours", 60.0, p50_us=90.0, p99_us=300.0, per_second=2_000.0)
    both = list(tables(Results([sample(FORWARD, "ours"), paced]), WORKLOADS, PROGRAMS))
    assert len(both) == 2
    assert "| p50 µs | p99 µs | CPU µs |" in both[1][0]
    assert "| 90 (90–90) | 300 (300–300) | 60.0 (60.0–60.0) |" in both[1][2]


def test_a_run_is_written_as_markdown_json_and_a_picture(tmp_path: Path) -> None:
    results = Results([sample(FORWARD, "ours", 9.0), sample(FORWARD, DNSDIST, 10.0)])
    run = report.Run(results, WORKLOADS, PROGRAMS, EFFORT, ["CoreDNS is missing"], [Verdict(False, "a bar")])
    report.write(tmp_path, run)
    text = (tmp_path / "bench.md").read_text()
    assert "- CoreDNS is missing" in text
    assert "- BROKEN: a bar" in text
    assert '"total_us": 9.0' in (tmp_path / "bench.json").read_text()
    ET.fromstring((tmp_path / "bench.svg").read_text())


def test_growth_is_written_with_a_picture_for_each_thing_varied(tmp_path: Path) -> None:
    varied = sweeps()
    points = [point for sweep in varied for point in sweep.points]
    samples = [
        sample(point.workload, program.name, 10.0 + number, p50_us=90.0, p99_us=900.0, peak_mib=33.0)
        for number, point in enumerate(points)
        for program in PROGRAMS
    ]
    growth_report.write(tmp_path, Growth(varied, PROGRAMS, Results(samples), EFFORT, ["a remark"]))
    text = (tmp_path / "growth.md").read_text()
    pictures = {path.name for path in tmp_path.glob("*.svg")}
    assert pictures == {line[line.index("](") + 2 : -1] for line in text.splitlines() if line.startswith("![")}
    for name in pictures:
        ET.fromstring((tmp_path / name).read_text())
    assert "- a remark" in text
    assert "| 50 000 (saturated) | ours |" in text
