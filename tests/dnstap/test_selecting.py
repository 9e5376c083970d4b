"""Taps that choose: whole exchanges or nothing, whatever decides, within a bound."""

import ipaddress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.address import Address
from dnsproxy.dnstap import selecting
from dnsproxy.dnstap.events import Event, Route
from dnsproxy.dnstap.recorder import Recorder, TapPlan
from dnsproxy.dnstap.schema import MessageType
from dnsproxy.dnstap.selection import Selection
from dnsproxy.dnstap.sink import FrameForm
from dnsproxy.message import Endpoint, Policy, Query, Response
from dnsproxy.shape import shape_of
from dnsproxy.template import compile_template
from tests.dnstap.test_recorder import ANSWER, QUERY, REPLY, SENT, ZONE, Collected, exchange

NOW_NS = 1_700_000_000_000_000_000
UPSTREAM = Route.of("UDP", Address.of("192.0.2.53", 50000), Address.of("192.0.2.1", 53))
WHOLE = ["CQ", "FQ", "FR", "CR"]


def choosing(selection: Selection, types: str = "", extra: str = "") -> tuple[Collected, list[int]]:
    frames: list[bytes] = []
    lost: list[int] = []
    wanted = frozenset(type for type in MessageType if not types or type.mnemonic in types.split())
    return Collected(
        TapPlan(frames.append, FrameForm(extra=compile_template(extra)), wanted, selection, lost.append), frames
    ), lost


def make_query(
    qtype: int = 1, client: str = "192.0.2.7", protocol: str = "UDP", name: bytes = b"\3www\7example\3org\0"
) -> Query:
    octets = QUERY[:12] + name + qtype.to_bytes(2, "big") + b"\0\1"
    endpoint = Endpoint(protocol, Address.of("192.0.2.53", 53))
    return Query(octets, shape_of(octets), Address.of(client, 40212).sockaddr, endpoint, NOW_NS)


def answered(
    recorder: Recorder, query: Query, rcode: int = 0, after_s: float = 0.0, policy: Policy | None = None
) -> None:
    octets = bytes([*ANSWER[:3], 0x80 | rcode]) + query.wire[4:]
    recorder.client_query(query)
    recorder.forwarder_query(query, UPSTREAM, NOW_NS, SENT, ZONE)
    recorder.forwarder_response(query, UPSTREAM, NOW_NS, None, NOW_NS + 1, REPLY, ZONE)
    query.received_ns -= int(after_s * 1e9)
    recorder.client_response(query, Response(octets, policy))


def shown(selection: Selection, query: Query | None = None, **how: Any) -> list[str]:
    """The types that a tap with such a selection gets of a query."""
    collected, _ = choosing(selection)
    answered(Recorder([collected.plan]), query or make_query(), **how)
    return collected.types


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnsproxy.dnstap.recorder.time.time_ns", lambda: NOW_NS + 1_000_000)


@pytest.mark.parametrize(
    ("selection", "inside", "outside"),
    [
        (Selection(qtypes=frozenset({28})), make_query(28), make_query(1)),
        (Selection(protocols=frozenset({"TCP", "DOT"})), make_query(protocol="TCP"), make_query()),
        (
            Selection(zones=(b"\7example\3org\0",)),
            make_query(),
            make_query(name=b"\4rexample\3org\0"[:1] + b"exam\3org\0"),
        ),
        (Selection(zones=(b"\3net\0", b"\3www\7example\3org\0")), make_query(), make_query(name=b"\7example\3org\0")),
        (
            Selection(clients=(ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))),
            make_query(client="2001:db8::1"),
            make_query(client="198.51.100.1"),
        ),
    ],
)
def test_what_was_asked_decides_at_once_about_all_four_messages(
    selection: Selection, inside: Query, outside: Query
) -> None:
    assert shown(selection, inside) == WHOLE
    assert shown(selection, outside) == []


def test_names_are_compared_without_regard_to_case() -> None:
    assert shown(Selection(zones=(b"\3org\0",)), make_query(name=b"\3wWw\3ORG\0")) == WHOLE


def test_all_keys_must_hold_together() -> None:
    selection = Selection(qtypes=frozenset({1}), rcodes=frozenset({3}))
    assert shown(selection, rcode=3) == WHOLE
    assert shown(selection, rcode=0) == []
    assert shown(selection, make_query(28), rcode=3) == []


@pytest.mark.parametrize(
    ("selection", "wanted", "unwanted"),
    [
        (Selection(rcodes=frozenset({2, 3})), {"rcode": 3}, {"rcode": 0}),
        (Selection(only_errors=True), {"rcode": 2}, {"rcode": 3}),
        (Selection(only_errors=True), {"rcode": 5}, {"rcode": 0}),
        (Selection(slower_than_s=0.2), {"after_s": 0.2}, {"after_s": 0.19}),
    ],
)
def test_the_answer_decides_about_the_whole_exchange(
    selection: Selection, wanted: dict[str, Any], unwanted: dict[str, Any]
) -> None:
    assert shown(selection, **wanted) == WHOLE
    assert shown(selection, **unwanted) == []


def test_messages_wait_for_the_answer_and_then_come_in_order() -> None:
    collected, _ = choosing(Selection(only_errors=True))
    recorder = Recorder([collected.plan])
    query = make_query()
    recorder.client_query(query)
    recorder.forwarder_query(query, UPSTREAM, NOW_NS, SENT, ZONE)
    assert collected.frames == []
    recorder.client_response(query, Response(bytes([*ANSWER[:3], 0x82]) + ANSWER[4:]))
    recorder.forwarder_response(query, UPSTREAM, NOW_NS, None, NOW_NS + 1, REPLY, ZONE)  # too late for the client
    assert collected.types == ["CQ", "FQ", "CR", "FR"]


def test_a_tap_may_want_only_queries_of_what_the_answer_decides() -> None:
    collected, _ = choosing(Selection(only_errors=True), types="CQ FQ")
    recorder = Recorder([collected.plan])
    answered(recorder, make_query(), rcode=2)
    answered(recorder, make_query(), rcode=0)
    assert collected.types == ["CQ", "FQ"]


def test_a_sample_keeps_the_messages_of_a_query_together_and_its_size() -> None:
    collected, _ = choosing(Selection(sample=0.2))
    recorder = Recorder([collected.plan])
    for _ in range(2_000):
        answered(recorder, make_query())
    assert collected.types == WHOLE * (len(collected.frames) // 4)
    assert 0.15 < len(collected.frames) / 8_000 < 0.25


def test_taps_of_one_rate_agree_and_a_higher_rate_has_all_of_a_lower_one() -> None:
    taps = [choosing(Selection(sample=rate), extra="{/query/id}")[0] for rate in (0.1, 0.1, 0.5)]
    recorder = Recorder(each.plan for each in taps)
    for _ in range(500):
        answered(recorder, make_query())
    assert taps[0].frames == taps[1].frames
    assert set(taps[0].frames) < set(taps[2].frames)


@pytest.mark.parametrize(
    ("always", "how"),
    [
        ("errors", {"rcode": 2}),
        ("slow", {"after_s": 1.0}),
        ("policy", {"policy": Policy(type="block")}),
    ],
)
def test_some_are_shown_always_sampled_or_not(always: str, how: dict[str, Any]) -> None:
    selection = Selection(sample=1e-9, always=frozenset({always}), slower_than_s=0.5 if always == "slow" else None)
    assert shown(selection, **how) == WHOLE
    assert shown(selection) == []
    assert shown(replace(selection, sample=1.0)) == WHOLE


def test_always_does_not_widen_the_other_keys() -> None:
    selection = Selection(sample=1e-9, always=frozenset({"errors"}), qtypes=frozenset({28}))
    assert shown(selection, make_query(1), rcode=2) == []
    assert shown(selection, make_query(28), rcode=2) == WHOLE


def test_beside_a_tap_that_chooses_others_see_everything() -> None:
    chosen, _ = choosing(Selection(qtypes=frozenset({28})))
    everything = Collected(TapPlan((frames := list[bytes]()).append), frames)
    recorder = Recorder([chosen.plan, everything.plan])
    answered(recorder, make_query(1))
    answered(recorder, make_query(28))
    assert (chosen.types, everything.types) == (WHOLE, WHOLE * 2)


def test_what_waits_is_bounded_and_what_was_given_up_is_counted_if_it_was_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not hasattr(selecting, "__file__") or selecting.__file__.endswith(".so"):
        bound = selecting.HELD_MESSAGES
    else:
        bound = 10
        monkeypatch.setattr(selecting, "HELD_MESSAGES", bound)
    collected, lost = choosing(Selection(only_errors=True))
    recorder = Recorder([collected.plan])
    first, second = make_query(), make_query()
    for query in (first, second):
        recorder.client_query(query)
        recorder.forwarder_query(query, UPSTREAM, NOW_NS, SENT, ZONE)
    for _ in range(bound - 2):
        recorder.client_query(make_query())  # these never get an answer
    failure = Response(bytes([*ANSWER[:3], 0x82]) + ANSWER[4:])
    recorder.client_response(first, failure)
    assert (collected.types, lost) == (["CR"], [1, 1])
    recorder.client_response(second, failure)
    assert (collected.types, lost) == (["CR", "CQ", "FQ", "CR"], [1, 1])


def test_what_no_client_asked_goes_to_no_tap_that_asks_about_clients() -> None:
    collected, _ = choosing(Selection(qtypes=frozenset({1})))
    Recorder([collected.plan]).emit(Event.of(MessageType.TOOL_QUERY, UPSTREAM, SENT))
    assert collected.frames == []


@given(st.lists(st.sampled_from([0, 2, 3]), max_size=30), st.integers(0, 2))
def test_offered_is_a_whole_number_of_exchanges(rcodes: list[int], which: int) -> None:
    selection = [Selection(only_errors=True), Selection(rcodes=frozenset({0})), Selection(sample=0.5)][which]
    collected, _ = choosing(selection)
    recorder = Recorder([collected.plan])
    for rcode in rcodes:
        answered(recorder, make_query(), rcode=rcode)
    assert collected.types == WHOLE * (len(collected.frames) // 4)


def test_a_query_that_came_before_the_tap_was_there_is_judged_when_it_is_seen() -> None:
    collected, _ = choosing(Selection(qtypes=frozenset({1})))
    recorder = Recorder([collected.plan])
    recorder.forwarder_response(make_query(), UPSTREAM, NOW_NS, None, NOW_NS + 1, REPLY, ZONE)
    assert collected.types == ["FR"]


def test_an_unfiltered_exchange_is_as_before() -> None:
    collected, _ = choosing(Selection())
    exchange(Recorder([collected.plan]))
    assert collected.types == WHOLE
