"""What `diff` prints."""

import json
from collections.abc import Iterable
from typing import Any

from dnsproxy.tap.comparing import Comparison
from dnsproxy.tap.differences import json_pieces, text_lines
from dnsproxy.tap.frame import TapFrame
from tests.tap.dialogue import Dialogue
from tests.tap.test_comparing import ONE, OTHER, queries

A = [
    *Dialogue().whole(0, 20, ONE),
    *Dialogue("b.test").whole(100, 20),
    *Dialogue("gone.test").whole(200, 20),
    *Dialogue("same.test", "AAAA").whole(300, 20),
]
B = [
    *Dialogue().whole(0, 30, ONE, OTHER),
    *Dialogue("b.test").whole(100, 30, rcode="SERVFAIL"),
    *Dialogue("same.test", "AAAA").whole(300, 40),
    Dialogue("new.test").asked(400),
]


def text(a: Iterable[TapFrame], b: Iterable[TapFrame]) -> list[str]:
    comparison = Comparison()
    return list(text_lines(comparison, comparison.differences(queries(a), queries(b)), "old", "new"))


def values(a: Iterable[TapFrame], b: Iterable[TapFrame]) -> dict[str, Any]:
    comparison = Comparison()
    printed = "".join(json_pieces(comparison, comparison.differences(queries(a), queries(b))))
    assert printed.count("\n") == 1
    found: dict[str, Any] = json.loads(printed)
    return found


def test_text_says_what_became_of_what() -> None:
    assert text(A, B) == [
        "www.example.org. IN A: another answer",
        "  + www.example.org. IN A 192.0.2.2",
        "b.test. IN A: NOERROR became SERVFAIL",
        "gone.test. IN A: missing in new",
        "new.test. IN A: missing in old",
        "1 queries went the same, 2 otherwise",
        "old: 4 queries, 1 missing; half answered within 20 ms, 90 % 20 ms, 99 % 20 ms, all 20 ms",
        "new: 4 queries, 1 missing; half answered within 30 ms, 90 % 40 ms, 99 % 40 ms, all 40 ms",
    ]


def test_text_says_that_there_was_no_response_and_that_a_response_cannot_be_read() -> None:
    assert (
        text([Dialogue().asked(0)], Dialogue().whole(0, 20))[0] == "www.example.org. IN A: no response became NOERROR"
    )
    broken = Dialogue()
    cut = [broken.asked(0), cut_short(broken.answered(10, ONE))]
    assert text(Dialogue().whole(0, 20), cut)[:2] == ["www.example.org. IN A: another answer", "  that cannot be read"]


def test_of_nothing_there_is_nothing_to_tell() -> None:
    assert text([], []) == [
        "0 queries went the same, 0 otherwise",
        "old: 0 queries, 0 missing",
        "new: 0 queries, 0 missing",
    ]


def test_json_is_one_object_in_one_line() -> None:
    found = values(A, B)
    assert list(found) == ["differences", "queries", "same", "different", "missing", "latency_ms"]
    assert found["queries"] == {"a": 4, "b": 4}
    assert found["missing"] == {"a": 1, "b": 1}
    assert (found["same"], found["different"]) == (1, 2)
    assert found["latency_ms"]["a"] == {"count": 4, "p50": 20.0, "p90": 20.0, "p99": 20.0, "max": 20.0}
    assert [each["differs"] for each in found["differences"]] == ["answer", "rcode", "missing", "missing"]
    first, _, gone, new = found["differences"]
    assert (first["qname"], first["qtype"], first["qclass"]) == ("www.example.org.", "A", "IN")
    assert first["a"] == {
        "time": "2023-11-14T22:13:20.000000000Z",
        "rcode": "NOERROR",
        "answer": ["www.example.org. IN A 192.0.2.1"],
        "latency_ms": 20.0,
    }
    assert (gone["b"], new["a"]) == (None, None)
    assert new["b"] | {"time": ""} == {"time": "", "rcode": None, "answer": None, "latency_ms": None}


def test_json_of_nothing_is_an_object_too() -> None:
    found = values([], [])
    assert found["differences"] == []
    assert found["latency_ms"]["b"] == {"count": 0, "p50": None, "p90": None, "p99": None, "max": None}


def cut_short(frame: TapFrame) -> TapFrame:
    """The same response with its last octet changed into a longer record's beginning."""
    wire = frame.wire
    assert wire is not None
    return TapFrame(frame.payload.replace(wire, wire[:-5] + b"\x09" + wire[-4:]))
