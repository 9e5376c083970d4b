"""EDNS Client Subnet: what leaves of an address, and what an answer says about whom it is for."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.address import Address
from dnsproxy.upstream.editing.ecs import Subnets, for_client, is_sound, scope_of, subnet_of
from tests.support import wire as dns_wire

V4 = dns_wire.ecs("192.0.2.0", 24)[1]


def own(address: str, source: int) -> bytes:
    return dns_wire.ecs(address, source)[1]


@pytest.mark.parametrize(
    ("client", "bits", "sent"),
    [
        ("192.0.2.77", (24, 56), V4),
        ("10.1.2.3", (24, 56), own("10.1.2.0", 24)),
        ("192.0.2.255", (31, 56), own("192.0.2.254", 31)),
        ("::ffff:192.0.2.77", (24, 56), V4),
        ("2001:db8:1:2ff::1", (24, 56), own("2001:db8:1:200::", 56)),
        ("2001:db8:ffff::1", (24, 33), own("2001:db8:8000::", 33)),
        ("192.0.2.77", (0, 56), own("0.0.0.0", 0)),
        ("192.0.2.77", (32, 128), own("192.0.2.77", 32)),
    ],
)
def test_a_clients_address_is_cut_to_the_prefix(client: str, bits: tuple[int, int], sent: bytes) -> None:
    assert Subnets(*bits).of_client(Address.of(client, 5353).sockaddr) == sent


def test_nothing_is_said_of_a_client_without_an_address() -> None:
    assert Subnets(24, 56).of_client(bytes(28)) == b""


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (own("198.51.100.7", 32), own("198.51.100.0", 24)),
        (own("198.51.100.0", 24), own("198.51.100.0", 24)),
        (own("198.51.0.0", 16), own("198.51.0.0", 16)),
        (own("0.0.0.0", 0), own("0.0.0.0", 0)),
        (own("2001:db8:1:2ff::", 64), own("2001:db8:1:200::", 56)),
        (b"\0\0\0\0", b"\0\0\0\0"),
    ],
)
def test_a_clients_own_is_cut_as_well_and_0_stays_0(asked: bytes, sent: bytes) -> None:
    assert is_sound(asked)
    assert Subnets(24, 56).at_most(asked) == sent


@pytest.mark.parametrize(
    "data", [b"", V4[:3], V4[:-1], V4 + b"\0", b"\0\3" + V4[2:], b"\1" + V4[1:], own("::", 128)[:1] + b"\1\x80\0"]
)
def test_an_option_that_is_not_as_it_should_be_is_unsound(data: bytes) -> None:
    assert not is_sound(data)


@given(st.binary(max_size=24))
def test_any_option_is_unsound_or_can_be_cut(data: bytes) -> None:
    if is_sound(data):
        sent = Subnets(24, 56).at_most(data)
        assert is_sound(sent)
        assert sent[2] <= min(data[2], 56)


def test_a_scope_is_believed_only_beside_what_was_sent() -> None:
    assert scope_of(V4, V4[:3] + b"\x10" + V4[4:]) == 16
    assert scope_of(V4, V4) == 0
    assert scope_of(V4, None) == 0
    for other in (own("192.0.3.0", 24), own("192.0.0.0", 16), own("2001:db8::", 56), b"", V4[:3]):
        assert scope_of(V4, other) == 24


@given(st.ip_addresses(v=4), st.integers(1, 32), st.integers(1, 255))
def test_an_answer_is_for_no_more_than_was_sent(address: ipaddress.IPv4Address, source: int, scope: int) -> None:
    sent = Subnets(source, 56).of_client(Address.of(str(address), 1).sockaddr)
    subnet = subnet_of(sent, scope)
    assert subnet.bits == min(source, scope)
    assert address in ipaddress.ip_network(str(subnet))


def test_a_client_gets_its_own_option_back_with_the_scope() -> None:
    asked = own("198.51.100.7", 32)
    assert for_client(asked, 24) == dns_wire.ecs("198.51.100.7", 32, 24)[1]
