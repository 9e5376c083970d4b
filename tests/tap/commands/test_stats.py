"""`stats`: a report on files."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.tap.commands.in_process import Captured, run
from tests.tap.dialogue import Dialogue
from tests.tap.frames import CORPUS, MAIN, corpus_payloads, payload, stream, tap, write_stream

KEYS = ["frames", "damaged", "first", "last", "types", "protocols", "qtypes", "rcodes"]
KEYS += ["latency_ms", "names", "clients", "upstreams"]
FILES = sorted(CORPUS.glob("*.fstrm"))


def test_text_and_json_tell_of_the_same(capfd: Captured) -> None:
    text = run(capfd, "stats", MAIN)
    assert (text.status, text.err) == (0, "")
    assert text.lines[0].startswith("6 messages, ")
    (values,) = run(capfd, "stats", "--json", MAIN).values
    assert list(values) == KEYS
    assert values == {
        "frames": 6,
        "damaged": 0,
        "first": "2023-11-14T22:13:20.123456789Z",
        "last": "2023-11-14T22:13:20.500000000Z",
        "types": {"CLIENT_QUERY": 3, "CLIENT_RESPONSE": 1, "FORWARDER_QUERY": 1, "FORWARDER_RESPONSE": 1},
        "protocols": {"UDP": 4, "DOT": 1},
        "qtypes": {"A": 5},
        "rcodes": {"NOERROR": 2},
        "latency_ms": {"count": 2, "p50": 1.543211, "p90": 1.543211, "p99": 1.543211, "max": 1.543211},
        "names": [["www.example.com.", 5]],
        "clients": [["198.51.100.7", 3]],
        "upstreams": [["203.0.113.1:53", 1], ["[2001:db8::1]:853", 1]],
    }


@pytest.mark.parametrize("jobs", ["2", "20"])
def test_several_files_are_counted_together_by_any_number_of_processes(jobs: str, capfd: Captured) -> None:
    alone = run(capfd, "stats", "--json", *FILES)
    together = run(capfd, "stats", "--json", "--jobs", jobs, *FILES)
    assert together.out == alone.out
    assert alone.values[0]["frames"] == len(corpus_payloads())
    assert sorted(together.err.splitlines()) == sorted(alone.err.splitlines())


def test_damage_is_told_and_counted(capfd: Captured) -> None:
    done = run(capfd, "stats", "--json", CORPUS / "trunc.fstrm", CORPUS / "empty.fstrm")
    assert done.status == 1
    assert done.values[0]["damaged"] == 2
    assert ": truncated: " in done.err


def test_a_file_that_is_not_there_is_told_and_the_others_are_counted(tmp_path: Path, capfd: Captured) -> None:
    done = run(capfd, "stats", "--json", tmp_path / "gone.fstrm", MAIN)
    assert (done.status, done.values[0]["frames"]) == (1, 6)
    assert "gone.fstrm: No such file or directory" in done.err


def test_filters_masks_and_top(tmp_path: Path, capfd: Captured) -> None:
    frames = [Dialogue(client=f"192.0.2.{host}").asked() for host in range(20) for _ in range(host)]
    path = write_stream(tmp_path / "dns.fstrm", [frame.payload for frame in frames])
    (values,) = run(capfd, "stats", "--json", path, "--top", "2", "--client", "192.0.2.16/29").values
    assert values["clients"] == [["192.0.2.19", 19], ["192.0.2.18", 18]]
    (values,) = run(capfd, "stats", "--json", path, "--mask", "24/56").values
    assert values["clients"] == [["192.0.2.0", 190]]


def test_pictures_go_to_files_or_standard_output(tmp_path: Path, capfd: Captured) -> None:
    svg, html = tmp_path / "report.svg", tmp_path / "report.html"
    done = run(capfd, "stats", MAIN, "--svg", svg, "--html", html)
    assert (done.status, done.out, done.err) == (0, "", "")
    assert ET.fromstring(svg.read_text()).tag.endswith("svg")
    assert html.read_text().startswith("<!DOCTYPE html>")
    assert run(capfd, "stats", MAIN, "--svg", "-").out == svg.read_text()
    done = run(capfd, "stats", MAIN, "--svg", svg, "--json")
    assert json.loads(done.out)["frames"] == 6


def test_other_formats_are_counted_too(tmp_path: Path, capfd: Captured) -> None:
    for name in ("dns.jsonl", "dns.parquet"):
        run(capfd, "convert", MAIN, tmp_path / name)
        assert run(capfd, "stats", "--json", tmp_path / name).out == run(capfd, "stats", "--json", MAIN).out


def test_standard_input() -> None:
    done = tap("stats", "--json", "-", stdin=stream(payload()))
    assert json.loads(done.stdout)["frames"] == 1


@pytest.mark.parametrize("arguments", [[], ["--top", "0", "x"], ["--rcode", "WELL", "x"]])
def test_wrong_usage_is_one_line(arguments: list[str], capfd: Captured) -> None:
    done = run(capfd, "stats", *arguments)
    assert (done.status, done.out, done.err.count("\n")) == (2, "", 1)
