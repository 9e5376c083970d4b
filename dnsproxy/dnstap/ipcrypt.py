"""Keyed pseudonyms of IP addresses by published constructions: ipcipher (ipcrypt, AES-128) and ipcrypt-pfx."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

BLOCK: Final = 16  # octets of an AES block, and of a key of AES-128
PAIR: Final = 2 * BLOCK  # the two keys of ipcrypt-pfx
MAPPED: Final = b"\0" * 10 + b"\xff\xff"  # before the IPv4 address in a v4-mapped IPv6 one (RFC 4291 section 2.5.5.2)
MODULE: Final = "cryptography"  # it has AES; an optional extra of ours

Encrypt = Callable[[bytes], bytes]  # whole blocks to whole blocks


class AddressCipher(Protocol):
    """A keyed permutation of the addresses of a family."""

    def encrypt(self, address: bytes) -> bytes:
        """The pseudonym of an address of 4 or 16 octets, in as many octets."""


def address_cipher(key: bytes) -> AddressCipher:
    """Ipcipher for a key of 16 octets, ipcrypt-pfx for one of 32; ValueError says what is wrong, or what is missing."""
    if len(key) == BLOCK:
        return Ipcipher(key)
    if len(key) != PAIR:
        raise ValueError(f"the key has {len(key)} octets; expected {BLOCK} or {PAIR}")
    if key[:BLOCK] == key[BLOCK:]:
        raise ValueError(f"the key's halves are equal, which would show every address; expected {PAIR} random octets")
    return PrefixPreserving(key)


class Ipcipher:
    """PowerDNS's ipcipher with the key itself: ipcrypt for IPv4, one block of AES-128 for IPv6."""

    def __init__(self, key: bytes) -> None:
        self._rounds = tuple(key[at : at + 4] for at in range(0, BLOCK, 4))
        self._aes = _aes(key)

    def encrypt(self, address: bytes) -> bytes:
        """As AddressCipher says."""
        return ipcrypt(self._rounds, address) if len(address) == 4 else self._aes(address)


def ipcrypt(rounds: tuple[bytes, ...], address: bytes) -> bytes:
    """Aumasson's ipcrypt of an IPv4 address: a permutation in the manner of SipHash between four parts of the key."""
    a, b, c, d = address
    last = len(rounds) - 1
    for number, key in enumerate(rounds):
        a, b, c, d = a ^ key[0], b ^ key[1], c ^ key[2], d ^ key[3]
        if number < last:
            a, b, c, d = _permute(a, b, c, d)
    return bytes((a, b, c, d))


def _permute(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a, c = a + b & 0xFF, c + d & 0xFF
    b, d = _rotate(b, 2) ^ a, _rotate(d, 5) ^ c
    a = _rotate(a, 4) + d & 0xFF
    c = c + b & 0xFF
    b, d = _rotate(b, 3) ^ c, _rotate(d, 7) ^ a
    return a, b, _rotate(c, 4), d


def _rotate(octet: int, bits: int) -> int:
    return (octet << bits | octet >> 8 - bits) & 0xFF


class PrefixPreserving:
    """The ipcrypt-pfx of draft-denis-ipcrypt: addresses that share a prefix have pseudonyms that share one as long."""

    def __init__(self, key: bytes) -> None:
        self._first = _aes(key[:BLOCK])
        self._second = _aes(key[BLOCK:])

    def encrypt(self, address: bytes) -> bytes:
        """As AddressCipher says; each bit is flipped or not by a function of those before it."""
        whole = MAPPED + address if len(address) == 4 else address
        start = 96 if whole.startswith(MAPPED) else 0
        number = int.from_bytes(whole, "big")
        prefixes = [1 << bits | number >> 128 - bits for bits in range(start, 128)]
        blocks = b"".join([prefix.to_bytes(BLOCK, "big") for prefix in prefixes])
        pad = 0
        for one, other in zip(self._first(blocks)[15::BLOCK], self._second(blocks)[15::BLOCK], strict=True):
            pad = pad << 1 | (one ^ other) & 1
        return (number ^ pad).to_bytes(BLOCK, "big")[-len(address) :]


def _aes(key: bytes) -> Encrypt:
    """Of independent blocks, which an address is one of: there is no mode, and so no state."""
    try:
        from cryptography.hazmat.primitives.ciphers import Cipher
        from cryptography.hazmat.primitives.ciphers.algorithms import AES
        from cryptography.hazmat.primitives.ciphers.modes import ECB
    except ImportError as exc:
        raise ValueError(
            f"pseudonyms take the Python module {MODULE}, which is not installed; expected it to be"
        ) from exc
    return Cipher(AES(key), ECB()).encryptor().update  # noqa: S305  single blocks are what the constructions take
