"""What stands in place of a client's address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.anonymizer import PSEUDONYMS_KEPT, Prefixing, Pseudonyms, leading_bits
from dnsproxy.dnstap.ipcrypt import MAPPED, address_cipher
from tests.dnstap.hiding import packed

KEY = b"some 16-byte key"
PFX_KEY = bytes(range(32))


@given(st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)), st.integers(0, 128))
def test_bits_behind_a_prefix_are_zero_and_those_before_it_stay(address: bytes, bits: int) -> None:
    size = len(address) * 8
    bits = min(bits, size)
    as_text = f"{int.from_bytes(address, 'big'):0{size}b}"
    assert f"{int.from_bytes(leading_bits(address, bits), 'big'):0{size}b}" == as_text[:bits].ljust(size, "0")


@pytest.mark.parametrize(
    ("address", "seen"),
    [
        ("192.0.2.77", "192.0.2.0"),
        ("2001:db8:1:2ff::7", "2001:db8:1:200::"),
        ("::ffff:192.0.2.77", "::"),
    ],
)
def test_an_address_is_cut_to_the_prefix_of_its_family(address: str, seen: str) -> None:
    assert Prefixing(24, 56).address(packed(address)) == packed(seen)


def test_a_v4_mapped_address_shows_no_more_than_the_ipv4_address_in_it() -> None:
    assert Prefixing(24, 128).address(packed("::ffff:192.0.2.77")) == packed("::ffff:192.0.2.0")


@pytest.mark.parametrize(("bits", "kept"), [(32, 24), (24, 24), (20, 20), (0, 0)])
def test_a_network_never_gets_longer_than_it_was(bits: int, kept: int) -> None:
    network = leading_bits(packed("192.0.2.77"), bits)
    assert Prefixing(24, 56).prefix(network, bits) == (leading_bits(network, kept), kept)


@pytest.mark.parametrize("key", [KEY, PFX_KEY])
@pytest.mark.parametrize("address", ["192.0.2.77", "2001:db8::77"])
def test_a_pseudonym_is_the_ciphers(key: bytes, address: str) -> None:
    pseudonyms = Pseudonyms(key)
    expected = address_cipher(key).encrypt(packed(address))
    assert [pseudonyms.address(packed(address)) for _ in range(2)] == [expected, expected]


@pytest.mark.parametrize("key", [KEY, PFX_KEY])
def test_a_v4_mapped_address_has_the_pseudonym_of_the_ipv4_address_in_it(key: bytes) -> None:
    pseudonyms = Pseudonyms(key)
    address = packed("192.0.2.77")
    assert pseudonyms.address(MAPPED + address) == MAPPED + pseudonyms.address(address)


@pytest.mark.parametrize("key", [KEY, PFX_KEY])
@pytest.mark.parametrize("bits", [0, 1, 12, 24, 31, 32])
def test_the_pseudonym_of_a_network_has_as_many_bits_as_the_network(key: bytes, bits: int) -> None:
    network = leading_bits(packed("192.0.2.77"), bits)
    seen, kept = Pseudonyms(key).prefix(network, bits)
    assert kept == bits
    assert seen == leading_bits(address_cipher(key).encrypt(network), bits)


def test_with_ipcrypt_pfx_a_client_is_seen_in_its_network() -> None:
    pseudonyms = Pseudonyms(PFX_KEY)
    network, _ = pseudonyms.prefix(packed("192.0.2.0"), 24)
    assert leading_bits(pseudonyms.address(packed("192.0.2.77")), 24) == network


def test_no_more_pseudonyms_are_remembered_than_the_bound() -> None:
    pseudonyms = Pseudonyms(KEY)
    count = PSEUDONYMS_KEPT + 10
    assert len({pseudonyms.address(number.to_bytes(4, "big")) for number in range(count)}) == count
    assert len(pseudonyms._known) == 10
