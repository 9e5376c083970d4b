"""Frames as taps want them: identity, version, extra, with or without the DNS message."""

import pytest

from dnsproxy.address import Address
from dnsproxy.dnstap import dnstap_pb2
from dnsproxy.dnstap.events import Event, Route
from dnsproxy.dnstap.recorder import Recorder
from dnsproxy.dnstap.schema import MessageType
from dnsproxy.dnstap.sink import FrameForm, Sink
from dnsproxy.message import Endpoint, Query
from dnsproxy.shape import shape_of
from dnsproxy.template import compile_template

ROUTE = Route.of("UDP", Address.of("192.0.2.7", 40212), Address.of("192.0.2.53", 53))
WIRE = b"\x12\x34\1\0\0\1\0\0\0\0\0\0\3www\7example\3org\0\0\1\0\1"


def make_query() -> Query:
    endpoint = Endpoint("UDP", Address.of("192.0.2.53", 53))
    return Query(WIRE, shape_of(WIRE), Address.of("192.0.2.7", 40212).sockaddr, endpoint, 10**18)


def make_event(query: Query | None = None) -> Event:
    return Event.of(MessageType.CLIENT_QUERY, ROUTE, WIRE, query=query)


def frame_of(form: FrameForm, event: Event) -> dnstap_pb2.Dnstap:
    frames: list[bytes] = []
    Sink(form, (frames.append,)).take(event)
    (frame,) = frames
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    return dnstap_pb2.Dnstap.FromString(frame[4:])


def test_a_frame_says_who_speaks_and_with_which_software() -> None:
    frame = frame_of(FrameForm(identity="edge-1", version="edge 1.2"), make_event())
    assert (frame.identity, frame.version) == (b"edge-1", b"edge 1.2")
    assert (frame.type, frame.message.type) == (frame.MESSAGE, frame.message.CLIENT_QUERY)


def test_what_is_empty_is_left_out() -> None:
    frame = frame_of(FrameForm(), make_event())
    assert [field.name for field, _ in frame.ListFields()] == ["message", "type"]


@pytest.mark.parametrize("full", [True, False])
def test_the_dns_message_is_there_only_if_full(full: bool) -> None:
    message = frame_of(FrameForm(full=full), make_event()).message
    assert message.HasField("query_message") == full
    assert message.query_message == (WIRE if full else b"")


def test_extra_is_rendered_for_each_event_and_a_constant_only_once() -> None:
    query = make_query()
    assert frame_of(FrameForm(extra=compile_template("always é")), make_event()).extra == "always é".encode()
    extra = compile_template("{name} {/query/id}")
    assert frame_of(FrameForm(extra=extra), make_event(query)).extra.decode() == (
        f"www.example.org. {query.metadata['query/id']}"
    )
    assert frame_of(FrameForm(extra=extra), make_event()).extra == b"- -"


def test_a_long_extra_gets_a_long_length() -> None:
    query = make_query()
    query.metadata.update({f"long/{number}": "x" * 1000 for number in range(9)})
    extra = compile_template("".join(f"{{/long/{number}}}" for number in range(9)))
    assert frame_of(FrameForm(extra=extra), make_event(query)).extra == b"x" * 9000


def test_a_value_that_cannot_be_text_costs_no_message_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    class Nasty:
        def __str__(self) -> str:
            raise RuntimeError("nasty")

    query = make_query()
    query.metadata["nasty/value"] = Nasty()
    frames: list[bytes] = []
    sink = Sink(FrameForm(extra=compile_template("{/nasty/value}")), (frames.append,))
    for _ in range(3):
        sink.take(make_event(query))
    assert len(frames) == 3
    assert not dnstap_pb2.Dnstap.FromString(frames[0][4:]).HasField("extra")
    assert len(caplog.records) == 1


def test_taps_that_want_the_same_frames_share_them() -> None:
    first, second, third = list[bytes](), list[bytes](), list[bytes]()
    form = FrameForm(full=True, extra=compile_template("{name}"))
    same = FrameForm(full=True, extra=compile_template("{name}"))
    everything = frozenset(MessageType)
    taps = [(everything, form, first.append), (everything, FrameForm(), second.append)]
    Recorder([*taps, (everything, same, third.append)]).emit(make_event())
    assert first[0] is third[0]
    assert second[0] != first[0]


def test_a_recorder_gives_each_tap_the_types_that_it_wants() -> None:
    queries, everything = list[bytes](), list[bytes]()
    recorder = Recorder(
        [
            (frozenset([MessageType.CLIENT_QUERY]), FrameForm(), queries.append),
            (frozenset([MessageType.CLIENT_QUERY, MessageType.CLIENT_RESPONSE]), FrameForm(), everything.append),
        ]
    )
    recorder.emit(make_event())
    recorder.emit(Event.of(MessageType.CLIENT_RESPONSE, ROUTE, WIRE))
    recorder.emit(Event.of(MessageType.TOOL_QUERY, ROUTE, WIRE))
    assert (len(queries), len(everything)) == (1, 2)
    assert recorder.wants(MessageType.CLIENT_RESPONSE)
    assert not recorder.wants(MessageType.FORWARDER_QUERY)
