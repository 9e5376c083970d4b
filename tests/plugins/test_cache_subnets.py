"""Where answers for a part of the clients stand: each client finds those that are for it, the narrowest first."""

import pytest
from dnsproxy_cache.subnets import Subnets

from dnsproxy.address import Address
from dnsproxy.subnet import Subnet


def sockaddr(host: str) -> bytes:
    return Address.of(host, 5353).sockaddr


def subnet(host: str, bits: int) -> Subnet:
    return Subnet(Address.of(host, 0).packed, bits)


@pytest.fixture
def subnets() -> Subnets:
    return Subnets()


def test_nothing_is_looked_for_before_something_was_kept(subnets: Subnets) -> None:
    assert list(subnets.keys(sockaddr("192.0.2.7"), b"key")) == []


def test_a_client_finds_what_its_subnets_have_and_no_others(subnets: Subnets) -> None:
    wide = subnets.key_for(subnet("192.0.2.0", 16), b"key")
    narrow = subnets.key_for(subnet("192.0.2.0", 24), b"key")
    subnets.key_for(subnet("2001:db8::", 56), b"key")
    assert list(subnets.keys(sockaddr("192.0.2.7"), b"key")) == [narrow, wide]
    near = list(subnets.keys(sockaddr("192.0.3.7"), b"key"))
    assert (near[1], near[0] == narrow, len(near)) == (wide, False, 2)
    assert not {narrow, wide} & set(subnets.keys(sockaddr("198.51.100.7"), b"key"))
    assert not {narrow, wide} & set(subnets.keys(sockaddr("192.0.2.7"), b"other"))


def test_the_two_families_share_nothing(subnets: Subnets) -> None:
    six = subnets.key_for(subnet("2001:db8::", 24), b"key")
    four = subnets.key_for(subnet("32.1.13.0", 24), b"key")
    assert list(subnets.keys(sockaddr("2001:db8::7"), b"key")) == [six]
    assert list(subnets.keys(sockaddr("32.1.13.7"), b"key")) == [four]


def test_a_prefix_length_is_looked_for_once(subnets: Subnets) -> None:
    for last in range(5):
        subnets.key_for(subnet(f"192.0.{last}.0", 24), b"key")
    assert len(list(subnets.keys(sockaddr("192.0.2.7"), b"key"))) == 1
