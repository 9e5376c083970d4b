"""Frame Streams without sockets: whole, octet by octet, with something behind, and from anybody."""

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.framestreams import (
    DNSTAP,
    MAX_CONTROL,
    MAX_HEARD,
    MAX_SKIPPED,
    Broken,
    Control,
    ControlType,
    Damage,
    Deframer,
    ProtocolError,
    Reader,
    Started,
    State,
    Stopped,
    Writer,
    control_frame,
    data_frame,
    parse_control,
)

CT = bytes.fromhex("0000000100000016") + b"protobuf:dnstap.Dnstap"
READY = bytes.fromhex("000000000000002200000004") + CT
ACCEPT = bytes.fromhex("000000000000002200000001") + CT
START = bytes.fromhex("000000000000002200000002") + CT
STOP = bytes.fromhex("000000000000000400000003")
FINISH = bytes.fromhex("000000000000000400000005")
UNKNOWN = control_frame(77)


def test_control_frames_are_octet_for_octet_what_other_programs_send() -> None:
    typed = [control_frame(type, DNSTAP) for type in (ControlType.READY, ControlType.ACCEPT, ControlType.START)]
    assert typed == [READY, ACCEPT, START]
    assert [control_frame(type) for type in (ControlType.STOP, ControlType.FINISH)] == [STOP, FINISH]


@given(st.sampled_from([ControlType.READY, ControlType.ACCEPT]), st.lists(st.binary(max_size=60), max_size=5))
def test_control_frames_are_read_back(type: ControlType, content_types: list[bytes]) -> None:
    assert parse_control(control_frame(type, *content_types)[8:]) == Control(type, tuple(content_types))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\0\0\0",
        control_frame(ControlType.START, b"a", b"b")[8:],
        control_frame(ControlType.STOP, b"a")[8:],
        control_frame(ControlType.READY)[8:] + b"\0\0\0\1",
        control_frame(ControlType.READY)[8:] + struct.pack("!II", 2, 0),
        control_frame(ControlType.READY)[8:] + struct.pack("!II", 1, 5) + b"four",
        control_frame(ControlType.READY)[8:] + struct.pack("!II", 1, 257) + b"x" * 257,
    ],
)
def test_a_control_frame_with_wrong_lengths_or_fields_is_an_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_control(payload)


@given(st.binary(max_size=600))
def test_any_octets_are_a_control_frame_or_the_documented_error(payload: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert isinstance(parse_control(payload), Control)


# cutting octets into frames

FRAMES = [Control(ControlType.START, (DNSTAP,)), b"one", b"two" * 100, Control(77), Control(ControlType.STOP)]
STREAM = START + data_frame(b"one") + data_frame(b"two" * 100) + UNKNOWN + STOP


def pieces(octets: bytes, size: int) -> list[bytes]:
    return [octets[at : at + size] for at in range(0, len(octets), size)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
def test_frames_are_cut_whatever_pieces_they_come_in(size: int) -> None:
    deframer = Deframer()
    found = [frame for piece in pieces(STREAM, size) for frame in deframer.receive_data(piece)]
    assert found == FRAMES
    assert deframer.offset == len(STREAM)
    assert not deframer.is_inside_frame


@given(st.lists(st.binary(min_size=1, max_size=200)), st.integers(1, 50))
def test_data_frames_are_read_back(payloads: list[bytes], size: int) -> None:
    deframer = Deframer()
    octets = b"".join(map(data_frame, payloads))
    assert [frame for piece in pieces(octets, size) for frame in deframer.receive_data(piece)] == payloads


@pytest.mark.parametrize("cut", range(1, 7))
def test_an_end_inside_a_frame_shows(cut: int) -> None:
    deframer = Deframer()
    assert deframer.receive_data(START + data_frame(b"abc")[:cut]) == FRAMES[:1]
    assert deframer.is_inside_frame
    assert deframer.offset == len(START)


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_an_oversize_frame_is_passed_over_exactly(size: int) -> None:
    deframer = Deframer(max_frame=100)
    octets = data_frame(b"a" * 100) + data_frame(b"b" * 101) + data_frame(b"c")
    found = [frame for piece in pieces(octets, size) for frame in deframer.receive_data(piece)]
    assert found == [b"a" * 100, Damage("oversize", 104, "frame of 101 octets"), b"c"]
    assert deframer.offset == len(octets)


@pytest.mark.parametrize(
    "octets", [struct.pack("!I", MAX_SKIPPED + 1), struct.pack("!II", 0, MAX_CONTROL + 1), b"GET / HTTP/1.1\r\n"]
)
def test_lost_synchronisation_ends_reading(octets: bytes) -> None:
    deframer = Deframer()
    (damage,) = deframer.receive_data(octets + b"whatever follows")
    assert isinstance(damage, Damage)
    assert damage.fatal
    assert deframer.receive_data(data_frame(b"more")) == []
    assert not deframer.is_inside_frame


@given(st.lists(st.binary(max_size=50)))
def test_any_octets_give_frames_or_damage_and_offsets_add_up(chunks: list[bytes]) -> None:
    deframer = Deframer(max_frame=64)
    for chunk in chunks:
        for frame in deframer.receive_data(chunk):
            assert isinstance(frame, bytes | Control | Damage)
    assert 0 <= deframer.offset <= sum(map(len, chunks))


# the sending side


def test_a_bidirectional_writer_says_ready_start_stop_at_the_right_times() -> None:
    writer = Writer()
    said = [(writer.start(), writer.state), (writer.receive_data(ACCEPT), writer.state)]
    said += [(writer.stop(), writer.state), (writer.receive_data(FINISH), writer.state)]
    assert said == [(READY, State.OFFERED), (START, State.OPEN), (STOP, State.STOPPED), (b"", State.CLOSED)]


def test_a_writer_takes_accept_octet_by_octet() -> None:
    writer = Writer()
    writer.start()
    assert b"".join(writer.receive_data(bytes([octet])) for octet in ACCEPT) == START


def test_a_unidirectional_writer_waits_for_nobody() -> None:
    writer = Writer(bidirectional=False)
    said = [(writer.start(), writer.state), (writer.stop(), writer.state)]
    assert said == [(START, State.OPEN), (STOP, State.CLOSED)]


@pytest.mark.parametrize(
    "accept",
    [control_frame(ControlType.ACCEPT), control_frame(ControlType.ACCEPT, b"other", DNSTAP), UNKNOWN + ACCEPT],
)
def test_a_writer_is_content_with_any_accept_that_allows_its_content_type(accept: bytes) -> None:
    writer = Writer()
    writer.start()
    assert writer.receive_data(accept) == START


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (control_frame(ControlType.ACCEPT, b"other"), "the receiver takes 'other'"),
        (FINISH, "FINISH when READY was said"),
        (READY, "READY when READY was said"),
        (data_frame(b"abc"), "frame of 3 octets"),
        (control_frame(ControlType.ACCEPT, b"x" * 257), "content type of 257 octets"),
        (struct.pack("!II", 0, 513), "control frame of 513 octets"),
        (b"HTTP/1.1 400 Bad Request\r\n", "frame of 1213486160 octets"),
    ],
)
def test_a_receiver_that_says_something_else_than_accept_is_an_error(answer: bytes, reason: str) -> None:
    writer = Writer()
    writer.start()
    with pytest.raises(ProtocolError, match=reason):
        writer.receive_data(answer)


@pytest.mark.parametrize("answer", [ACCEPT, FINISH, STOP, START, data_frame(b"x")])
def test_a_receiver_that_speaks_while_data_flows_is_an_error(answer: bytes) -> None:
    writer = Writer()
    writer.start()
    writer.receive_data(ACCEPT)
    with pytest.raises(ProtocolError):
        writer.receive_data(answer)


@given(st.lists(st.binary(max_size=80)))
def test_any_answer_is_taken_or_the_documented_error(chunks: list[bytes]) -> None:
    writer = Writer()
    writer.start()
    with contextlib.suppress(ProtocolError):
        for chunk in chunks:
            assert isinstance(writer.receive_data(chunk), bytes)


# the receiving side


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_reader_answers_a_bidirectional_sender(size: int) -> None:
    reader = Reader()
    assert [event for piece in pieces(READY, size) for event in reader.receive_data(piece)] == []
    assert reader.data_to_send() == ACCEPT
    events = [event for piece in pieces(STREAM, size) for event in reader.receive_data(piece)]
    assert events == [Started(DNSTAP, bidirectional=True), b"one", b"two" * 100, Stopped()]
    assert reader.data_to_send() == FINISH
    assert reader.data_to_send() == b""
    assert reader.state is State.CLOSED


def test_a_reader_sends_nothing_to_a_unidirectional_sender() -> None:
    reader = Reader()
    assert reader.receive_data(STREAM)[0] == Started(DNSTAP, bidirectional=False)
    assert reader.data_to_send() == b""
    assert reader.offset == len(STREAM)


def test_a_sender_without_content_type_gets_ours() -> None:
    reader = Reader()
    reader.receive_data(control_frame(ControlType.READY))
    assert reader.data_to_send() == ACCEPT
    assert reader.receive_data(control_frame(ControlType.START)) == [Started(None, bidirectional=True)]


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (data_frame(b"data first"), "data when before anything was said"),
        (control_frame(ControlType.READY, b"other"), "the sender offers 'other'"),
        (control_frame(ControlType.START, b"other"), "the sender offers 'other'"),
        (STOP, "STOP when before anything was said"),
        (READY + READY, "READY when ACCEPT was said"),
        (READY + data_frame(b"x"), "data when ACCEPT was said"),
        (control_frame(ControlType.START, b"a", b"b"), "START with 2 content types"),
        (START + START, "START when START was said: data flows"),
    ],
)
def test_a_sender_that_breaks_the_rules_is_told_and_not_read_on(octets: bytes, reason: str) -> None:
    reader = Reader()
    events = reader.receive_data(octets + data_frame(b"more"))
    assert events[-1] == Broken(reason)
    assert reader.receive_data(data_frame(b"more")) == []


def test_frames_before_the_fault_are_delivered() -> None:
    assert Reader().receive_data(START + data_frame(b"good") + READY)[1:] == [
        b"good",
        Broken("READY when START was said: data flows"),
    ]


def test_damage_inside_a_stream_is_an_event() -> None:
    reader = Reader(max_frame=10)
    events = reader.receive_data(START + data_frame(b"x" * 11) + data_frame(b"fits"))
    assert events[1:] == [Damage("oversize", len(START), "frame of 11 octets"), b"fits"]


@given(st.lists(st.binary(max_size=80)))
def test_any_sender_gives_events(chunks: list[bytes]) -> None:
    reader = Reader()
    for chunk in [START, *chunks]:
        for event in reader.receive_data(chunk):
            assert isinstance(event, Started | bytes | Damage | Stopped | Broken)


def test_a_receiver_that_talks_without_end_is_not_listened_to_for_ever() -> None:
    writer = Writer()
    writer.start()
    for _ in range(MAX_HEARD // len(UNKNOWN)):
        assert writer.receive_data(UNKNOWN) == b""
    with pytest.raises(ProtocolError, match="the receiver said more than 65536 octets"):
        writer.receive_data(UNKNOWN)


@given(st.lists(st.binary(min_size=1, max_size=100)), st.integers(1, 30), st.booleans())
def test_what_a_writer_says_a_reader_understands(payloads: list[bytes], size: int, bidirectional: bool) -> None:
    writer, reader = Writer(bidirectional=bidirectional), Reader()
    heard = []
    outgoing = writer.start()
    while outgoing:
        for piece in pieces(outgoing, size):
            heard += reader.receive_data(piece)
        outgoing = writer.receive_data(reader.data_to_send())
    for octets in [*map(data_frame, payloads), writer.stop()]:
        heard += reader.receive_data(octets)
    writer.receive_data(reader.data_to_send())
    assert heard == [Started(DNSTAP, bidirectional), *payloads, Stopped()]
    assert writer.state is reader.state is State.CLOSED
