"""Random case of the letters in a question ("0x20"): bits that a forged answer must have right."""

from __future__ import annotations

import os
from typing import Final

BLOCK: Final = 4096  # random octets read at once: a system call for each name would show
_CASE: Final = bytes(0x20 if chr(octet).isalpha() and octet < 0x80 else 0 for octet in range(256))


class Dice:
    """Random octets, each of which is used once."""

    __slots__ = ("at", "block")

    def __init__(self) -> None:
        self.block = b""
        self.at = 0

    def mixed(self, qname: bytes) -> bytes:
        """The wire name with the case of each letter drawn; length octets are none, being at most 63."""
        size = len(qname)
        if self.at + size > len(self.block):
            self.block = os.urandom(BLOCK)
            self.at = 0
        drawn = int.from_bytes(self.block[self.at : self.at + size], "big")
        self.at += size
        letters = int.from_bytes(qname.translate(_CASE), "big")
        return (int.from_bytes(qname, "big") & ~letters | drawn & letters).to_bytes(size, "big")
