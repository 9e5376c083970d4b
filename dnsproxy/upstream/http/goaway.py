"""GOAWAY frames taken out of what an HTTP/2 peer sends: h2 would give up streams that the peer still answers."""

from __future__ import annotations

from typing import Final

HEADER: Final = 9  # octets before each frame (RFC 9113 section 4.1)
GOAWAY: Final = 7
MIN_GOAWAY: Final = 8  # octets of last stream and error code
MAX_FRAME: Final = 16_384  # octets, as long as we have not allowed more (RFC 9113 section 4.2)
RESERVED: Final = 0x7FFFFFFF


class FrameTooLong(Exception):
    """The peer sends a frame that is longer than it may be, or does not speak HTTP/2 at all."""


class GoawayFilter:
    """Bytes in; out come the bytes without whole GOAWAY frames, and the last stream of each of those."""

    def __init__(self) -> None:
        self.passing = 0  # octets that are left of a frame of another type
        self.held = b""  # the beginning of a frame that may be a GOAWAY

    def receive_data(self, data: bytes) -> tuple[bytes, list[int]]:
        """FrameTooLong before such a frame is waited for; a GOAWAY that is too short is left for h2 to refuse."""
        data = self.held + data
        self.held = b""
        at = self.passing
        size = len(data)
        kept: list[bytes] = []
        start = 0
        last_streams: list[int] = []
        while at < size:
            if size - at < HEADER:
                return self._hold(data, start, at, kept), last_streams
            length = int.from_bytes(data[at : at + 3], "big")
            if length > MAX_FRAME:
                raise FrameTooLong(f"a frame of {length} octets")
            end = at + HEADER + length
            if data[at + 3] == GOAWAY and length >= MIN_GOAWAY:
                if end > size:
                    return self._hold(data, start, at, kept), last_streams
                last_streams.append(int.from_bytes(data[at + HEADER : at + HEADER + 4], "big") & RESERVED)
                kept.append(data[start:at])
                start = end
            at = end
        self.passing = at - size
        kept.append(data[start:])
        return b"".join(kept), last_streams

    def _hold(self, data: bytes, start: int, at: int, kept: list[bytes]) -> bytes:
        """Keep what begins at `at` until there is more."""
        self.passing = 0
        self.held = data[at:]
        return b"".join([*kept, data[start:at]])
