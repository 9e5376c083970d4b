"""Every field against the protobuf library, and the DNS message that is read when somebody asks."""

from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.dnstap_pb2 import Dnstap
from dnsproxy.dnstap.encode import key, number_field, octets_field, varint
from dnsproxy.tap.frame import TapFrame, Undecodable, address_text, malformed
from tests.support import wire
from tests.tap.frames import CLIENT, QUERY, SECOND, SERVER, corpus_payloads, payload

TYPES = st.integers(1, 14)
UINT32 = st.integers(0, 2**32 - 1)
UINT64 = st.integers(0, 2**64 - 1)
ADDRESS = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16), st.binary(max_size=20))
OCTETS = st.builds(lambda octets, times: octets * times, st.binary(max_size=10), st.sampled_from([1, 1, 15, 40]))
OUTER = ("identity", "version", "extra")
MESSAGE_FIELDS = {
    "socket_family": st.integers(1, 2),
    "socket_protocol": st.integers(1, 7),
    "query_address": ADDRESS,
    "response_address": ADDRESS,
    "query_port": UINT32,
    "response_port": UINT32,
    "query_time_sec": UINT64,
    "query_time_nsec": UINT32,
    "query_message": OCTETS,
    "query_zone": st.binary(max_size=20),
    "response_time_sec": UINT64,
    "response_time_nsec": UINT32,
    "response_message": OCTETS,
    "http_protocol": st.integers(1, 3),
}
POLICY_FIELDS = {
    "type": st.text("RPZü", max_size=5),
    "rule": st.binary(max_size=5),
    "action": st.integers(1, 6),
    "match": st.integers(1, 5),
    "value": st.binary(max_size=5),
}


@st.composite
def library_frames(draw: st.DrawFn) -> Dnstap:
    """Any frame that the schema allows."""
    outer: dict[str, Any] = draw(st.fixed_dictionaries({}, optional=dict.fromkeys(OUTER, OCTETS)))
    inner: dict[str, Any] = draw(st.fixed_dictionaries({"type": TYPES}, optional=MESSAGE_FIELDS))
    policy: dict[str, Any] | None = draw(st.none() | st.fixed_dictionaries({}, optional=POLICY_FIELDS))
    frame = Dnstap(type=Dnstap.MESSAGE)
    for name, value in outer.items():
        setattr(frame, name, value)
    for name, value in inner.items():
        setattr(frame.message, name, value)
    if policy is not None:
        frame.message.policy.SetInParent()
        for name, value in policy.items():
            setattr(frame.message.policy, name, value)
    return frame


def value_of(message: Any, name: str) -> Any:
    return getattr(message, name) if message.HasField(name) else None


def assert_same(frame: TapFrame, expected: Dnstap) -> None:
    for name in OUTER:
        assert getattr(frame, name) == value_of(expected, name), name
    assert frame.type == expected.message.type
    for name in MESSAGE_FIELDS:
        assert getattr(frame, name) == value_of(expected.message, name), name
    policy = value_of(expected.message, "policy")
    assert (frame.policy is None) is (policy is None)
    if frame.policy is not None:
        for name in ("rule", "action", "match", "value"):
            assert getattr(frame.policy, name) == value_of(policy, name), name
        type = value_of(policy, "type")
        assert frame.policy.type == (None if type is None else type.encode())


@given(library_frames())
def test_every_field_is_what_the_library_says(expected: Dnstap) -> None:
    octets = expected.SerializeToString()
    frame = TapFrame(octets)
    assert_same(frame, expected)
    assert frame.payload is octets


@given(library_frames(), st.randoms(use_true_random=False))
def test_the_order_of_fields_does_not_matter(expected: Dnstap, random: Any) -> None:
    assert_same(TapFrame(shuffled(expected, random)), expected)


def shuffled(frame: Dnstap, random: Any) -> bytes:
    """The same frame with its fields, and its message's, in another order."""
    outer = [number_field(15, 1)]
    outer += [
        octets_field(number, getattr(frame, name)) for number, name in enumerate(OUTER, 1) if frame.HasField(name)
    ]
    inner = []
    for field, _ in frame.message.ListFields():
        alone = type(frame.message)()
        if field.name == "policy":
            alone.policy.CopyFrom(frame.message.policy)
        else:
            setattr(alone, field.name, getattr(frame.message, field.name))
        inner.append(alone.SerializePartialToString())
    random.shuffle(inner)
    outer.append(octets_field(14, b"".join(inner)))
    random.shuffle(outer)
    return b"".join(outer)


@given(library_frames(), st.data())
def test_octets_that_were_changed_are_taken_where_the_library_takes_them(frame: Dnstap, data: st.DataObject) -> None:
    octets = bytearray(frame.SerializeToString())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(octets) - 1))
        octets[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
    check_against_library(bytes(octets))


def check_against_library(octets: bytes) -> None:
    expected = Dnstap()
    try:
        expected.ParseFromString(octets)
        taken = expected.IsInitialized() and expected.HasField("message")
    except DecodeError:
        taken = False
    try:
        frame = TapFrame(octets)
    except Undecodable:
        assert not taken
        return
    assert taken or frame.type not in range(1, 15), "the library knows no enum but the schema's"


@given(st.binary(max_size=120))
def test_any_octets_are_a_frame_or_undecodable(octets: bytes) -> None:
    check_against_library(octets)


def test_the_last_of_a_field_counts_and_messages_are_merged() -> None:
    first = octets_field(14, number_field(1, 5) + number_field(6, 1) + octets_field(15, octets_field(1, b"RPZ")))
    second = octets_field(14, number_field(1, 6) + number_field(6, 70_000) + octets_field(15, number_field(3, 2)))
    frame = TapFrame(octets_field(1, b"a") + octets_field(1, b"b") + first + number_field(15, 1) + second)
    assert (frame.identity, frame.type, frame.query_port) == (b"b", 6, 70_000)
    assert frame.policy is not None
    assert (frame.policy.type, frame.policy.action) == (b"RPZ", 2)


def test_unknown_enums_are_numbers() -> None:
    message = number_field(1, 99) + number_field(2, 3) + number_field(3, 200) + key(16, 0) + b"\xff" * 9 + b"\1"
    frame = TapFrame(octets_field(14, message) + number_field(15, 1))
    assert (frame.type, frame.socket_family, frame.socket_protocol, frame.http_protocol) == (99, 3, 200, -1)
    assert (frame.type_name, frame.mnemonic) == ("99", "99")


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "past the end"),
        (number_field(15, 1), "without message"),
        (octets_field(14, number_field(1, 5)), "without type"),
        (octets_field(14, number_field(1, 5)) + octets_field(3, b""), "without type"),
        (octets_field(14, number_field(1, 5)) + number_field(15, 2), "of type 2"),
        (octets_field(14, number_field(6, 53)) + number_field(15, 1), "without type"),
        (b"\x72\x7f\x08\x05\x78\x01", "past the end"),
        (b"\x72\x80", "past the end"),
    ],
)
def test_what_is_no_message_says_why(octets: bytes, reason: str) -> None:
    with pytest.raises(Undecodable, match=reason):
        TapFrame(octets)


@pytest.mark.parametrize("length", [2**31, 2**32, 2**62, 2**63, 2**64 - 1])
@pytest.mark.parametrize(
    "before",
    [
        b"\x0a",
        b"\x12",
        octets_field(1, b"a") + b"\x1a",
        b"\x72",
        b"\x72\x10\x08\x05\x52",
        b"\x72\x10\x0b\x12",
        number_field(15, 1) + b"\x72",
    ],
)
def test_a_length_that_no_field_can_have_is_undecodable(before: bytes, length: int) -> None:
    with pytest.raises(Undecodable, match="past the end"):
        TapFrame(before + varint(length) + bytes(40))


def test_producers_that_take_turns_are_told_apart() -> None:
    names = [b"one", b"two", b"one", None, b"one"]
    frames = [TapFrame(payload(identity=name, version=name and b"1")) for name in names]
    assert [frame.identity for frame in frames] == names
    assert [frame.version for frame in frames] == [name and b"1" for name in names]
    only_identity, both = payload(identity=b"x", version=None), payload(identity=b"x", version=b"v")
    for octets, version in ((only_identity, None), (both, b"v"), (only_identity, None), (both, b"v")):
        assert TapFrame(octets).version == version


def test_a_query_has_its_own_time_and_question() -> None:
    frame = TapFrame(payload(extra=b"e"))
    assert frame.is_query
    assert frame.is_of_client
    assert (frame.type_name, frame.mnemonic, frame.extra) == ("CLIENT_QUERY", "CQ", b"e")
    assert (frame.time_ns, frame.latency_ns) == (SECOND * 10**9 + 123_456_789, None)
    assert (frame.query_address_text, frame.response_address_text) == (CLIENT, SERVER)
    assert (frame.wire, frame.id, frame.opcode, frame.flags, frame.rcode) == (QUERY, 0x1234, 0, 0x0100, None)
    assert (frame.qname, frame.qtype, frame.qclass) == (b"\3www\7example\3org\0", 1, 1)
    assert (frame.name, frame.counts, frame.malformed) == ("www.example.org.", (1, 0, 0, 1), None)
    assert repr(frame) == "<TapFrame CQ 192.0.2.7 www.example.org.>"


def test_a_response_has_latency_and_rcode() -> None:
    response = QUERY[:2] + b"\x81\x83" + QUERY[4:]
    frame = TapFrame(payload("FORWARDER_RESPONSE", response, query_message=QUERY))
    assert not frame.is_query
    assert not frame.is_of_client
    assert (frame.time_ns, frame.latency_ns) == (SECOND * 10**9 + 125_000_000, 1_543_211)
    assert (frame.wire, frame.query_message, frame.rcode) == (response, QUERY, 3)


def test_an_rcode_has_its_extended_bits() -> None:
    response = wire.raw_query(b"\0", flags=0x8180, counts=(1, 0, 0, 1)) + wire.opt_record(extended_rcode=1)
    assert TapFrame(payload("CLIENT_RESPONSE", response)).rcode == 16


@pytest.mark.parametrize("message", [None, b"", b"\x12\x34", QUERY[:11]])
def test_without_header_nothing_is_read(message: bytes | None) -> None:
    frame = TapFrame(payload(message=message))
    assert [frame.id, frame.flags, frame.opcode, frame.rcode, frame.counts, frame.qname, frame.qtype] == [None] * 7
    assert (frame.malformed is None) is (message is None)


@pytest.mark.parametrize("question", [b"", b"\xc0\x0c\0\1\0\1", b"\3www", b"\3www\0\0\1\0", b"\x80"])
def test_a_question_that_cannot_be_read_is_none(question: bytes) -> None:
    frame = TapFrame(payload(message=QUERY[:12] + question))
    assert (frame.qname, frame.name, frame.qtype, frame.qclass) == (None, None, None, None)
    assert frame.malformed
    assert frame.id == 0x1234


def test_a_zero_octet_in_a_label_ends_no_name() -> None:
    for _ in range(2):  # the second time what is remembered is looked at
        frame = TapFrame(payload(message=wire.raw_query(b"\3a\0b\3org\0", 28, id=1)))
        assert (frame.qname, frame.qtype, frame.name) == (b"\3a\0b\3org\0", 28, "a\\000b.org.")


def test_one_question_is_read_for_each_type_and_class() -> None:
    frames = [TapFrame(payload(message=wire.query("www.example.org", qtype))) for qtype in ("A", "AAAA", "A")]
    assert [frame.qtype for frame in frames] == [1, 28, 1]


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (QUERY, None),
        (QUERY[:11], "no header"),
        (QUERY + b"x", "1 octets behind"),
        (QUERY[:-1], "past the end"),
        (wire.raw_query(b"\0", counts=(2, 0, 0, 0)), "past the end"),
        (wire.raw_query(b"\0", counts=(0, 0, 0, 0))[:12], None),
    ],
)
def test_a_message_is_malformed_where_it_cannot_be_walked_to_its_end(octets: bytes, reason: str | None) -> None:
    found = malformed(octets)
    assert found is None if reason is None else reason in str(found)


@pytest.mark.parametrize(
    ("packed", "text"),
    [
        (b"\xc0\0\2\7", "192.0.2.7"),
        (b"\x20\1\x0d\xb8" + bytes(11) + b"\1", "2001:db8::1"),
        (bytes(10) + b"\xff\xff\xc0\0\2\7", "192.0.2.7"),
        (b"", "?"),
        (b"abc", "?616263"),
    ],
)
def test_addresses_are_text_whatever_their_octets(packed: bytes, text: str) -> None:
    assert address_text(packed) == text


def test_seconds_without_nanoseconds_are_a_time() -> None:
    message = number_field(1, 5) + number_field(8, SECOND)
    frame = TapFrame(octets_field(14, message) + number_field(15, 1))
    assert (frame.time_ns, frame.query_time_nsec) == (SECOND * 10**9, None)


def test_recorded_frames_are_read() -> None:
    for octets in corpus_payloads():
        expected = Dnstap.FromString(octets)
        assert_same(TapFrame(octets), expected)
