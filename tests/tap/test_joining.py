"""Putting together what belongs together: by the producer's id, else by who asked what and when."""

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap import joining
from dnsproxy.tap.frame import NS_PER_S, TapFrame
from dnsproxy.tap.joined import Joined
from dnsproxy.tap.joining import Joiner
from tests.tap.dialogue import OTHER_UPSTREAM, UPSTREAM, Dialogue
from tests.tap.frames import payload

WAIT_NS = 10 * NS_PER_S


def joined(frames: Iterable[TapFrame], **options: bool) -> list[Joined]:
    joiner = Joiner(WAIT_NS, **options)
    return [*(found for frame in frames for found in joiner.add(frame)), *joiner.end()]


def path(query: Joined) -> list[str]:
    """Upstreams and outcomes."""
    return [f"{each.frame.response_address_text} {query.outcome_of(each)}" for each in query.attempts]


def with_id(number: int, **more: object) -> Dialogue:
    return Dialogue(extra=b"%016x" % number, port=40000 + number, **more)  # type: ignore[arg-type]


def test_four_messages_make_one_query() -> None:
    (query,) = joined(Dialogue().whole(0, 20))
    assert query.query is not None
    assert query.response is not None
    assert path(query) == [f"{UPSTREAM} answered"]
    assert query.latency_ns == 20_000_000
    assert query.attempts[0].rtt_ns == 18_000_000


def test_a_silent_upstream_and_the_next_one() -> None:
    one = Dialogue()
    frames = [one.asked(0), one.sent(1), one.sent(501, OTHER_UPSTREAM), one.came(501, 520, OTHER_UPSTREAM)]
    (query,) = joined([*frames, one.answered(521)])
    assert path(query) == [f"{UPSTREAM} timeout", f"{OTHER_UPSTREAM} answered"]
    assert [each.rtt_ns for each in query.attempts] == [None, 19_000_000]


def test_the_producers_word_for_an_outcome_counts() -> None:
    one = Dialogue(extra=b'{"query/id":"00000000000000aa"}')
    told = b'{"query/id":"00000000000000aa","forward/outcome":"refused"}'
    (query,) = joined([one.asked(0), one.sent(1), one.answered(2, rcode="SERVFAIL", extra=told)])
    assert path(query) == [f"{UPSTREAM} refused"]


def test_a_query_from_the_cache_has_no_attempts() -> None:
    one = Dialogue()
    (query,) = joined([one.asked(0), one.answered(1)])
    assert query.attempts == []


def test_an_id_joins_whatever_else_is_the_same() -> None:
    one, other = with_id(1), with_id(2)
    frames = [one.asked(0), other.asked(0), other.sent(1, OTHER_UPSTREAM), one.sent(1), one.came(1, 5)]
    frames += [other.came(1, 6, OTHER_UPSTREAM), other.answered(7), one.answered(8)]
    first, second = joined(frames)
    assert (first.id, path(first)) == (f"{2:016x}", [f"{OTHER_UPSTREAM} answered"])
    assert (second.id, path(second)) == (f"{1:016x}", [f"{UPSTREAM} answered"])


@given(st.integers(0, 2**32))
def test_messages_of_several_streams_may_come_in_any_order(seed: int) -> None:
    frames = [frame for number in range(5) for frame in with_id(number).whole(number, 20)]
    Random(seed).shuffle(frames)
    found = joined(frames)
    assert sorted(query.id or "" for query in found) == [f"{number:016x}" for number in range(5)]
    assert all(path(query) == [f"{UPSTREAM} answered"] and query.latency_ns == 20_000_000 for query in found)


def test_without_an_id_clients_are_told_apart_by_port_and_message_id() -> None:
    one, other = Dialogue(port=1111, id=5), Dialogue(port=2222, id=6)
    found = joined([one.asked(0), other.asked(1), other.answered(10), one.answered(20)])
    assert [query.latency_ns for query in found] == [9_000_000, 20_000_000]


def test_without_an_id_an_upstreams_message_belongs_to_who_asked_the_same_at_that_time() -> None:
    early, late = Dialogue(port=1111), Dialogue(port=2222)
    other = Dialogue("other.example.org")
    frames = [*early.whole(0, 10), other.asked(990), *late.whole(1000, 10), other.answered(1020)]
    found = joined(frames)
    assert [len(query.attempts) for query in found] == [1, 1, 0]


def test_without_an_id_the_same_message_id_is_a_better_sign_than_having_come_first() -> None:
    one, other = Dialogue(port=1111, id=1), Dialogue(port=2222, id=2)
    frames = [one.asked(0), other.asked(1), other.sent(2, id=2), one.sent(3, OTHER_UPSTREAM, id=1)]
    frames += [one.answered(10), other.answered(11)]
    first, second = joined(frames)
    assert path(first) == [f"{OTHER_UPSTREAM} timeout"]
    assert path(second) == [f"{UPSTREAM} timeout"]


def test_a_port_that_is_used_again_is_another_query() -> None:
    one = Dialogue()
    found = joined([*one.whole(0, 10), *one.whole(5000, 20)])
    assert [query.latency_ns for query in found] == [10_000_000, 20_000_000]
    assert [len(query.attempts) for query in found] == [1, 1]


def test_a_retransmitted_query_is_answered_by_the_response_to_it() -> None:
    one, again = Dialogue(), Dialogue()
    found = joined([one.asked(0), again.asked(100), again.answered(110), one.answered(120)])
    assert [query.latency_ns for query in found] == [10_000_000, 120_000_000]


def test_what_no_client_asked_for_is_left_out() -> None:
    prefetch = Dialogue(extra=b"00000000000000bb")
    assert joined([prefetch.sent(0), prefetch.came(0, 5)]) == []
    unknown = Dialogue()
    assert joined([unknown.sent(0), unknown.came(0, 5)]) == []


def test_other_types_are_left_out() -> None:
    assert joined([TapFrame(payload("RESOLVER_QUERY")), TapFrame(payload("AUTH_RESPONSE"))]) == []


def test_a_response_alone_makes_a_query_with_its_latency() -> None:
    one = Dialogue()
    one.asked(0)
    (query,) = joined([one.answered(15)])
    assert query.query is None
    assert query.latency_ns == 15_000_000


def test_an_upstreams_response_alone_makes_an_attempt() -> None:
    one = Dialogue()
    (query,) = joined([one.asked(0), one.came(1, 5), one.answered(6)])
    assert path(query) == [f"{UPSTREAM} answered"]
    assert query.attempts[0].rtt_ns == 4_000_000


def test_a_query_that_has_not_ended_comes_out_after_the_wait_and_not_before() -> None:
    joiner = Joiner(WAIT_NS)
    one, tick = Dialogue(), Dialogue("tick.example.org")
    assert joiner.add(one.asked(0)) == []
    assert joiner.add(tick.asked(9_999)) == []
    (query,) = joiner.add(tick.answered(10_000))
    assert (query.query is not None, query.response) == (True, None)
    assert [each.end_ns is not None for each in joiner.end()] == [True]


def test_a_complete_query_waits_a_moment_for_what_other_streams_have_of_it() -> None:
    joiner = Joiner(WAIT_NS)
    one = with_id(1)
    assert [found for frame in (one.asked(0), one.answered(10)) for found in joiner.add(frame)] == []
    assert joiner.add(one.sent(1)) == []
    assert joiner.release(joiner.now_ns + NS_PER_S) != []
    assert joiner.end() == []


def test_by_start_they_come_in_the_order_in_which_they_began() -> None:
    slow, fast = Dialogue(port=1), Dialogue(port=2)
    found = joined([slow.asked(0), fast.asked(1), fast.answered(2), slow.answered(900)], by_start=True)
    assert [query.latency_ns for query in found] == [900_000_000, 1_000_000]


def test_by_start_one_that_never_ends_holds_up_the_others_for_the_wait_only() -> None:
    joiner = Joiner(WAIT_NS, by_start=True)
    lost, fast, late = Dialogue(port=1), Dialogue(port=2), Dialogue(port=3)
    assert [each for frame in (lost.asked(0), *fast.whole(1, 10)) for each in joiner.add(frame)] == []
    found = joiner.add(late.asked(10_000))
    assert [each.response is None for each in found] == [True, False]


def test_too_many_open_queries_come_out_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "KEPT_MAX", 10)
    joiner = Joiner(WAIT_NS)
    found = [each for number in range(100) for each in joiner.add(Dialogue(port=number).asked(0))]
    assert len(found) == 90
    assert len(joiner.end()) == 10


def test_too_many_octets_come_out_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "OCTETS_MAX", 1000)
    joiner = Joiner(WAIT_NS)
    found = [each for number in range(100) for each in joiner.add(Dialogue(port=number).asked(0))]
    assert len(found) > 80


def test_an_id_that_is_the_same_in_all_messages_joins_a_query_and_its_response_at_least() -> None:
    one, other = Dialogue(extra=b"build 0123456789abcdef"), Dialogue(extra=b"build 0123456789abcdef", port=2)
    found = joined([one.asked(0), one.answered(5), other.asked(10), other.answered(30)])
    assert [query.latency_ns for query in found] == [5_000_000, 20_000_000]


def test_without_messages_queries_are_joined_by_address_and_port() -> None:
    def bare(type: str, **fields: object) -> TapFrame:
        return TapFrame(payload(type, None, **fields))

    found = joined([bare("CLIENT_QUERY"), bare("FORWARDER_QUERY", query_port=7), bare("CLIENT_RESPONSE")])
    assert [(query.latency_ns, len(query.attempts)) for query in found] == [(1_543_211, 0)]


@given(st.lists(st.tuples(st.sampled_from(["asked", "sent", "came", "answered"]), st.integers(0, 20_000)), max_size=30))
def test_whatever_comes_no_client_message_is_lost_or_doubled(events: list[tuple[str, int]]) -> None:
    one = Dialogue()
    frames = []
    for what, at_ms in events:
        frames.append(one.came(at_ms, at_ms + 1) if what == "came" else getattr(one, what)(at_ms))
    found = joined(frames)
    seen = [frame for query in found for frame in (query.query, query.response) if frame is not None]
    assert sorted(map(id, seen)) == sorted(id(frame) for frame in frames if frame.is_of_client)
