"""Pseudonyms of addresses, against the vectors that were published with each construction."""

import sys
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.dnstap.ipcrypt import MAPPED, Ipcipher, PrefixPreserving, address_cipher

SOME_KEY = b"some 16-byte key"
COIN_KEY = bytes.fromhex("06c4bad23a38b9e0ad9d0590b0a3d93a")  # ipcipher's, of the passphrase "crypto is not a coin"
PFX_KEY = bytes.fromhex("0123456789abcdeffedcba98765432101032547698badcfeefcdab8967452301")
NIST_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3ca9f5ba40db214c3798f2e1c23456789a")

# https://powerdns.org/ipcipher/
IPCIPHER = [
    (SOME_KEY, "127.0.0.1", "114.62.227.59"),
    (SOME_KEY, "8.8.8.8", "46.48.51.50"),
    (SOME_KEY, "1.2.3.4", "171.238.15.199"),
    (SOME_KEY, "::1", "3718:8853:1723:6c88:7e5f:2e60:c79a:2bf"),
    (SOME_KEY, "2001:503:ba3e::2:30", "64d2:883d:ffb5:dd79:24b:943c:22aa:4ae7"),
    (SOME_KEY, "2001:db8::", "ce7e:7e39:d282:e7b1:1d6d:5ca1:d4de:246f"),
    (COIN_KEY, "198.41.0.4", "139.111.117.167"),
    (COIN_KEY, "130.161.180.1", "66.235.221.231"),
    (COIN_KEY, "0.0.0.0", "203.253.152.187"),
    (COIN_KEY, "::1", "a551:9cb0:c9b:f6e1:6112:58a:af29:3a6c"),
    (COIN_KEY, "2001:503:ba3e::2:30", "6e60:2674:2fac:d383:f9d5:dcfe:fc53:328e"),
    (COIN_KEY, "2001:db8::", "a8f5:16c8:e2ea:23b9:748d:67a2:4107:9d2e"),
]
# draft-denis-ipcrypt, appendix "ipcrypt-pfx Test Vectors"
PFX = [
    (PFX_KEY, "0.0.0.0", "151.82.155.134"),
    (PFX_KEY, "255.255.255.255", "94.185.169.89"),
    (PFX_KEY, "192.0.2.1", "100.115.72.131"),
    (PFX_KEY, "2001:db8::1", "c180:5dd4:2587:3524:30ab:fa65:6ab6:f88"),
    (NIST_KEY, "10.0.0.47", "19.214.210.244"),
    (NIST_KEY, "10.0.0.129", "19.214.210.80"),
    (NIST_KEY, "10.0.0.234", "19.214.210.30"),
    (NIST_KEY, "172.16.5.193", "210.78.229.136"),
    (NIST_KEY, "172.16.97.42", "210.78.179.241"),
    (NIST_KEY, "172.16.248.177", "210.78.121.215"),
    (NIST_KEY, "2001:db8::a5c9:4e2f:bb91:5a7d", "7cec:702c:1243:f70:1956:125:b9bd:1aba"),
    (NIST_KEY, "2001:db8::7234:d8f1:3c6e:9a52", "7cec:702c:1243:f70:a3ef:c8e:95c1:cd0d"),
    (NIST_KEY, "2001:db8::f1e0:937b:26d4:8c1a", "7cec:702c:1243:f70:443c:c8e:6a62:b64d"),
    (NIST_KEY, "2001:db8:3a5c:0:e7d1:4b9f:2c8a:f673", "7cec:702c:3503:bef:e616:96bd:be33:a9b9"),
    (NIST_KEY, "2001:db8:9f27:0:b4e2:7a3d:5f91:c8e6", "7cec:702c:a504:b74e:194a:3d90:b047:2d1a"),
    (NIST_KEY, "2001:db8:d8b4:0:193c:a5e7:8b2f:46d1", "7cec:702c:f840:aa67:1b8:e84f:ac9d:77fb"),
]

SINGLE_KEYS = st.binary(min_size=16, max_size=16)
DOUBLE_KEYS = st.binary(min_size=32, max_size=32).filter(lambda key: key[:16] != key[16:])
IPV4 = st.binary(min_size=4, max_size=4)
IPV6 = st.binary(min_size=16, max_size=16)


def shared_bits(one: bytes, other: bytes) -> int:
    """Length of the longest common prefix."""
    return len(one) * 8 - (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_length()


@pytest.mark.parametrize(("key", "address", "pseudonym"), IPCIPHER + PFX)
def test_published_vectors_hold(key: bytes, address: str, pseudonym: str) -> None:
    assert ip_address(address_cipher(key).encrypt(ip_address(address).packed)) == ip_address(pseudonym)


def test_ipcrypt_applied_ten_times_is_what_its_author_says() -> None:
    address = ip_address("1.2.3.4").packed
    cipher = Ipcipher(b"\xff" * 16)
    for _ in range(10):
        address = cipher.encrypt(address)
    assert address == ip_address("191.207.11.210").packed


@given(SINGLE_KEYS, st.lists(IPV4, min_size=2, max_size=20, unique=True))
def test_two_addresses_never_share_a_pseudonym(key: bytes, addresses: list[bytes]) -> None:
    cipher = Ipcipher(key)
    assert len({cipher.encrypt(address) for address in addresses}) == len(addresses)


@given(DOUBLE_KEYS, st.one_of(st.tuples(IPV4, IPV4), st.tuples(IPV6, IPV6)), st.integers(0, 128))
def test_pseudonyms_share_exactly_the_prefix_that_the_addresses_share(
    key: bytes, pair: tuple[bytes, bytes], bits: int
) -> None:
    one, tail = pair
    size = len(one) * 8
    keep = min(bits, size)
    low = (1 << size - keep) - 1
    other = (int.from_bytes(one, "big") & ~low | int.from_bytes(tail, "big") & low).to_bytes(len(one), "big")
    cipher = PrefixPreserving(key)
    if not {one[:12], other[:12]} & {MAPPED}:
        assert shared_bits(cipher.encrypt(one), cipher.encrypt(other)) == shared_bits(one, other)


@given(DOUBLE_KEYS, IPV4)
def test_a_v4_mapped_address_has_the_pseudonym_of_its_ipv4_address(key: bytes, address: bytes) -> None:
    cipher = PrefixPreserving(key)
    assert cipher.encrypt(MAPPED + address) == MAPPED + cipher.encrypt(address)


@pytest.mark.parametrize("size", [0, 15, 17, 31, 33, 64])
def test_a_key_has_one_of_two_sizes(size: int) -> None:
    with pytest.raises(ValueError, match=f"has {size} octets; expected 16 or 32"):
        address_cipher(b"k" * size)


def test_a_double_key_of_equal_halves_would_hide_nothing_and_is_refused() -> None:
    with pytest.raises(ValueError, match="halves are equal"):
        address_cipher(SOME_KEY * 2)


@pytest.mark.parametrize("key", [SOME_KEY, PFX_KEY])
def test_a_missing_module_is_named(key: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers", None)
    with pytest.raises(ValueError, match="Python module cryptography"):
        address_cipher(key)
