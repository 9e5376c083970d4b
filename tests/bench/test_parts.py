"""Smaller pieces: the collector's counting, the upstreams' answers, third-party plugins, what is varied."""

import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path

import dns.message
import dns.rcode
import pytest
from harness.delayed import answer
from harness.pass_through import install, source, stanzas
from harness.sink import Counter
from harness.sweeps import sweeps, thinned
from harness.upstream import SIZES, qname, question_file, questions_of_size, text_record
from harness.workloads import WORKLOADS, PassThrough, Questions


def count(chunks: Sequence[bytes]) -> int:
    counter = Counter(b"marker")
    for chunk in chunks:
        counter.space[: len(chunk)] = chunk
        counter.advance(len(chunk))
    return counter.messages


STREAM = b"..marker....markermarker..mark.er..marker"


@pytest.mark.parametrize("size", [1, 2, 5, 6, 7, 100])
def test_the_collector_counts_messages_however_they_are_cut(size: int) -> None:
    assert count([STREAM[start : start + size] for start in range(0, len(STREAM), size)]) == 4


def test_the_delayed_upstream_answers_what_was_asked() -> None:
    query = dns.message.make_query("name1.many.bench.example.", "A", use_edns=True)
    response = dns.message.from_wire(answer(query.to_wire(), ttl=60))
    assert query.is_response(response)
    assert response.rcode() == dns.rcode.NOERROR
    assert [str(rrset) for rrset in response.answer] == ["name1.many.bench.example. 60 IN A 192.0.2.1"]


@pytest.mark.parametrize("octets", SIZES)
def test_an_answer_has_about_the_size_that_it_is_named_after(octets: int) -> None:
    questions = questions_of_size(octets)
    name = qname(questions, 500)
    query = dns.message.make_query(name, "TXT", use_edns=False)
    response = dns.message.make_response(query)
    response.answer.append(dns.rrset.from_text(name, 0, "IN", "TXT", text_record(octets)))
    smallest = 12 + len(name) + 1 + 4 + 12 + 1
    assert abs(len(response.to_wire()) - max(octets, smallest)) <= 3


def test_questions_are_written_as_dnsperf_reads_them(tmp_path: Path) -> None:
    lines = question_file(tmp_path, Questions("kept", names=3)).read_text().splitlines()
    assert lines == [f"name{number}.kept.bench.example. A" for number in range(3)]


def test_pass_through_plugins_are_found_as_any_installed_ones_are(tmp_path: Path) -> None:
    folder = install(tmp_path, PassThrough(3))
    (found,) = distributions(path=[str(folder)])
    assert [entry.name for entry in found.entry_points.select(group="dnsproxy.plugins")] == ["pass0", "pass1", "pass2"]
    assert stanzas(PassThrough(2)) == "[pass0]\n[pass1]\n"


@pytest.mark.parametrize("coroutine", [False, True])
def test_pass_through_plugins_are_python_that_loads(coroutine: bool) -> None:
    namespace: dict[str, object] = {"__name__": "bench_pass_through"}
    sys.modules.pop("bench_pass_through", None)
    exec(compile(source(PassThrough(2, coroutine)), "bench_pass_through.py", "exec"), namespace)
    assert {"Pass0", "Pass1"} <= set(namespace)


def test_no_two_workloads_share_a_name() -> None:
    names = [workload.name for workload in WORKLOADS]
    names += [point.workload.name for sweep in sweeps() for point in sweep.points]
    assert len(names) == len(set(names))


def test_a_quick_look_keeps_the_ends_of_every_line() -> None:
    for sweep in sweeps():
        quick = thinned(sweep)
        for series in {point.series for point in sweep.points}:
            full = [point for point in sweep.points if point.series == series]
            kept = [point for point in quick.points if point.series == series]
            assert (kept[0], kept[-1]) == (full[0], full[-1])
            assert len(kept) <= 3
