"""What stands in place of a client's address: its prefix, or a keyed pseudonym."""

from __future__ import annotations

from typing import Final

from dnsproxy.dnstap.ipcrypt import MAPPED, address_cipher

PSEUDONYMS_KEPT: Final = 65536  # about 10 MiB; one of ipcrypt-pfx takes 20 µs for IPv4 and 80 for IPv6


class Anonymizer:
    """Addresses have 4 or 16 octets, and keep their size; a v4-mapped one is treated as the IPv4 address in it."""

    def address(self, packed: bytes) -> bytes:
        """What stands for a whole address."""
        raise NotImplementedError

    def prefix(self, packed: bytes, bits: int) -> tuple[bytes, int]:
        """What stands for the network of an address whose first `bits` are known, and how many of its bits are.

        All bits behind them are zero, in what is given and in the result.
        """
        raise NotImplementedError


class Prefixing(Anonymizer):
    """Keeps so many leading bits."""

    def __init__(self, ipv4: int, ipv6: int) -> None:
        self._ipv4 = ipv4
        self._ipv6 = ipv6

    def address(self, packed: bytes) -> bytes:
        """As Anonymizer says."""
        return leading_bits(packed, self._limit(packed))

    def prefix(self, packed: bytes, bits: int) -> tuple[bytes, int]:
        """As Anonymizer says."""
        kept = min(bits, self._limit(packed))
        return leading_bits(packed, kept), kept

    def _limit(self, packed: bytes) -> int:
        if len(packed) == 4:
            return self._ipv4
        if packed.startswith(MAPPED):
            return min(self._ipv6, 96 + self._ipv4)
        return self._ipv6


class Pseudonyms(Anonymizer):
    """Keyed pseudonyms; ValueError from the start when the key or its cipher will not do."""

    def __init__(self, key: bytes) -> None:
        self._cipher = address_cipher(key)
        self._known: dict[bytes, bytes] = {}

    def address(self, packed: bytes) -> bytes:
        """As Anonymizer says."""
        known = self._known.get(packed)
        if known is None:
            if len(self._known) >= PSEUDONYMS_KEPT:
                self._known.clear()
            known = self._known[packed] = self._encrypt(packed)
        return known

    def prefix(self, packed: bytes, bits: int) -> tuple[bytes, int]:
        """As Anonymizer says: as many bits of a pseudonym as are known of the address."""
        return leading_bits(self.address(packed), bits), bits

    def _encrypt(self, packed: bytes) -> bytes:
        if packed.startswith(MAPPED):
            return MAPPED + self._cipher.encrypt(packed[12:])
        return self._cipher.encrypt(packed)


def leading_bits(packed: bytes, bits: int) -> bytes:
    """An address with nothing but zeros behind its first `bits`."""
    behind = len(packed) * 8 - bits
    return (int.from_bytes(packed, "big") >> behind << behind).to_bytes(len(packed), "big")
