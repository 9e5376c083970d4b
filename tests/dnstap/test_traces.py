"""Finding addresses and names in octets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy import wire
from dnsproxy.dnstap.traces import AddressTrace, NameTrace
from tests.dnstap.hiding import forms, packed, trace

HIGH = st.binary(max_size=30).map(lambda octets: bytes(octet | 0xF0 for octet in octets))  # in no form of the addresses


@pytest.mark.parametrize("address", ["192.0.2.77", "10.0.0.1", "2001:db8::77", "fe80::1"])
@pytest.mark.parametrize("form", range(3))
@given(before=HIGH, behind=HIGH)
def test_every_form_of_an_address_is_found(address: str, form: int, before: bytes, behind: bytes) -> None:
    found = AddressTrace(packed(address), bytes(len(packed(address))))
    octets = before + forms(address)[form] + behind
    assert found.is_in(octets)
    assert found.is_in(octets, len(before))
    assert not found.is_in(octets, len(before) + 1)
    assert not found.is_in(before + behind)


@pytest.mark.parametrize(
    "octets",
    [
        b"2001:DB8::77",
        b"2001:0db8:0000:0000:0000:0000:0000:0077",
        forms("2001:db8::77")[2].upper(),
    ],
)
def test_text_of_ipv6_is_found_in_any_case(octets: bytes) -> None:
    assert trace("2001:db8::77", "2001:db8::").is_in(octets)


@pytest.mark.parametrize("octets", [b"77.2.0.192", b"\x03192\x010\x012\x0277", b"x192.0.2.77x"])
def test_ipv4_is_found_in_either_direction(octets: bytes) -> None:
    assert trace("192.0.2.77", "192.0.2.0").is_in(octets)


@pytest.mark.parametrize("octets", [b"", b"192", b"192.0.2.7", b"\xc0\0\2", b"\x03192\x010\x012\x017", b"::"])
def test_part_of_an_address_is_no_address(octets: bytes) -> None:
    assert not trace("192.0.2.77", "192.0.2.0").is_in(octets)
    assert not trace("2001:db8::77", "2001:db8::").is_in(octets)


@pytest.mark.parametrize(
    ("octets", "tells"),
    [
        (b"WWW.example.org.", True),
        (b"zone example.org", True),
        (b"\7EXAMPLE\3org\0", True),
        (b"\x0232\3www\7example\3org\x09rpz-local", True),
        (b"myexample.org", False),
        (b"example.org-ads", False),
        (b"org", False),
        (b"example", False),
        (b"", False),
    ],
)
def test_a_name_is_found_by_itself_and_by_its_zones_but_not_by_its_top_level(octets: bytes, tells: bool) -> None:
    assert NameTrace(wire.name_from_text("www.example.org")).is_in(octets) is tells


def test_a_name_of_one_label_is_found_as_a_word() -> None:
    assert NameTrace(b"\1x\0").is_in(b"rule x")
    assert not NameTrace(b"\1x\0").is_in(b"max_concurrent")


@pytest.mark.parametrize("folded", [b"", b"\0"])
def test_the_root_is_nobodys_name(folded: bytes) -> None:
    assert not NameTrace(folded).is_in(b". anything \0")


@given(st.binary(max_size=60))
def test_any_octets_can_be_looked_at(octets: bytes) -> None:
    NameTrace(b"\2\xff(\3org\0").is_in(octets)
    trace("192.0.2.77", "192.0.2.0").is_in(octets)
