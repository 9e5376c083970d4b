"""Two recordings side by side."""

from collections.abc import Iterable, Iterator

import pytest

from dnsproxy.tap import comparing
from dnsproxy.tap.comparing import Comparison, Difference
from dnsproxy.tap.frame import NS_PER_S, TapFrame
from dnsproxy.tap.joined import Joined
from dnsproxy.tap.joining import Joiner
from tests.tap.dialogue import Dialogue

ONE, OTHER = "www.example.org. 300 IN A 192.0.2.1", "www.example.org. 300 IN A 192.0.2.2"


def queries(frames: Iterable[TapFrame]) -> Iterator[Joined]:
    joiner = Joiner(10 * NS_PER_S, by_start=True)
    for frame in frames:
        yield from joiner.add(frame)
    yield from joiner.end()


def compared(a: Iterable[TapFrame], b: Iterable[TapFrame]) -> tuple[Comparison, list[Difference]]:
    comparison = Comparison()
    return comparison, list(comparison.differences(queries(a), queries(b)))


def asked(*names: str) -> list[TapFrame]:
    """A query for each, one after the other, answered."""
    return [frame for number, name in enumerate(names) for frame in Dialogue(name, port=number).whole(number * 50, 20)]


def names(differences: list[Difference]) -> list[bytes]:
    return [difference.asked.question[0] for difference in differences]


def test_the_same_recording_has_no_differences() -> None:
    comparison, differences = compared(asked("a.test", "b.test", "a.test"), asked("a.test", "b.test", "a.test"))
    assert differences == []
    assert comparison.is_equal
    assert (comparison.same, comparison.a.queries, comparison.b.queries) == (3, 3, 3)


def test_latency_differs_and_that_is_no_difference() -> None:
    comparison, differences = compared(Dialogue().whole(0, 20), Dialogue(client="192.0.2.9").whole(999, 400))
    assert differences == []
    assert comparison.a.latencies.maximum == 20_000_000
    assert comparison.b.latencies.maximum == 400_000_000


def test_another_answer_and_another_rcode_are_differences() -> None:
    a = [*Dialogue().whole(0, 20, ONE), *Dialogue("b.test").whole(50, 20)]
    b = [*Dialogue().whole(0, 20, OTHER), *Dialogue("b.test").whole(50, 20, rcode="SERVFAIL")]
    comparison, differences = compared(a, b)
    assert names(differences) == [b"\x03www\x07example\x03org\0", b"\x01b\x04test\0"]
    assert (comparison.different, comparison.is_equal) == (2, False)


def test_a_query_that_nobody_answered_differs_from_one_that_was() -> None:
    comparison, (difference,) = compared([Dialogue().asked(0)], Dialogue().whole(0, 20))
    assert difference.a is not None
    assert difference.a.wire is None
    assert comparison.different == 1


def test_queries_are_paired_by_question_in_their_order_and_what_is_left_is_missing() -> None:
    comparison, differences = compared(asked("a.test", "a.test", "b.test"), asked("c.test", "b.test", "a.test"))
    assert sorted((difference.a is None, difference.asked.question[0]) for difference in differences) == [
        (False, b"\x01a\x04test\0"),
        (True, b"\x01c\x04test\0"),
    ]
    assert (comparison.same, comparison.a.missing, comparison.b.missing) == (2, 1, 1)


def test_the_first_is_paired_with_the_first() -> None:
    a = [*Dialogue(port=1).whole(0, 20, ONE), *Dialogue(port=2).whole(50, 20, OTHER)]
    b = [*Dialogue(port=3).whole(0, 20, OTHER), *Dialogue(port=4).whole(50, 20, ONE)]
    assert compared(a, a)[0].same == 2
    assert compared(a, b)[0].different == 2


def test_name_type_and_class_tell_questions_apart_but_not_case() -> None:
    a = [*Dialogue("A.test").whole(0, 20), *Dialogue("a.test", "AAAA").whole(50, 20)]
    b = [*Dialogue("a.test").whole(0, 20), *Dialogue("a.test", "TXT").whole(50, 20)]
    comparison, _ = compared(a, b)
    assert (comparison.same, comparison.a.missing, comparison.b.missing) == (1, 1, 1)


def test_memory_is_bounded_and_what_waits_too_long_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "WAITING_MAX", 5)
    comparison = Comparison()
    a = queries(asked(*(f"a{number}.test" for number in range(20))))
    differences = comparison.differences(a, queries([]))
    early = [next(differences) for _ in range(15)]
    assert comparison.a.queries == 20, "the last is read when the fifteenth has to go"
    assert names(early)[0] == b"\x02a0\x04test\0"
    assert len(list(differences)) == 5
    assert comparison.b.missing == 20


def test_octets_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparing, "OCTETS_MAX", 100)
    comparison = Comparison()
    differences = comparison.differences(queries(asked(*(f"a{number}.test" for number in range(9)))), iter([]))
    next(differences)
    assert comparison.a.queries < 9
