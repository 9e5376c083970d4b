"""EDNS Client Subnet (RFC 7871): what an upstream is told of a client's address, and what comes back of it."""

from __future__ import annotations

from typing import Final

from dnsproxy.subnet import Subnet, cut, packed_of

HEADER: Final = 4  # octets of family, source and scope prefix length
NO_FAMILY, V4, V6 = 0, 1, 2  # address families (IANA)
_SIZES: Final = {V4: 4, V6: 16}
_FAMILIES: Final = {4: V4, 16: V6}


class Subnets:
    """How many bits of clients' addresses an upstream is told."""

    def __init__(self, ipv4: int, ipv6: int) -> None:
        self.bits = {NO_FAMILY: 0, V4: ipv4, V6: ipv6}

    def of_client(self, sockaddr: bytes) -> bytes:
        """The option's data for the client at a raw sockaddr; b"" when that is no IP address."""
        packed = packed_of(sockaddr)
        if not packed:
            return b""
        family = _FAMILIES[len(packed)]
        bits = self.bits[family]
        return bytes((0, family, bits, 0)) + cut(packed, bits)

    def at_most(self, own: bytes) -> bytes:
        """A client's own option cut to as many bits; of one with /0 nothing but that (section 7.1.2)."""
        bits = min(own[2], self.bits[own[1]])
        return own[:2] + bytes((bits, 0)) + cut(own[HEADER:], bits)


def is_sound(data: bytes) -> bool:
    """Whether a client's option is as section 6 wants it, but for bits set behind the prefix."""
    if len(data) < HEADER or data[0] or data[1] not in (NO_FAMILY, V4, V6):
        return False
    size = _SIZES.get(data[1], 0)
    return data[2] <= 8 * size and len(data) == HEADER + (data[2] + 7 >> 3)


def scope_of(sent: bytes, answered: bytes | None) -> int:
    """How many bits the answer to the option `sent` depends on; None: the upstream said nothing, so none (7.2.2).

    An option that does not belong to the one sent is not believed: the answer may depend on all that was sent.
    """
    if answered is None:
        return 0
    same = len(answered) >= HEADER and answered[:3] == sent[:3] and answered[HEADER:] == sent[HEADER:]
    return answered[3] if same else max(1, sent[2])


def subnet_of(sent: bytes, scope: int) -> Subnet:
    """For whom an answer with that scope is: never for more than have the prefix that was sent (7.3.1)."""
    return Subnet(sent[HEADER:].ljust(_SIZES[sent[1]], b"\0"), min(scope, sent[2]))


def for_client(own: bytes, scope: int) -> bytes:
    """The option's data for a client that sent `own`: family, source and address as it did (7.2.2)."""
    return own[:3] + bytes((scope,)) + own[HEADER:]
