"""What differs between two recordings, as `diff` prints it: text or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from dnsproxy.tap.answers import rcode, records
from dnsproxy.tap.comparing import Asked, Comparison, Difference, Side
from dnsproxy.tap.report.amounts import duration
from dnsproxy.tap.report.summary import NS_PER_MS, SHARES, latency_ms, time_text
from dnsproxy.tap.words import CLASSES, TYPES, rcode_word, word
from dnsproxy.wire import name_to_text

NO_RESPONSE: Final = "no response"


def text_lines(comparison: Comparison, differences: Iterator[Difference], a: str, b: str) -> Iterator[str]:
    """Each difference, then what both are like; `a` and `b` are what they are called."""
    for difference in differences:
        yield from _told(difference, a, b)
    same, different = comparison.same, comparison.different
    yield f"{same} queries went the same, {different} otherwise"
    for name, side in ((a, comparison.a), (b, comparison.b)):
        yield f"{name}: {_side(side)}"


def json_pieces(comparison: Comparison, differences: Iterator[Difference]) -> Iterator[str]:
    """One object in one line, in pieces, as the differences may be many."""
    yield '{"differences": ['
    for number, difference in enumerate(differences):
        yield (", " if number else "") + json.dumps(_values(difference))
    a, b = comparison.a, comparison.b
    rest = {
        "queries": {"a": a.queries, "b": b.queries},
        "same": comparison.same,
        "different": comparison.different,
        "missing": {"a": a.missing, "b": b.missing},
        "latency_ms": {"a": latency_ms(a.latencies), "b": latency_ms(b.latencies)},
    }
    yield "], " + json.dumps(rest).removeprefix("{") + "\n"


def _told(difference: Difference, a: str, b: str) -> Iterator[str]:
    one, other = difference.a, difference.b
    question = _question(difference.asked)
    if one is None or other is None:
        yield f"{question}: missing in {a if one is None else b}"
        return
    if rcode(one.wire) != rcode(other.wire):
        yield f"{question}: {_rcode(one)} became {_rcode(other)}"
        return
    yield f"{question}: another answer"
    before, after = records(one.wire), records(other.wire)
    if before is None or after is None:
        yield "  that cannot be read"
        return
    yield from (f"  - {record}" for record in before if record not in after)
    yield from (f"  + {record}" for record in after if record not in before)


def _side(side: Side) -> str:
    text = f"{side.queries} queries, {side.missing} missing"
    if not side.latencies.count:
        return text
    half, most, nearly_all = (duration(value) for value in side.latencies.at(*SHARES))
    longest = duration(side.latencies.maximum)
    return f"{text}; half answered within {half}, 90 % {most}, 99 % {nearly_all}, all {longest}"


def _values(difference: Difference) -> dict[str, Any]:
    name, qtype, qclass = _words(difference.asked)
    one, other = difference.a, difference.b
    question = {"qname": name, "qtype": qtype, "qclass": qclass}
    return {**question, "differs": _what(one, other), "a": _asked_values(one), "b": _asked_values(other)}


def _what(one: Asked | None, other: Asked | None) -> str:
    if one is None or other is None:
        return "missing"
    return "answer" if rcode(one.wire) == rcode(other.wire) else "rcode"


def _asked_values(asked: Asked | None) -> dict[str, Any] | None:
    if asked is None:
        return None
    number = rcode(asked.wire)
    return {
        "time": time_text(asked.time_ns),
        "rcode": None if number is None else rcode_word(number),
        "answer": records(asked.wire),
        "latency_ms": None if asked.latency_ns is None else asked.latency_ns / NS_PER_MS,
    }


def _question(asked: Asked) -> str:
    name, qtype, qclass = _words(asked)
    return f"{name} {qclass} {qtype}"


def _words(asked: Asked) -> tuple[str, str | None, str | None]:
    name, qtype, qclass = asked.question
    type_word = None if qtype is None else word(TYPES, qtype)
    return name_to_text(name), type_word, None if qclass is None else word(CLASSES, qclass)


def _rcode(asked: Asked) -> str:
    number = rcode(asked.wire)
    return NO_RESPONSE if number is None else rcode_word(number)
