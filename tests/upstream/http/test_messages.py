"""Requests and responses of DoH, without any HTTP under them."""

import base64
from typing import cast

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.message import Query
from dnsproxy.upstream.exchange import Exchange
from dnsproxy.upstream.http.messages import Aged, BadResponse, Requests, ResponseReader, aged
from dnsproxy.upstream.options import HttpOptions
from tests.support.offline import query, reply

OCTETS = query(id=0)
ASKED = cast("Query", object())
GOOD = [(b":status", b"200"), (b"content-type", b"application/dns-message")]


def test_post_sends_the_message_as_its_body() -> None:
    headers, body = Requests(HttpOptions("dns.example.org", "/q")).make(OCTETS)
    assert body == OCTETS
    assert dict(headers) == {
        b":method": b"POST",
        b":scheme": b"https",
        b":authority": b"dns.example.org",
        b":path": b"/q",
        b"accept": b"application/dns-message",
        b"content-type": b"application/dns-message",
        b"content-length": str(len(OCTETS)).encode(),
    }


@pytest.mark.parametrize(
    ("path", "before"),
    [
        ("/dns-query", "/dns-query?dns="),
        ("/dns-query{?dns}", "/dns-query?dns="),
        ("/", "/?dns="),
        ("/q?key=1", "/q?key=1&dns="),
        ("/q?key=1{&dns}", "/q?key=1&dns="),
    ],
)
def test_get_puts_it_into_the_path_in_base64url_without_padding(path: str, before: str) -> None:
    headers, body = Requests(HttpOptions("dns.example.org:8443", path, "GET")).make(OCTETS)
    assert body == b""
    assert dict(headers)[b":path"] == before.encode() + base64.urlsafe_b64encode(OCTETS).rstrip(b"=")
    assert b"=" not in dict(headers)[b":path"].rpartition(b"dns=")[2]
    assert b"content-type" not in dict(headers)
    names = [name for name, _ in headers]
    assert names == sorted(names, key=lambda name: not name.startswith(b":")), "pseudo-headers come first"


def test_the_zone_of_an_address_is_nothing_to_the_peer() -> None:
    headers, _ = Requests(HttpOptions("[fe80::1%eth0]:8443")).make(OCTETS)
    assert dict(headers)[b":authority"] == b"[fe80::1]:8443"


def read(headers: list[tuple[bytes, bytes]], *chunks: bytes) -> bytes:
    reader = ResponseReader()
    reader.receive_headers(headers)
    for chunk in chunks:
        reader.receive_data(chunk)
    return reader.end()


def test_a_response_is_its_body() -> None:
    assert read(GOOD, b"ab", b"", b"c") == b"abc"


@pytest.mark.parametrize("kind", [b"Application/DNS-Message", b"application/dns-message; charset=binary"])
def test_the_content_type_may_be_written_in_any_way(kind: bytes) -> None:
    assert read([(b":status", b"203"), (b"Content-Type", kind)], b"x") == b"x"


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([(b":status", b"500"), GOOD[1]], "HTTP status 500"),
        ([(b":status", b"302"), GOOD[1]], "HTTP status 302"),
        ([(b":status", b"2oo"), GOOD[1]], "HTTP status 2oo"),
        ([GOOD[1]], "HTTP status"),
        ([GOOD[0], (b"content-type", b"text/html")], "content type"),
        ([GOOD[0], (b"content-type", b"application/dns-message+xml")], "content type"),
        ([GOOD[0]], "content type"),
    ],
)
def test_what_cannot_be_an_answer_is_refused(headers: list[tuple[bytes, bytes]], why: str) -> None:
    with pytest.raises(BadResponse, match=why):
        read(headers, b"x")


def test_a_body_is_as_long_as_a_dns_message_at_most_and_not_empty() -> None:
    assert len(read(GOOD, b"x" * 65_000, b"x" * 535)) == 65_535
    with pytest.raises(BadResponse, match="longer"):
        read(GOOD, b"x" * 65_000, b"x" * 536)
    with pytest.raises(BadResponse, match="without a body"):
        read(GOOD)
    with pytest.raises(BadResponse, match="without a body"):
        ResponseReader().end()


@pytest.mark.parametrize(
    ("text", "age"), [(b"7", 7), (b" 7 ", 7), (b"-7", 0), (b"x", 0), (b"", 0), (b"9" * 5000, 9_999_999_999)]
)
def test_the_age_is_a_number_of_seconds(text: bytes, age: int) -> None:
    reader = ResponseReader()
    reader.receive_headers([*GOOD, (b"age", text)])
    assert reader.age == age


def ttls(octets: bytes) -> list[int]:
    message = dns.message.from_wire(octets)
    return [rrset.ttl for section in (message.answer, message.authority, message.additional) for rrset in section]


ZONE = """id 0
opcode QUERY
rcode NOERROR
flags QR
edns 0
eflags DO
payload 1232
;QUESTION
www.example.org. IN A
;ANSWER
www.example.org. 300 IN A 192.0.2.1
;AUTHORITY
example.org. 20 IN NS ns.example.org.
;ADDITIONAL
ns.example.org. 0 IN A 192.0.2.2
"""


def test_ttls_grow_older_but_the_opt_does_not() -> None:
    octets = dns.message.from_text(ZONE).to_wire()
    assert ttls(aged(octets, 30)) == [270, 0, 0]
    before, after = dns.message.from_wire(octets), dns.message.from_wire(aged(octets, 30))
    assert (after.ednsflags, after.payload) == (before.ednsflags, before.payload)
    assert aged(octets, 0) == octets
    assert ttls(aged(octets, 10**10)) == [0, 0, 0]


@given(st.binary(max_size=100))
def test_what_cannot_be_walked_stays_as_it_is_or_keeps_its_length(octets: bytes) -> None:
    octets = octets.ljust(12, b"\0")
    assert len(aged(octets, 5)) == len(octets)


def test_an_aged_reply_passes_through_the_edit_that_was_there_before() -> None:
    class Upper:
        asked = ASKED

        def accepts(self, exchange: Exchange, octets: bytes) -> bool:
            return octets == b"good"

        def received(self, exchange: Exchange, octets: bytes) -> bytes:
            return octets[:2] + b"edited"

    exchange = cast("Exchange", type("Asked", (), {"edit": Upper(), "query": None})())
    edit = Aged(exchange, 60)
    assert (edit.asked, edit.accepts(exchange, b"good"), edit.accepts(exchange, b"bad")) == (ASKED, True, False)
    assert edit.received(exchange, reply(OCTETS)) == b"\0\0edited"
    plain = cast("Exchange", type("Asked", (), {"edit": None, "query": ASKED})())
    edit = Aged(plain, 60)
    assert (edit.asked, edit.accepts(plain, b"bad")) == (ASKED, True)
    assert ttls(cast("bytes", edit.received(plain, reply(OCTETS)))) == [240]
