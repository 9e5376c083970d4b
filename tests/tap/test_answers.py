"""What an answer says, whatever does not count in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.tap.answers import rcode, records, say_the_same
from tests.support import wire
from tests.tap.dialogue import answer

QUERY = wire.query("www.example.org", id=1)
ONE, OTHER = "www.example.org. 300 IN A 192.0.2.1", "www.example.org. 300 IN A 192.0.2.2"


def test_records_are_sorted_and_have_no_ttl() -> None:
    assert records(answer(QUERY, OTHER, ONE)) == ("www.example.org. IN A 192.0.2.1", "www.example.org. IN A 192.0.2.2")


@pytest.mark.parametrize(
    "other",
    [
        answer(QUERY, ONE, OTHER),
        answer(QUERY, OTHER, ONE),
        answer(QUERY, ONE.replace("300", "7"), OTHER),
        answer(QUERY, ONE.replace("www", "WWW"), OTHER),
        wire.with_id(answer(QUERY, ONE, OTHER), 9),
        answer(wire.query("WWW.example.ORG", id=1), ONE, OTHER),
        answer(wire.query("www.example.org", id=1, edns=True), ONE, OTHER),
    ],
)
def test_ttls_order_case_and_ids_do_not_count(other: bytes) -> None:
    assert say_the_same(answer(QUERY, ONE, OTHER), other)


@pytest.mark.parametrize(
    "other",
    [
        None,
        answer(QUERY, ONE),
        answer(QUERY),
        answer(QUERY, rcode="NXDOMAIN"),
        answer(QUERY, ONE, OTHER, rcode="SERVFAIL"),
        answer(QUERY, ONE, OTHER)[:-1],
        b"",
    ],
)
def test_records_and_rcode_do(other: bytes | None) -> None:
    assert not say_the_same(answer(QUERY, ONE, OTHER), other)
    assert not say_the_same(other, answer(QUERY, ONE, OTHER))


def test_names_in_records_are_compared_without_case() -> None:
    one = answer(QUERY, "www.example.org. 300 IN CNAME Target.Example.NET.")
    assert say_the_same(one, answer(QUERY, "www.example.org. 300 IN CNAME target.example.net."))


def test_what_cannot_be_read_is_the_same_only_octet_for_octet() -> None:
    broken = answer(QUERY, ONE)[:-1]
    assert records(broken) is None
    assert say_the_same(broken, wire.with_id(broken, 5))
    assert not say_the_same(broken, answer(QUERY, OTHER)[:-1] + b"x")


def test_no_response_is_the_same_as_none() -> None:
    assert say_the_same(None, None)
    assert (rcode(None), rcode(b"\0" * 11), rcode(answer(QUERY, rcode="REFUSED"))) == (None, None, 5)


@given(st.binary(max_size=80))
def test_any_octets_are_the_same_as_themselves(octets: bytes) -> None:
    assert say_the_same(octets, octets)
    records(octets)
