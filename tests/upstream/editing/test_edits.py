"""Editing queries for an upstream: what goes out, and that the client's view comes back."""

from typing import Any

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.subnet import LABEL
from tests.support import wire as dns_wire
from tests.support.behaviours import answer_wire
from tests.support.wire import COOKIE, ECS, NSID
from tests.upstream.editing.support import editor, exchange_for, prepared, put_back

PADDING = 12
EVERYTHING: dict[str, Any] = {"edns_size": 1232, "ecs": (24, 56), "mixed_case": True, "cookies": True, "padding": True}
WAYS: dict[str, dict[str, Any]] = {
    "size": {"edns_size": 512},
    "strip": {"ecs": "strip"},
    "subnet": {"ecs": (24, 56)},
    "0x20": {"mixed_case": True},
    "cookies": {"cookies": True},
    "padding": {"padding": True, "scheme": "tls"},
    "plain": EVERYTHING,
    "encrypted": {**EVERYTHING, "scheme": "https"},
}
SUBNET = dns_wire.ecs("192.0.2.0", 24)
PLAIN = dns_wire.query("www.example.org", id=7)
EDNS = dns_wire.query("www.example.org", id=7, edns=True, size=4096, do=True, options=[(NSID, b"")])


def option(code: int, data: bytes) -> bytes:
    return dns_wire.option(code, data)


def sent_options(octets: bytes) -> dict[int, bytes]:
    return dict(dns_wire.options(octets))


# what goes out


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("octets", [PLAIN, EDNS])
@pytest.mark.parametrize("stream", [False, True])
def test_header_and_name_are_the_clients(way: str, octets: bytes, stream: bool) -> None:
    exchange = prepared(editor(**WAYS[way]), octets, stream=stream)
    sent = exchange.query.wire
    assert sent[:10] == octets[:10]
    assert sent[12:33].lower() == octets[12:33].lower()
    message = dns.message.from_wire(sent)
    assert message.question == dns.message.from_wire(octets).question
    assert NSID in sent_options(sent) or octets is PLAIN
    assert message.ednsflags == dns.message.from_wire(octets).ednsflags
    if exchange.edit is not None:
        assert exchange.edit.asked.wire == octets
        assert exchange.query.parent is exchange.edit.asked
        assert exchange.query.shape.question == sent[12 : exchange.query.shape.question_end]


def test_without_anything_to_edit_nothing_is_touched() -> None:
    for way, octets in (("size", PLAIN), ("strip", PLAIN), ("strip", EDNS)):
        exchange = exchange_for(octets)
        before = exchange.query
        editor(**WAYS[way]).prepare(exchange, False)
        assert exchange.query is before
        assert exchange.edit is None


@pytest.mark.parametrize(("asked", "size"), [(4096, 1232), (1232, 1232), (512, 512)])
def test_the_size_is_capped_over_udp_and_never_raised(asked: int, size: int) -> None:
    octets = dns_wire.query("www.example.org", edns=True, size=asked)
    edits = editor(edns_size=1232)
    assert dns.message.from_wire(prepared(edits, octets).query.wire).payload == size
    assert prepared(edits, octets, stream=True).query.wire == octets
    by_tcp = prepared(editor(edns_size=1232, cookies=True), octets, stream=True)
    assert dns.message.from_wire(by_tcp.query.wire).payload == asked


@pytest.mark.parametrize("scheme", ["tls", "https", "quic", "h3"])
@pytest.mark.parametrize("octets", [PLAIN, EDNS, dns_wire.query("a" * 60 + ".example.org", options=[(PADDING, b"x")])])
def test_encrypted_queries_are_padded_to_128_octets(scheme: str, octets: bytes) -> None:
    sent = prepared(editor(padding=True, scheme=scheme), octets, stream=True).query.wire
    assert len(sent) % 128 == 0
    options = dns_wire.options(sent)
    assert [code for code, _ in options].count(PADDING) == 1
    assert options[-1][0] == PADDING
    assert not any(options[-1][1])


def test_an_opt_that_is_added_offers_1232_octets_and_no_dnssec() -> None:
    message = dns.message.from_wire(prepared(editor(padding=True, scheme="tls"), PLAIN, stream=True).query.wire)
    assert (message.payload, message.ednsflags, message.edns) == (1232, 0, 0)
    small = prepared(editor(cookies=True, edns_size=512), PLAIN).query.wire
    assert dns.message.from_wire(small).payload == 512


def test_nothing_is_padded_in_the_open_and_no_case_or_cookie_sent_encrypted() -> None:
    open_ = prepared(editor(**EVERYTHING), EDNS).query.wire
    assert set(sent_options(open_)) == {NSID, ECS, COOKIE}
    assert open_[12:33] != EDNS[12:33] or open_[12:33].lower() == EDNS[12:33]
    encrypted = prepared(editor(**EVERYTHING, scheme="tls"), EDNS, stream=True).query.wire
    assert set(sent_options(encrypted)) == {NSID, ECS, PADDING}
    assert encrypted[12:33] == EDNS[12:33]


def test_case_is_drawn_over_udp_only() -> None:
    edits = editor(mixed_case=True)
    octets = dns_wire.query("a-rather-long-name-with-many-letters.example.org")
    assert prepared(edits, octets).query.wire != octets
    assert prepared(edits, octets, stream=True).query.wire == octets


@pytest.mark.parametrize("ecs", ["strip", (24, 56)])
@pytest.mark.parametrize("scheme", [None, "tls"])
def test_a_clients_own_options_that_we_answer_for_do_not_leave(ecs: Any, scheme: str | None) -> None:
    own = [dns_wire.ecs("198.51.100.7", 32), (COOKIE, b"a cookie"), (NSID, b"")]
    sent = prepared(editor(ecs=ecs, cookies=True, scheme=scheme), dns_wire.query("a.example.org", options=own))
    options = sent_options(sent.query.wire)
    assert options.get(ECS) == (None if ecs == "strip" else dns_wire.ecs("198.51.100.0", 24)[1])
    assert options.get(COOKIE) != b"a cookie"
    assert NSID in options


def test_a_clients_broken_subnet_does_not_leave_either() -> None:
    octets = dns_wire.query("a.example.org", edns=True)
    broken = octets[:-2] + b"\0\x0c" + option(ECS, b"\0\1\x08\0\xc6\x33\x64\x07")
    assert sent_options(prepared(editor(ecs=(24, 56)), broken).query.wire) == {ECS: SUBNET[1]}


TSIG = b"\3key\0" + bytes((0, 250, 0, 255, 0, 0, 0, 0, 0, 4)) + b"sign"
SIG = b"\0" + bytes((0, 24, 0, 255, 0, 0, 0, 0, 0, 4)) + b"sign"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("signature", [TSIG, SIG])
@pytest.mark.parametrize("octets", [PLAIN, EDNS])
def test_what_is_signed_goes_out_as_it_came(way: str, signature: bytes, octets: bytes) -> None:
    signed = octets[:11] + bytes((octets[11] + 1,)) + octets[12:] + signature
    exchange = prepared(editor(**WAYS[way]), signed)
    assert exchange.query.wire == signed
    assert exchange.edit is None


# what comes back


def test_the_opt_that_was_added_is_not_the_clients() -> None:
    for way in ("subnet", "cookies", "padding", "plain", "encrypted"):
        exchange = prepared(editor(**WAYS[way]), PLAIN, stream=way in ("padding", "encrypted"))
        reply = answer_wire(exchange.query.wire, options=option(PADDING, bytes(100)))
        assert put_back(exchange, reply) == answer_wire(PLAIN)


def test_options_of_ours_are_not_the_clients_and_the_upstreams_are() -> None:
    edits = editor(cookies=True, ecs=(24, 56))
    exchange = prepared(edits, EDNS)
    sent = sent_options(exchange.query.wire)
    keep = option(NSID, b"me") + option(15, b"\0\0because")
    reply = answer_wire(
        exchange.query.wire, options=keep + option(COOKIE, sent[COOKIE] + b"fromthem") + option(ECS, sent[ECS])
    )
    assert put_back(exchange, reply) == answer_wire(EDNS, options=keep)


def test_padding_comes_back_to_who_sent_some() -> None:
    edits = editor(padding=True, scheme="tls")
    padded = dns_wire.query("www.example.org", id=7, options=[(PADDING, bytes(10))])
    for octets, is_kept in ((padded, True), (EDNS, False)):
        exchange = prepared(edits, octets, stream=True)
        reply = answer_wire(exchange.query.wire, options=option(PADDING, bytes(300)))
        assert put_back(exchange, reply) == (reply if is_kept else answer_wire(octets))


def test_the_clients_case_comes_back_where_the_records_point_to_it() -> None:
    octets = dns_wire.query("Www.ExamPle.Org", id=7)
    exchange = prepared(editor(mixed_case=True), octets)
    reply = answer_wire(exchange.query.wire)
    assert put_back(exchange, reply) == answer_wire(octets)


@pytest.mark.parametrize("source", [32, 24, 16, 0])
def test_a_client_gets_its_own_subnet_back_with_the_scope(source: int) -> None:
    address = "198.51.100.7" if source == 32 else "198.51.0.0" if source else "0.0.0.0"
    octets = dns_wire.query("www.example.org", id=7, options=[dns_wire.ecs(address, source)])
    exchange = prepared(editor(ecs=(24, 56)), octets)
    sent = sent_options(exchange.query.wire)[ECS]
    assert sent == dns_wire.ecs(address, min(24, source))[1][: 4 + (min(24, source) + 7) // 8]
    scope = min(20, source)
    reply = answer_wire(exchange.query.wire, options=option(ECS, sent[:3] + bytes((scope,)) + sent[4:]))
    back = put_back(exchange, reply)
    assert back == answer_wire(octets, options=option(*dns_wire.ecs(address, source, scope)))
    assert LABEL not in exchange.query.metadata, "whoever asks for a subnet is told by the option"


@pytest.mark.parametrize(
    ("scope", "label"), [(24, "192.0.2.0/24"), (16, "192.0.0.0/16"), (32, "192.0.2.0/24"), (0, None)]
)
def test_an_answer_for_some_clients_says_for_whom(scope: int, label: str | None) -> None:
    exchange = prepared(editor(ecs=(24, 56)), PLAIN)
    sent = sent_options(exchange.query.wire)[ECS]
    put_back(exchange, answer_wire(exchange.query.wire, options=option(ECS, sent[:3] + bytes((scope,)) + sent[4:])))
    noted = exchange.query.metadata.get(LABEL)
    assert (None if noted is None else str(noted)) == label


def test_of_several_upstreams_answers_the_narrowest_counts() -> None:
    edits = editor(ecs=(24, 56))
    exchange = prepared(edits, PLAIN)
    for scope in (20, 24, 16, 0):
        another = exchange_for(PLAIN)
        another.query = exchange.edit.asked  # type: ignore[union-attr]
        edits.prepare(another, False)
        sent = sent_options(another.query.wire)[ECS]
        put_back(another, answer_wire(another.query.wire, options=option(ECS, sent[:3] + bytes((scope,)) + sent[4:])))
    assert str(exchange.query.metadata[LABEL]) == "192.0.2.0/24"


def test_an_upstream_that_knows_no_subnets_answers_for_all() -> None:
    exchange = prepared(editor(ecs=(24, 56)), PLAIN)
    put_back(exchange, answer_wire(exchange.query.wire))
    assert LABEL not in exchange.query.metadata


def test_an_upstream_that_chokes_on_our_opt_is_asked_without() -> None:
    edits = editor(cookies=True)
    for number in range(3):
        exchange = prepared(edits, PLAIN)
        chokes = exchange.query.wire[:2] + b"\x81\x81" + bytes(8)
        assert put_back(exchange, chokes) is None
        assert exchange.is_again
        again = exchange_for(PLAIN)
        again.query = exchange.edit.asked  # type: ignore[union-attr]
        edits.prepare(again, False)
        assert again.query.wire == PLAIN, number
        assert put_back(again, chokes) == chokes
    assert prepared(edits, PLAIN).query.wire == PLAIN, "three in a row: it is like that"
    assert COOKIE in sent_options(prepared(edits, EDNS).query.wire), "a client with EDNS sees for itself"


def test_an_upstream_that_answers_between_is_not_taken_for_one_that_chokes() -> None:
    edits = editor(cookies=True)
    for _ in range(5):
        exchange = prepared(edits, PLAIN)
        put_back(exchange, exchange.query.wire[:2] + b"\x81\x81" + bytes(8))
        exchange = prepared(edits, PLAIN)
        put_back(exchange, answer_wire(exchange.query.wire))
    assert prepared(edits, PLAIN).query.wire != PLAIN


def test_an_extended_rcode_is_servfail_to_who_cannot_read_it() -> None:
    exchange = prepared(editor(padding=True, scheme="tls"), PLAIN, stream=True)
    reply = bytearray(answer_wire(exchange.query.wire, empty=True))
    reply[-6] = 1  # BADVERS
    back = put_back(exchange, bytes(reply))
    assert back is not None
    assert dns_wire.rcode(back) == dns_wire.SERVFAIL


# whatever comes

NAMES = st.lists(st.text("abcXYZ-059", min_size=1, max_size=20), min_size=1, max_size=4).map(".".join)
OPTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from([NSID, PADDING, 15, 65_001]), st.binary(max_size=40).map(lambda data: b"\0\0" + data)
        ),
        st.tuples(st.just(COOKIE), st.binary(min_size=8, max_size=8)),
        st.integers(0, 32).map(lambda bits: (ECS, bytes((0, 1, bits, 0)) + b"\xc0\0\2\7"[: (bits + 7) // 8])),
    ),
    max_size=4,
)


def from_client(name: str, edns: bool, options: list[tuple[int, bytes]]) -> bytes:
    octets = dns_wire.query(name, id=9, edns=edns)
    if not edns:
        return octets
    data = b"".join(option(code, data) for code, data in options)
    return octets[:-2] + len(data).to_bytes(2) + data


@given(st.sampled_from(sorted(WAYS)), NAMES, st.booleans(), OPTIONS, st.booleans())
def test_an_answer_without_options_is_as_if_nothing_had_been_edited(
    way: str, name: str, edns: bool, options: list[tuple[int, bytes]], stream: bool
) -> None:
    octets = from_client(name, edns, options)
    exchange = prepared(editor(**WAYS[way]), octets, stream=stream)
    assert put_back(exchange, answer_wire(exchange.query.wire)) == answer_wire(octets)


@given(st.sampled_from(sorted(WAYS)), NAMES, st.booleans(), OPTIONS, st.booleans(), st.binary(max_size=80))
def test_any_octets_of_an_upstream_are_put_back_somehow(
    way: str, name: str, edns: bool, options: list[tuple[int, bytes]], stream: bool, noise: bytes
) -> None:
    exchange = prepared(editor(**WAYS[way]), from_client(name, edns, options), stream=stream)
    whole = answer_wire(exchange.query.wire, options=noise)
    head = exchange.query.wire[: exchange.query.shape.question_end]
    for octets in (whole, whole[:-3], head[:2] + b"\x81\x80" + head[4:] + noise, head[:2] + b"\x81\x82" + bytes(8)):
        if exchange.matches(octets):
            back = put_back(exchange, octets)
            assert back is None or back[:2] == octets[:2]
