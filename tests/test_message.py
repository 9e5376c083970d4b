"""Queries and responses as plugins see them, and what makes an upstream's response the client's own."""

import struct
from collections.abc import Generator
from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy import wire
from dnsproxy.address import Address
from dnsproxy.message import SOCKET_PROTOCOLS, Endpoint, Policy, Query, Response, conform
from dnsproxy.shape import shape_of

CLIENT = Address.of("192.0.2.7", 40212)
ENDPOINT = Endpoint("UDP", Address.of("192.0.2.53", 53))
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
FLAGS = st.integers(0, 65535).map(lambda flags: flags | QR)


def query(name: str = "WWW.Example.ORG", qtype: str = "A", *, flags: int = RD, **more: Any) -> Query:
    asked = dns.message.make_query(name, qtype, id=0x1234, **more)
    asked.flags = dns.flags.Flag(flags)
    return of(asked.to_wire())


def of(octets: bytes, endpoint: Endpoint = ENDPOINT) -> Query:
    return Query(octets, shape_of(octets), CLIENT.sockaddr, endpoint, 1)


def answer_to(asked: Query, *, flags: int | None = None, name: str | None = None) -> bytes:
    response = dns.message.make_response(asked.message)
    response.id = 0x4321
    response.answer.append(dns.rrset.from_text(asked.name, 300, "IN", "A", "192.0.2.1"))
    if name is not None:
        response.question[0].name = dns.name.from_text(name)
    octets = response.to_wire()
    return octets if flags is None else octets[:2] + struct.pack("!H", flags) + octets[4:]


# a query


def test_a_query_says_who_asked_what_where() -> None:
    asked = query(qtype="AAAA", want_dnssec=True, payload=4096, flags=RD | CD)
    assert (asked.id, asked.name, asked.qtype, asked.qclass, asked.opcode) == (0x1234, "www.example.org.", 28, 1, 0)
    assert asked.qname == b"\3WWW\7Example\3ORG\0"
    assert (asked.rd, asked.do, asked.udp_size, asked.has_opt) == (True, True, 4096, True)
    assert (asked.client, asked.local, asked.protocol) == (CLIENT, ENDPOINT.address, "UDP")
    assert asked.message.question[0].name.to_text() == "WWW.Example.ORG."
    assert asked.message is asked.message
    assert "www.example.org." in repr(asked)


def test_the_root_and_a_question_that_could_not_be_read_are_both_a_dot() -> None:
    assert query(".").name == "."
    assert of(b"\x12\x34\1\0" + b"\0" * 8).name == "."


def test_every_query_has_an_id_of_its_own_of_sixteen_hex_digits() -> None:
    ids = {str(query().metadata["query/id"]) for _ in range(10_000)}
    assert len(ids) == 10_000
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in ids)
    assert query().metadata["query/protocol"] == "UDP"


def test_an_outgoing_copy_has_other_octets_and_shares_the_rest() -> None:
    asked = query()
    asked.partition = b"kids"
    copy = asked.outgoing(query("other.example.org").wire)
    assert (copy.name, asked.name) == ("other.example.org.", "www.example.org.")
    assert copy.metadata is asked.metadata
    assert (copy.partition, copy.client, copy.endpoint) == (b"kids", CLIENT, ENDPOINT)
    assert copy.outgoing(query("third.example.org").wire).parent is copy.parent is asked
    assert copy.outgoing().wire == copy.wire, "its own, where there are no others"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x12\x34\1\0" + b"\0" * 8,
        query().wire[:-1],
        query().wire[:2] + b"\x81\x80" + query().wire[4:],
        query(qtype="AXFR").wire,
        query().wire + b"\0" * 65536,
    ],
)
def test_what_is_no_query_cannot_go_out(octets: bytes) -> None:
    with pytest.raises(ValueError, match="query"):
        query().outgoing(octets)


@pytest.mark.parametrize(
    ("protocol", "stream"), [("UDP", False), ("TCP", True), ("DOT", True), ("DOH", True), ("DOQ", True)]
)
def test_an_endpoint_knows_its_protocol_as_dnstap_numbers_it(protocol: str, stream: bool) -> None:
    endpoint = Endpoint(protocol, Address.of("2001:db8::53", 853))
    assert (endpoint.stream, endpoint.socket_protocol) == (stream, SOCKET_PROTOCOLS[protocol])
    assert repr(endpoint) == f"<Endpoint {protocol} [2001:db8::53]:853>"


# a response


@pytest.mark.parametrize("edns", [{}, {"use_edns": 0}, {"want_dnssec": True}])
def test_an_answer_of_our_own_fits_the_query(edns: dict[str, Any]) -> None:
    asked = query(flags=RD | CD | AD, **edns)
    response = asked.respond(dns.rcode.REFUSED, 18, "not you", aa=True)
    parsed = response.message
    assert (parsed.id, response.rcode) == (asked.id, dns.rcode.REFUSED)
    assert parsed.question == asked.message.question
    assert dns.flags.to_text(parsed.flags) == "QR AA RD RA CD"
    assert parsed.edns == (0 if edns else -1)
    assert bool(parsed.ednsflags & dns.flags.DO) == ("want_dnssec" in edns)
    assert [(int(option.code), option.text) for option in parsed.options if isinstance(option, dns.edns.EDEOption)] == (
        [(18, "not you")] if edns else []
    )


def test_awaiting_a_response_gives_it_back_at_once() -> None:
    response = query().respond()
    steps: Generator[Any, Any, Response] = response.__await__()
    with pytest.raises(StopIteration) as stop:
        next(steps)
    assert stop.value.value is response


def test_a_response_is_made_from_a_dnspython_message_whole() -> None:
    message = dns.message.make_response(query().message)
    texts = [f'"{"x" * 200} {number}"' for number in range(200)]
    message.answer.append(dns.rrset.from_text("www.example.org.", 300, "IN", "TXT", *texts))
    policy = Policy(rule=b"x")
    response = Response.from_message(message, policy)
    assert len(response.wire) > 40_000
    assert response.message.answer == message.answer
    assert response.message is response.message
    assert response.policy is policy
    assert repr(response) == f"<Response rcode 0, {len(response.wire)} octets>"


# conforming


@given(FLAGS, st.sampled_from([0, RD, CD, AD, RD | CD, RD | AD, RD | CD | AD]), st.booleans())
def test_flags_of_an_answer_are_partly_the_clients_partly_the_upstreams(
    upstream: int, client: int, dnssec: bool
) -> None:
    asked = query(flags=client, want_dnssec=dnssec)
    octets = conform(asked, answer_to(asked, flags=upstream))
    (flags,) = struct.unpack_from("!H", octets, 2)
    assert flags & (RD | CD) == client & (RD | CD)
    assert flags & (QR | AA | TC | RA | 0x7800 | 0x4F) == upstream & (QR | AA | TC | RA | 0x7800 | 0x4F)
    assert flags & AD == (upstream & AD if dnssec or client & AD else 0)
    assert octets[:2] == asked.wire[:2]
    assert octets[4:] == answer_to(asked)[4:]


def test_an_answer_without_qr_becomes_one() -> None:
    asked = query()
    assert conform(asked, answer_to(asked, flags=0))[2] == 0x81


def test_the_client_gets_its_own_case_back() -> None:
    asked = query("wWw.eXaMpLe.OrG")
    octets = conform(asked, answer_to(asked, name="www.EXAMPLE.org"))
    assert octets[12:].startswith(asked.qname)
    assert dns.message.from_wire(octets).answer[0][0].to_text() == "192.0.2.1"


def test_a_response_to_another_question_is_none() -> None:
    asked = query()
    for other in (query("ww2.example.org"), query(qtype="AAAA"), query("www.example.org", rdclass="CH")):
        with pytest.raises(ValueError, match="another question"):
            conform(asked, answer_to(other))


def test_an_error_without_a_question_gets_the_clients() -> None:
    asked = query(use_edns=0)
    bare = b"\x43\x21\x81\x05" + b"\0" * 8
    parsed = dns.message.from_wire(conform(asked, bare))
    assert (parsed.id, parsed.rcode(), parsed.edns) == (asked.id, dns.rcode.REFUSED, -1)
    assert parsed.question == asked.message.question
    with_opt = bare[:-1] + b"\1" + wire.make_opt()
    assert dns.message.from_wire(conform(asked, with_opt)).edns == 0


def test_an_answer_to_a_query_without_a_readable_question_stays_without() -> None:
    asked = of(b"\x12\x34\1\0" + b"\0" * 8)
    assert dns.message.from_wire(conform(asked, asked.respond(dns.rcode.FORMERR).wire)).question == []


@pytest.mark.parametrize(
    "octets", [b"", b"\x12", b"\x12\x34\x81", b"\x12\x34\x81\x80", b"\x12\x34\x81\x80" + b"\0" * 7]
)
def test_what_is_shorter_than_a_header_is_an_index_error(octets: bytes) -> None:
    with pytest.raises(IndexError):
        conform(query(), octets)


@pytest.mark.parametrize("octets", [None, 7, "x" * 20])
def test_what_is_no_octets_is_an_error_that_becomes_an_answer(octets: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        conform(query(), octets)


@given(st.binary(min_size=12, max_size=100), st.booleans())
def test_any_message_about_the_question_conforms_and_the_upstreams_octets_never_change(
    octets: bytes, has_question: bool
) -> None:
    asked = query()
    if has_question:
        octets = octets[:4] + b"\0\1" + octets[6:12] + asked.shape.question + octets[12:]
    else:
        octets = octets[:4] + b"\0" * 6 + octets[10:]
    before = bytes(octets)
    changed = conform(asked, octets)
    assert octets == before
    assert changed[:2] == asked.wire[:2]
    assert changed[2] & 0x81 == 0x81
