"""Answers that hold for a part of the clients only, though none of these asked for that (RFC 7871 section 7.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dnsproxy.subnet import Subnet, packed_of

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK: Final = b"\xff"  # no name begins with it: other keys are others


class Subnets:
    """The lengths of the prefixes that answers were kept for: what may stand in the store for a client's address."""

    __slots__ = ("lengths",)

    def __init__(self) -> None:
        self.lengths: dict[int, list[int]] = {}  # by octets of an address; longest first; at most 32 and 128

    def key_for(self, subnet: Subnet, key: bytes) -> bytes:
        """The key of the answer to `key` for clients of that subnet, which is looked for from now on."""
        lengths = self.lengths.setdefault(len(subnet.packed), [])
        if subnet.bits not in lengths:
            lengths.append(subnet.bits)
            lengths.sort(reverse=True)
        return _key(subnet, key)

    def keys(self, sockaddr: bytes, key: bytes) -> Iterator[bytes]:
        """Where an answer to `key` for the client at a raw sockaddr may stand, the narrowest subnet first."""
        packed = packed_of(sockaddr)
        for bits in self.lengths.get(len(packed), ()):
            yield _key(Subnet(packed, bits), key)


def _key(subnet: Subnet, key: bytes) -> bytes:
    return MARK + bytes((len(subnet.packed), subnet.bits)) + subnet.packed + key
