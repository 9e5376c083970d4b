"""The recorder: the same messages whether or not an event is made on the way."""

import itertools
from dataclasses import dataclass, field

import pytest

from dnsproxy.address import Address
from dnsproxy.dnstap import dnstap_pb2
from dnsproxy.dnstap.events import Event, Route
from dnsproxy.dnstap.recorder import Recorder, TapPlan
from dnsproxy.dnstap.schema import MessageType
from dnsproxy.dnstap.sink import BARE_FORM, FrameForm
from dnsproxy.message import Endpoint, Policy, Query, Response
from dnsproxy.shape import shape_of
from dnsproxy.template import compile_template

QUERY = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\3www\7example\3org\0\0\1\0\1"
ANSWER = b"\x12\x34\x81\x80" + QUERY[4:]
SENT, REPLY = b"\xab\xcd" + QUERY[2:], b"\xab\xcd" + ANSWER[2:]
ARRIVED_NS = 1_700_000_000_999_999_999
SENT_NS, REPLIED_NS = ARRIVED_NS + 2, ARRIVED_NS + 1_000_003
ZONE = b"\3org\0"
UPSTREAM = Route.of("UDP", Address.of("192.0.2.53", 50000), Address.of("192.0.2.1", 53))
POLICY = Policy(type="forward", rule=b"max_concurrent")
C, F = MessageType.CLIENT_QUERY, MessageType.FORWARDER_QUERY


@dataclass
class Collected:
    """A tap's frames."""

    plan: TapPlan
    frames: list[bytes] = field(default_factory=list)

    @property
    def messages(self) -> list[dnstap_pb2.Dnstap]:
        return [dnstap_pb2.Dnstap.FromString(frame[4:]) for frame in self.frames]

    @property
    def types(self) -> list[str]:
        return [MessageType(each.message.type).mnemonic for each in self.messages]


def tap(form: FrameForm = BARE_FORM, types: str = "") -> Collected:
    frames: list[bytes] = []
    wanted = frozenset(type for type in MessageType if not types or type.mnemonic in types.split())
    return Collected(TapPlan(frames.append, form, wanted), frames)


def make_query() -> Query:
    endpoint = Endpoint("UDP", Address.of("192.0.2.53", 53))
    query = Query(QUERY, shape_of(QUERY), Address.of("192.0.2.7", 40212).sockaddr, endpoint, ARRIVED_NS)
    query.metadata["forward/upstream"] = "192.0.2.1:53"
    return query


def exchange(recorder: Recorder, query: Query | None = None, policy: Policy | None = None) -> Query:
    """All that a query passes."""
    query = query or make_query()
    recorder.client_query(query)
    recorder.forwarder_query(query, UPSTREAM, SENT_NS, SENT, ZONE)
    recorder.forwarder_response(query, UPSTREAM, SENT_NS, SENT, REPLIED_NS, REPLY, ZONE)
    recorder.client_response(query, Response(ANSWER, policy))
    return query


EXTRAS = ["", "always", "{/forward/upstream}", "{name} {rcode}"]
FORMS = [
    FrameForm(full, "edge", "edge 1", compile_template(extra))
    for full, extra in itertools.product([True, False], EXTRAS)
]


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("policy", [None, POLICY], ids=["plain", "policy"])
def test_every_field_is_there_whatever_the_form(form: FrameForm, policy: Policy | None) -> None:
    collected = tap(form)
    query = exchange(Recorder([collected.plan]), policy=policy)
    asked, sent, replied, answered = (each.message for each in collected.messages)
    assert collected.types == ["CQ", "FQ", "FR", "CR"]
    assert (asked.query_message, sent.query_message) == ((QUERY, SENT) if form.full else (b"", b""))
    assert (replied.response_message, answered.response_message) == ((REPLY, ANSWER) if form.full else (b"", b""))
    for message in (replied, answered):
        assert not message.HasField("query_message")
    for message in (asked, answered):
        assert (message.query_time_sec, message.query_time_nsec) == (1_700_000_000, 999_999_999)
        assert (message.query_port, message.response_port) == (40212, 53)
        assert not message.HasField("query_zone")
    for message in (sent, replied):
        assert (message.query_time_sec, message.query_time_nsec) == (1_700_000_001, 1)
        assert (message.query_port, message.response_port, message.query_zone) == (50000, 53, ZONE)
    assert (replied.response_time_sec, replied.response_time_nsec) == (1_700_000_001, 1_000_002)
    assert answered.response_time_sec * 10**9 + answered.response_time_nsec > query.received_ns
    assert answered.policy.rule == (b"max_concurrent" if policy else b"")
    assert [message.HasField("policy") for message in (asked, sent, replied)] == [False] * 3


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_an_event_gives_the_same_frames_as_its_parts(form: FrameForm) -> None:
    by_parts, by_event = tap(form), tap(form)
    query = make_query()
    recorder = Recorder([by_parts.plan])
    recorder.forwarder_query(query, UPSTREAM, SENT_NS, SENT, ZONE)
    recorder.forwarder_response(query, UPSTREAM, SENT_NS, SENT, REPLIED_NS, REPLY, ZONE)
    other = Recorder([by_event.plan])
    other.emit(Event(7, query, UPSTREAM, SENT_NS, SENT, 0, None, ZONE))
    other.emit(Event(8, query, UPSTREAM, SENT_NS, SENT, REPLIED_NS, REPLY, ZONE))
    assert by_parts.frames == by_event.frames


def test_taps_of_every_kind_are_served_from_one_recorder() -> None:
    taps = [tap(form) for form in FORMS]
    exchange(Recorder(each.plan for each in taps))
    assert [each.types for each in taps] == [["CQ", "FQ", "FR", "CR"]] * len(taps)


def test_responses_carry_their_queries_only_where_that_is_asked_for() -> None:
    both, usual = tap(FrameForm(full=True, with_queries=True)), tap(FrameForm(full=True))
    bare = tap(FrameForm(full=False, with_queries=True))
    recorder = Recorder([both.plan, usual.plan, bare.plan])
    assert recorder.with_queries
    exchange(recorder)
    assert [each.message.query_message for each in both.messages] == [QUERY, SENT, SENT, QUERY]
    assert [each.message.query_message for each in usual.messages] == [QUERY, SENT, b"", b""]
    assert [each.message.query_message for each in bare.messages] == [b""] * 4


def test_taps_that_want_the_same_frames_share_them() -> None:
    form, same = (FrameForm(full=True, extra=compile_template("{name}")) for _ in range(2))
    first, second, third = tap(form), tap(FrameForm()), tap(same)
    exchange(Recorder([first.plan, second.plan, third.plan]))
    assert all(one is other for one, other in zip(first.frames, third.frames, strict=True))
    assert second.frames[0] != first.frames[0]


@pytest.mark.parametrize("types", ["CQ", "CR", "FQ", "FR", "CQ CR", "FQ CR"])
@pytest.mark.parametrize("extra", EXTRAS)
def test_each_tap_gets_the_types_that_it_wants(types: str, extra: str) -> None:
    some, others = tap(FrameForm(extra=compile_template(extra)), types), tap()
    recorder = Recorder([some.plan, others.plan])
    exchange(recorder)
    assert some.types == [each for each in ("CQ", "FQ", "FR", "CR") if each in types]
    assert len(others.frames) == 4
    alone = Recorder([some.plan])
    assert [type.mnemonic for type in MessageType if alone.wants(type)] == sorted(types.split())


def test_a_message_of_a_plugins_own_goes_to_those_who_want_it() -> None:
    everything, clients = tap(), tap(types="CQ CR")
    recorder = Recorder([everything.plan, clients.plan])
    recorder.emit(Event.of(MessageType.TOOL_QUERY, UPSTREAM, SENT))
    assert (everything.types, clients.types) == (["TQ"], [])


def test_a_recorder_without_taps_does_nothing() -> None:
    exchange(Recorder([]))
    assert not any(map(Recorder([]).wants, MessageType))


def test_nobody_has_a_route_made_who_does_not_need_it() -> None:
    query = exchange(Recorder([tap(types="FQ").plan]))
    assert query.endpoint.routes == {}
    exchange(Recorder([tap(types="CR").plan]), query)
    assert len(query.endpoint.routes) == 1
