"""Frames as taps want them: identity, version, extra, with or without the DNS message."""

import pytest

from dnsproxy.address import Address
from dnsproxy.dnstap import dnstap_pb2
from dnsproxy.dnstap.events import Event, Route
from dnsproxy.dnstap.schema import HttpProtocol, MessageType
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


def test_one_label_from_metadata_follows_its_value_with_and_without_an_event() -> None:
    query = make_query()
    frames: list[bytes] = []
    sink = Sink(FrameForm(full=True, extra=compile_template("by {/forward/upstream}!")), (frames.append,))
    values: list[object] = [None, "192.0.2.1:53", "192.0.2.1:53", 7, True, "a\nb", "by -!"]
    for value in values:
        query.metadata["forward/upstream"] = value
        event = make_event(query)
        sink.put(event.encoded(True), query)
        sink.take(event)
    shown = [dnstap_pb2.Dnstap.FromString(frame[4:]).extra.decode() for frame in frames]
    assert shown[::2] == shown[1::2]
    assert shown[::2] == [
        "by -!",
        "by 192.0.2.1:53!",
        "by 192.0.2.1:53!",
        "by 7!",
        "by true!",
        "by a\\010b!",
        "by by -!!",
    ]


@pytest.mark.parametrize(
    ("form", "is_enough"),
    [
        (FrameForm(), True),
        (FrameForm(full=True, extra=compile_template("{/query/id}")), True),
        (FrameForm(extra=compile_template("{name}")), False),
        (FrameForm(compat=True), False),
        (FrameForm(with_queries=True), False),
    ],
)
def test_a_sink_says_whether_the_octets_that_all_share_are_enough(form: FrameForm, is_enough: bool) -> None:
    assert Sink(form, (print,)).takes_messages == is_enough


def test_old_consumers_are_told_of_udp_and_tcp_only() -> None:
    for protocol, shown in (("DOT", "TCP"), ("DOH", "TCP"), ("DOQ", "UDP"), ("UDP", "UDP"), ("TCP", "TCP")):
        addresses = Address.of("192.0.2.7", 40212), Address.of("192.0.2.53", 53)
        route = Route.of(protocol, *addresses, HttpProtocol.HTTP2 if protocol == "DOH" else None)
        event = Event.of(MessageType.CLIENT_QUERY, route, WIRE)
        message = frame_of(FrameForm(full=True, compat=True), event).message
        assert message.socket_protocol == dnstap_pb2.SocketProtocol.Value(shown)
        assert not message.HasField("http_protocol")
        assert (message.query_port, message.response_port, message.query_message) == (40212, 53, WIRE)
