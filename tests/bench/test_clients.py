"""The two clients: what dnsperf says, and what the pacer measures and says."""

import json
from dataclasses import asdict

import pytest
from harness import dnsperf, pacing
from harness.errors import BenchError
from harness.pacer import Summary, percentile, question

REPORT = """\
Statistics:

  Queries sent:         176412
  Queries completed:    176312 (99.94%)
  Queries lost:         100 (0.06%)

  Response codes:       NOERROR 176300 (99.99%), SERVFAIL 12 (0.01%)
  Average packet size:  request 39, response 55
  Run time (s):         2.001000
  Queries per second:   88111.944028
"""


def test_dnsperfs_statistics_are_read() -> None:
    outcome = dnsperf.parse(REPORT)
    assert (outcome.sent, outcome.answered, outcome.noerror) == (176_412, 176_312, 176_300)
    assert outcome.per_second == pytest.approx(176_312 / 2.001)
    assert outcome.lost == pytest.approx(100 / 176_412)
    assert outcome.p50_us is None


def test_a_run_without_any_noerror_counts_none() -> None:
    assert dnsperf.parse(REPORT.replace("NOERROR 176300 (99.99%), ", "")).noerror == 0


def test_a_report_without_statistics_is_an_error_that_shows_it() -> None:
    with pytest.raises(BenchError, match="Network is unreachable"):
        dnsperf.parse("Error: Network is unreachable")


def test_an_outcome_without_queries_divides_nothing() -> None:
    outcome = dnsperf.parse(REPORT.replace("176412", "0").replace("176312", "0").replace("2.001000", "0.000000"))
    assert (outcome.per_second, outcome.lost) == (0, 0)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, 0),
        ([7], 0.99, 7),
        ([1, 2, 3, 4], 0.5, 2),
        ([1, 2, 3], 0.5, 2),
        (list(range(1, 101)), 0.99, 99),
        (list(range(1, 101)), 1.0, 100),
    ],
)
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(
    values: list[int], share: float, expected: int
) -> None:
    assert percentile(values, share) == expected


def test_the_first_tenth_of_the_answers_is_warm_up() -> None:
    late, timely = [9_000_000] * 10, [2_000] * 90
    summary = Summary.of(sent=100, noerror=100, seconds=1.0, latencies_ns=[*late, *timely])
    assert (summary.answered, summary.p50_us, summary.p99_us) == (100, 2.0, 2.0)


def test_what_the_pacer_prints_is_what_the_harness_reads() -> None:
    summary = Summary.of(sent=4, noerror=3, seconds=2.0, latencies_ns=[3_000, 1_000, 2_000])
    outcome = pacing.parse(json.dumps(asdict(summary)))
    assert (outcome.sent, outcome.answered, outcome.noerror, outcome.p50_us) == (4, 3, 3, 2.0)
    assert outcome.lost == 0.25


def test_a_line_of_dnsperfs_input_becomes_a_question() -> None:
    assert question("a.example.org. TXT") == (
        b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + b"\x01a\x07example\x03org\x00" + b"\x00\x10\x00\x01"
    )
