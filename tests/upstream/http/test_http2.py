"""The client's side of HTTP/2 against h2's server side, in memory."""

from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import DataReceived, RequestReceived, SettingsAcknowledged, StreamEnded, StreamReset
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.upstream.http.http2 import STREAMS_AT_MOST, Broken, Event, Http2, Http2Error, Reply, Sent
from dnsproxy.upstream.http.messages import Requests
from dnsproxy.upstream.options import HttpOptions

POST = Requests(HttpOptions("dns.example.org"))
GET = Requests(HttpOptions("dns.example.org", method="GET"))
GOOD = [(":status", "200"), ("content-type", "application/dns-message")]


class Pair:
    """A client under test and a server that only does what it is told."""

    def __init__(self, settings: dict[SettingCodes | int, int] | None = None) -> None:
        self.client = Http2()
        self.server = H2Connection(H2Configuration(client_side=False))
        self.server.local_settings.update(settings or {})
        self.server.local_settings.acknowledge()
        self.server.initiate_connection()
        self.seen: list[Any] = []
        assert self.move() == []

    def move(self) -> list[Event]:
        """Bring what was written to the other side until nothing is left."""
        events: list[Event] = []
        while True:
            up, down = self.client.outgoing(), self.server.data_to_send()
            if not up and not down:
                return events
            self.seen += self.server.receive_data(up)
            events += self.client.receive_data(down)

    def ask(self, octets: bytes = b"asked", requests: Requests = POST) -> int:
        return self.client.open(*requests.make(octets))

    def respond(self, stream: int, body: bytes = b"answer", headers: Any = GOOD) -> list[Event]:
        self.server.send_headers(stream, headers)
        self.server.send_data(stream, body, end_stream=True)
        return self.move()

    def goaway(self, last_stream: int) -> list[Event]:
        return self.client.receive_data(GoAwayFrame(0, last_stream_id=last_stream).serialize())

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.seen if isinstance(event, kind)]

    def body(self, stream: int) -> bytes:
        return b"".join(event.data for event in self.of(DataReceived) if event.stream_id == stream)


@pytest.mark.parametrize("requests", [POST, GET])
def test_responses_in_any_order_find_their_streams(requests: Requests) -> None:
    pair = Pair()
    streams = [pair.ask(b"%d" % number, requests) for number in range(3)]
    pair.move()
    assert [event.stream_id for event in pair.of(StreamEnded)] == streams
    for stream in reversed(streams):
        assert pair.respond(stream, b"%d" % stream) == [Reply(stream, b"%d" % stream, 0)]


def test_a_question_never_enters_the_tables_of_hpack() -> None:
    pair = Pair()
    for _ in range(2):
        pair.ask(b"asked", GET)
    pair.move()
    first, second = (event.headers for event in pair.of(RequestReceived))
    assert [field.indexable for field in second if field[0] == b":path"] == [False]
    assert all(field.indexable for field in first if field[0] != b":path")


def test_push_is_turned_off_and_our_bounds_are_told() -> None:
    pair = Pair()
    assert pair.server.remote_settings.enable_push == 0
    assert pair.server.remote_settings.max_header_list_size == 16_384
    assert pair.of(SettingsAcknowledged)


def test_the_peer_says_how_many_streams_there_may_be() -> None:
    pair = Pair({SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    first = pair.ask()
    pair.ask()
    assert len(pair.client.responses) == pair.client.streams_at_most
    pair.move()
    pair.respond(first)
    assert pair.client.has_room
    assert Pair({SettingCodes.MAX_CONCURRENT_STREAMS: 1 << 31}).client.streams_at_most == STREAMS_AT_MOST


# flow control


def test_a_query_waits_for_the_peers_windows_and_is_sent_piece_by_piece() -> None:
    pair = Pair({SettingCodes.INITIAL_WINDOW_SIZE: 10})
    octets = bytes(range(25))
    stream = pair.ask(octets)
    assert not pair.client.is_sent(stream)
    assert pair.move() == []
    assert pair.body(stream) == octets[:10]
    pair.server.increment_flow_control_window(10, stream)
    assert pair.move() == []
    pair.server.increment_flow_control_window(5, stream)
    assert pair.move() == [Sent(stream)]
    assert pair.body(stream) == octets
    assert pair.client.is_sent(stream)
    assert pair.respond(stream) == [Reply(stream, b"answer", 0)]


def test_the_window_of_the_connection_holds_queries_back_too() -> None:
    pair = Pair()
    octets = b"x" * 40_000
    first, second = pair.ask(octets), pair.ask(octets)
    assert (pair.client.is_sent(first), pair.client.is_sent(second)) == (True, False)
    pair.move()
    pair.server.increment_flow_control_window(20_000)
    assert pair.move() == [Sent(second)]
    assert pair.body(second) == octets


def test_larger_windows_in_new_settings_let_queries_go_on() -> None:
    pair = Pair({SettingCodes.INITIAL_WINDOW_SIZE: 1})
    stream = pair.ask(b"asked")
    pair.move()
    pair.server.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: 100})
    assert pair.move() == [Sent(stream)]


def test_a_response_to_less_than_the_query_is_no_answer() -> None:
    pair = Pair({SettingCodes.INITIAL_WINDOW_SIZE: 1})
    stream = pair.ask(b"asked")
    pair.move()
    assert pair.respond(stream) == [Broken(stream, "response to less than the query", False)]
    assert pair.client.has_room


def test_windows_are_given_back_so_that_responses_never_stop() -> None:
    pair = Pair()
    for _ in range(60):
        stream = pair.ask()
        pair.move()
        body = b"x" * 60_000
        pair.server.send_headers(stream, GOOD)
        for at in range(0, len(body), 15_000):
            pair.server.send_data(stream, body[at : at + 15_000], end_stream=at == 45_000)
        assert pair.move() == [Reply(stream, body, 0)]


def test_what_comes_for_a_stream_that_was_given_up_is_given_back_too() -> None:
    pair = Pair()
    for _ in range(100):
        stream = pair.ask()
        pair.move()
        pair.server.send_headers(stream, GOOD)
        pair.server.send_data(stream, b"x" * 15_000)
        pair.client.cancel(stream)
        assert pair.move() == []
        assert pair.server.outbound_flow_control_window > 15_000


# streams that end otherwise


def test_cancelling_resets_the_stream_once() -> None:
    pair = Pair()
    stream = pair.ask()
    pair.client.cancel(stream)
    pair.client.cancel(stream)
    pair.move()
    (reset,) = pair.of(StreamReset)
    assert (reset.stream_id, reset.error_code) == (stream, ErrorCodes.CANCEL)


@pytest.mark.parametrize(
    ("code", "why", "is_unprocessed"),
    [
        (ErrorCodes.REFUSED_STREAM, "REFUSED_STREAM", True),
        (ErrorCodes.ENHANCE_YOUR_CALM, "ENHANCE", False),
        (99, "99", 0),
    ],
)
def test_the_peer_may_reset_a_stream(code: ErrorCodes, why: str, is_unprocessed: bool) -> None:
    pair = Pair()
    stream = pair.ask()
    pair.move()
    pair.server.reset_stream(stream, code)
    (event,) = pair.move()
    assert isinstance(event, Broken)
    assert why in event.why
    assert event.is_unprocessed == is_unprocessed
    assert pair.client.has_room


def test_a_reset_behind_the_answer_takes_nothing_back() -> None:
    pair = Pair({SettingCodes.INITIAL_WINDOW_SIZE: 65_535})
    stream = pair.ask()
    pair.move()
    pair.server.send_headers(stream, GOOD)
    pair.server.send_data(stream, b"answer", end_stream=True)
    octets = pair.server.data_to_send() + b"\0\0\4\3\0" + stream.to_bytes(4, "big") + bytes(4)
    assert pair.client.receive_data(octets) == [Reply(stream, b"answer", 0)]


def test_a_bad_response_ends_its_stream_at_once() -> None:
    pair = Pair()
    stream = pair.ask()
    pair.move()
    pair.server.send_headers(stream, [(":status", "500"), ("content-type", "text/html")])
    assert pair.move() == [Broken(stream, "HTTP status 500", False)]
    (reset,) = pair.of(StreamReset)
    assert reset.stream_id == stream


def test_interim_responses_and_trailers_are_passed_over() -> None:
    pair = Pair()
    stream = pair.ask()
    pair.move()
    pair.server.send_headers(stream, [(":status", "103")])
    pair.server.send_headers(stream, GOOD)
    pair.server.send_data(stream, b"answer")
    pair.server.send_headers(stream, [("grpc-status", "0")], end_stream=True)
    assert pair.move() == [Reply(stream, b"answer", 0)]


# goaway


def test_after_a_goaway_streams_up_to_its_last_go_on_and_others_were_not_looked_at() -> None:
    pair = Pair()
    first, second, third = (pair.ask() for _ in range(3))
    pair.move()
    assert pair.goaway(second) == [Broken(third, "connection is going away", True)]
    assert not pair.client.has_room
    assert pair.respond(first) == [Reply(first, b"answer", 0)]
    assert pair.goaway(first) == [Broken(second, "connection is going away", True)]


def test_a_first_goaway_may_only_warn() -> None:
    pair = Pair()
    stream = pair.ask()
    pair.move()
    assert pair.goaway(2**31 - 1) == []
    assert pair.client.is_going
    assert pair.respond(stream) == [Reply(stream, b"answer", 0)]


def test_saying_goodbye_twice_is_no_error() -> None:
    pair = Pair()
    stream = pair.ask()
    pair.client.close()
    pair.client.close()
    pair.client.cancel(stream)
    assert pair.client.outgoing()


# any octets


def test_what_is_no_http2_ends_the_connection() -> None:
    with pytest.raises(Http2Error):
        Http2().receive_data(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 20_000)


FRAME = st.builds(
    lambda kind, flags, stream, payload: (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    ),
    st.integers(0, 12),
    st.integers(0, 255),
    st.integers(0, 5),
    st.binary(max_size=30),
)


@given(st.lists(st.one_of(FRAME, st.binary(max_size=20)), max_size=10))
def test_any_octets_give_events_or_the_one_error(parts: list[bytes]) -> None:
    pair = Pair()
    streams = {pair.ask(), pair.ask()}
    pair.move()
    try:
        for octets in parts:
            assert {event.stream for event in pair.client.receive_data(octets)} <= streams
    except Http2Error:
        pair.client.outgoing()
