"""`sql`: questions to files."""

import csv
import io
import json
import signal
from pathlib import Path

import pytest

from tests.tap.commands.in_process import Captured, run
from tests.tap.frames import CORPUS, MAIN, corpus_payloads, payload, write_stream
from tests.tap.running import Running, wait_until

BY_TYPE = "SELECT type, count(*) AS n, max(latency_ms) AS latency FROM dns GROUP BY type ORDER BY type LIMIT 2"
ANSWERS = (
    "SELECT answer[1] AS first, flags, malformed, NULL::INT AS nothing, true AS yes FROM dns WHERE rcode = 'NOERROR'"
)
ANSWERS += " LIMIT 1"


def test_a_text_table(capfd: Captured) -> None:
    done = run(capfd, "sql", BY_TYPE, MAIN)
    assert (done.status, done.err) == (0, "")
    assert done.lines == [
        "type             n  latency",
        "CLIENT_QUERY     3  null",
        "CLIENT_RESPONSE  1  1.543211",
    ]


def test_json_is_an_object_for_each_row(capfd: Captured) -> None:
    done = run(capfd, "sql", "--json", BY_TYPE, MAIN)
    assert done.values == [
        {"type": "CLIENT_QUERY", "n": 3, "latency": None},
        {"type": "CLIENT_RESPONSE", "n": 1, "latency": 1.543211},
    ]
    (row,) = run(capfd, "sql", "--json", ANSWERS, MAIN).values
    first = {"name": "www.example.com.", "ttl": 300, "class": "IN", "type": "A", "data": "192.0.2.10"}
    assert row == {"first": first, "flags": ["qr", "rd", "ra"], "malformed": None, "nothing": None, "yes": True}


def test_csv_has_a_line_of_names(capfd: Captured) -> None:
    done = run(capfd, "sql", "--csv", ANSWERS, MAIN)
    (row,) = csv.DictReader(io.StringIO(done.out))
    assert json.loads(row["flags"]) == ["qr", "rd", "ra"]
    assert (row["malformed"], row["nothing"], row["yes"]) == ("", "", "true")


def test_numbers_that_json_does_not_know_are_numbers_and_times_are_text(capfd: Captured) -> None:
    query = "SELECT 1.5::DECIMAL(4,1) AS part, min(time)::TIMESTAMP_NS AS began, sum(size) AS octets FROM dns"
    (row,) = run(capfd, "sql", "--json", query, MAIN).values
    assert row == {"part": 1.5, "began": "2023-11-14 22:13:20.123456", "octets": 293}


def test_all_files_of_any_format_are_in_the_table(tmp_path: Path, capfd: Captured) -> None:
    run(capfd, "convert", MAIN, tmp_path / "dns.parquet")
    done = run(
        capfd, "sql", "--json", "SELECT count(*) AS n FROM dns", *CORPUS.glob("*.fstrm"), tmp_path / "dns.parquet"
    )
    assert done.values == [{"n": len(corpus_payloads()) + 6}]
    assert done.status == 1, "the corpus has damage"


def test_rows_are_merged_by_time_or_one_file_comes_after_the_other(tmp_path: Path, capfd: Captured) -> None:
    def file(name: str, *seconds: int) -> Path:
        frames = [payload(query_time=(second, 0), extra=str(second).encode()) for second in seconds]
        return write_stream(tmp_path / name, frames)

    question, files = ("sql", "SELECT extra FROM dns", "--csv"), [file("a.fstrm", 1, 3), file("b.fstrm", 2, 4)]
    assert run(capfd, *question, *files).lines == ["extra", "1", "2", "3", "4"]
    assert run(capfd, *question, *files, "--concat").lines == ["extra", "1", "3", "2", "4"]


def test_filters_apply(capfd: Captured) -> None:
    done = run(capfd, "sql", "--csv", "SELECT DISTINCT type FROM dns", MAIN, "--types", "FR")
    assert done.lines == ["type", "FORWARDER_RESPONSE"]


def test_a_long_table_comes_in_blocks(capfd: Captured) -> None:
    done = run(capfd, "sql", "SELECT * FROM range(2500)", MAIN)
    assert [line.strip() for line in done.lines[1:]] == [str(number) for number in range(2500)]


def test_what_is_no_query_prints_what_there_is(capfd: Captured) -> None:
    assert run(capfd, "sql", "CREATE VIEW v AS SELECT 1", MAIN).status == 0


def test_a_wrong_query_is_a_failure_of_one_line(capfd: Captured) -> None:
    done = run(capfd, "sql", "SELECT colour FROM dns", MAIN)
    assert (done.status, done.out, done.err.count("\n")) == (1, "", 1)
    assert "colour" in done.err


def test_what_is_not_installed_is_named_with_what_installs_it(capfd: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "duckdb" else name)
    done = run(capfd, "sql", BY_TYPE, MAIN)
    assert (done.status, done.out) == (2, "")
    assert "pip install duckdb pyarrow" in done.err


@pytest.mark.parametrize("arguments", [[], ["SELECT 1"], ["--json", "--csv", "SELECT 1", "x"]])
def test_wrong_usage_is_one_line(arguments: list[str], capfd: Captured) -> None:
    done = run(capfd, "sql", *arguments)
    assert (done.status, done.err.count("\n")) == (2, 1)


def test_a_signal_ends_a_long_query_and_nothing_is_left(tmp_path: Path) -> None:
    query = "SELECT count(*) FROM range(30000000000) WHERE range % 7 = 3"
    with Running("sql", query, MAIN, is_ready=False, environment={"TMPDIR": str(tmp_path)}) as command:
        wait_until(lambda: list(tmp_path.glob("*/dns.duckdb")), "the database", command.process)
        assert command.end(signal.SIGINT) == 128 + signal.SIGINT
        assert command.errors == ""
    assert not list(tmp_path.iterdir())
