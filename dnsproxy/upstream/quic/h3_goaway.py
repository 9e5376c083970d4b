"""Reads GOAWAY on an HTTP/3 peer's control stream, which aioquic passes over."""

from __future__ import annotations

from typing import Final

CONTROL: Final = 0  # what a control stream begins with (RFC 9114 section 6.2.1)
GOAWAY: Final = 7
MAX_GOAWAY: Final = 8  # octets of one number


class GoawayReader:
    """Data of the peer's unidirectional streams in, GOAWAYs out."""

    def __init__(self) -> None:
        self.control: int | None = None
        self.others: set[int] = set()
        self.buffer = b""
        self.passing = 0  # octets that are left of a frame of another type

    def receive_data(self, stream: int, data: bytes) -> int | None:
        """The stream that the newest GOAWAY names, from which on nothing is answered; None when there is none."""
        if stream != self.control:
            if not data or stream in self.others:
                return None
            if data[0] != CONTROL or self.control is not None:
                self.others.add(stream)
                return None
            self.control, data = stream, data[1:]
        self.buffer += data
        return self._read_frames()

    def _read_frames(self) -> int | None:
        last = None
        while True:
            passed = min(self.passing, len(self.buffer))
            self.buffer = self.buffer[passed:]
            self.passing -= passed
            kind, at = read_number(self.buffer, 0)
            size, at = read_number(self.buffer, at)
            if at < 0:
                return last
            if kind == GOAWAY and size <= MAX_GOAWAY:
                if len(self.buffer) < at + size:
                    return last
                last, _ = read_number(self.buffer, at)
            self.passing = at + size


def read_number(octets: bytes, at: int) -> tuple[int, int]:
    """A variable-length integer (RFC 9000 section 16) and where it ends; -1 when it is not all there."""
    if at < 0 or at >= len(octets):
        return 0, -1
    size = 1 << (octets[at] >> 6)
    if at + size > len(octets):
        return 0, -1
    return int.from_bytes(octets[at : at + size], "big") & ((1 << (8 * size - 2)) - 1), at + size
