"""Where an address or a name shows in octets and text: the forms in which messages and labels carry them."""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from dnsproxy.wire import name_to_text

NIBBLES_SIZE: Final = 64  # octets of an IPv6 address as labels of one digit


class AddressTrace:
    """The forms of a client's address: octets, text, and what stands before `in-addr.arpa` and `ip6.arpa`.

    `packed` has 4 or 16 octets, and so has `stand_in`, which may take the place of these octets.
    """

    __slots__ = ("_forms", "_hint", "_nibbles", "packed", "stand_in")

    def __init__(self, packed: bytes, stand_in: bytes) -> None:
        self.packed = packed
        self.stand_in = stand_in
        self._nibbles = b""
        if len(packed) == 4:
            parts = [str(octet).encode() for octet in packed]
            self._forms = [b".".join(parts), _labels(parts), b".".join(parts[::-1]), _labels(parts[::-1])]
            self._hint = max(parts, key=len)  # every one of them has it, and few messages do
        else:
            address = ipaddress.IPv6Address(packed)
            self._forms = [str(address).encode(), address.exploded.encode()]
            self._hint = b":"
            parts = [b"%x" % (octet >> shift & 15) for octet in packed[::-1] for shift in (0, 4)]
            self._nibbles = _labels(parts)

    def is_in(self, octets: bytes, start: int = 0) -> bool:
        """Whether any form stands in the octets, from `start` on, in either case."""
        if octets.find(self.packed, start) >= 0:
            return True
        if octets.find(self._hint, start) >= 0 and _has_one_of(octets.lower(), self._forms, start):
            return True
        if not self._nibbles or len(octets) < start + NIBBLES_SIZE:
            return False
        return octets.lower().find(self._nibbles, start) >= 0


class NameTrace:
    """The forms of a name and of the zones above it, but for top-level ones: text and labels."""

    __slots__ = ("_labels", "_text")

    def __init__(self, folded: bytes) -> None:
        zones = _zones(folded)
        texts = [re.escape(name_to_text(zone)[:-1]) for zone in zones]
        self._labels = [zone[:-1] for zone in zones]
        self._text = re.compile(rf"(?<![\w-])(?:{'|'.join(texts)})(?![\w-])" if texts else "(?!)")

    def is_in(self, octets: bytes) -> bool:
        """Whether any form stands in the octets, in either case; text only as whole words."""
        folded = octets.lower()
        return _has_one_of(folded, self._labels, 0) or self._text.search(folded.decode("latin-1")) is not None


def _zones(folded: bytes) -> list[bytes]:
    """A name and its suffixes of two labels or more; nothing for the root."""
    if len(folded) < 2:
        return []
    zones = [folded]
    while len(rest := zones[-1][zones[-1][0] + 1 :]) > rest[0] + 2:
        zones.append(rest)
    return zones


def _has_one_of(folded: bytes, forms: list[bytes], start: int) -> bool:
    for form in forms:  # noqa: SIM110  a generator takes three times as long
        if folded.find(form, start) >= 0:
            return True
    return False


def _labels(parts: list[bytes]) -> bytes:
    return b"".join([b"%c%b" % (len(part), part) for part in parts])
