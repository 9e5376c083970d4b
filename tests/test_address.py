"""Addresses in the kernel's form and in text."""

import socket
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.address import KEY_END, KEY_START, SOCKADDR_SIZE, Address, make_sockaddr, sockaddr_of

PORTS = st.integers(0, 65535)
V4, V6 = st.ip_addresses(v=4), st.ip_addresses(v=6)
LOOPBACK_INDEX = socket.if_nametoindex("lo")


@given(V4, PORTS)
def test_an_ipv4_address_has_four_octets_and_reads_back(ip: object, port: int) -> None:
    address = Address.of(str(ip), port)
    assert (address.family, address.host, address.port) == (socket.AF_INET, str(ip), port)
    assert address.packed == socket.inet_aton(str(ip))
    assert len(address.sockaddr) == SOCKADDR_SIZE
    assert str(address) == f"{ip}:{port}"
    assert Address(address.sockaddr) == address


@given(V6, PORTS)
def test_an_ipv6_address_has_sixteen_octets_and_brackets_unless_it_is_a_mapped_one(ip: object, port: int) -> None:
    address = Address.of(str(ip), port)
    mapped = getattr(ip, "ipv4_mapped", None)
    if mapped is not None:
        assert (address.family, address.packed, str(address)) == (socket.AF_INET, mapped.packed, f"{mapped}:{port}")
        return
    packed = socket.inet_pton(socket.AF_INET6, str(ip))
    assert (address.family, address.packed) == (socket.AF_INET6, packed)
    assert str(address) == f"[{socket.inet_ntop(socket.AF_INET6, packed)}]:{port}"


def test_a_mapped_address_is_shown_as_ipv4_and_spoken_to_over_ipv6() -> None:
    address = Address.of("::ffff:192.0.2.1", 53)
    assert (address.family, address.host, str(address)) == (socket.AF_INET, "192.0.2.1", "192.0.2.1:53")
    assert address.socket_family == socket.AF_INET6
    assert address.socket_tuple() == ("::ffff:192.0.2.1", 53, 0, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_what_the_kernel_says_is_what_we_make(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.bind(Address.of(host, 0).socket_tuple())
        name = sock.getsockname()
        address = Address(sockaddr_of(name))
        assert (address.host, address.port) == (host, name[1])
        assert address.socket_tuple() == name
        assert address.socket_family == family


def test_a_link_local_address_carries_its_interface_by_name_or_number() -> None:
    by_name, by_number = Address.of("fe80::1%lo", 53), Address.of(f"fe80::1%{LOOPBACK_INDEX}", 53)
    assert by_name == by_number == Address.of("fe80::1", 53, LOOPBACK_INDEX)
    assert str(by_name) == "[fe80::1%lo]:53"
    assert by_name.socket_tuple() == ("fe80::1", 53, 0, LOOPBACK_INDEX)
    assert str(Address.of("fe80::1", 53, 4_000_000)) == "[fe80::1%4000000]:53", "an interface that is gone"


def test_a_sockaddr_stands_as_the_kernel_wants_it() -> None:
    native = struct.pack("=H", socket.AF_INET)
    assert make_sockaddr("192.0.2.1", 53) == native + b"\0\x35\xc0\0\2\1" + b"\0" * 20
    native = struct.pack("=H", socket.AF_INET6)
    expected = native + b"\0\x35" + b"\0" * 4 + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + b"\0" * 4
    assert make_sockaddr("2001:db8::1", 53) == expected


@pytest.mark.parametrize("host", ["", "localhost", "192.0.2", "192.0.2.256", "2001:db8::g", "1:2", "192.0.2.1 "])
def test_what_is_no_address_is_a_value_error(host: str) -> None:
    with pytest.raises(ValueError, match="not an IP address"):
        Address.of(host, 53)


def test_an_interface_that_does_not_exist_is_an_os_error_that_a_listener_can_report() -> None:
    with pytest.raises(OSError, match=r"\w"):
        Address.of("fe80::1%no-such-if", 53)


@given(st.one_of(V4, V6), PORTS, PORTS)
def test_a_client_is_known_by_its_address_whatever_its_port(ip: object, port: int, other: int) -> None:
    one, two = make_sockaddr(str(ip), port), make_sockaddr(str(ip), other)
    assert one[KEY_START:KEY_END] == two[KEY_START:KEY_END]
    assert hash(Address(one)) == hash(Address(one))
    assert (Address(one) == Address(two)) == (port == other)


def test_addresses_are_not_equal_to_anything_else() -> None:
    assert Address.of("192.0.2.1", 53) != "192.0.2.1:53"
    assert repr(Address.of("192.0.2.1", 53)) == "<Address 192.0.2.1:53>"
