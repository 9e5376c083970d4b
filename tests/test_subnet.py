"""Parts of the clients: prefixes of addresses, in octets and in text."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.address import Address
from dnsproxy.subnet import Subnet, cut, packed_of

ADDRESSES = st.ip_addresses()


@given(ADDRESSES, st.integers(0, 128))
def test_a_subnet_is_the_network_that_the_standard_library_finds(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, bits: int
) -> None:
    bits = min(bits, address.max_prefixlen)
    subnet = Subnet(address.packed, bits)
    assert ipaddress.ip_network(str(subnet)) == ipaddress.ip_network((address, bits), strict=False)
    assert cut(address.packed, bits) == subnet.packed[: (bits + 7) // 8]


@pytest.mark.parametrize(
    ("host", "packed"),
    [
        ("192.0.2.7", bytes((192, 0, 2, 7))),
        ("2001:db8::7", ipaddress.ip_address("2001:db8::7").packed),
        ("::ffff:192.0.2.7", bytes((192, 0, 2, 7))),
    ],
)
def test_the_octets_of_an_address_are_found_in_its_sockaddr(host: str, packed: bytes) -> None:
    assert packed_of(Address.of(host, 5353).sockaddr) == packed


def test_what_is_no_ip_address_has_no_octets() -> None:
    assert packed_of(bytes(28)) == b""


def test_more_bits_than_an_address_has_are_all_of_them() -> None:
    assert repr(Subnet(bytes((192, 0, 2, 7)), 56)) == "<Subnet 192.0.2.7/32>"
