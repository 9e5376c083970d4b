"""Frame Streams cut out of octets, from the format's description alone: a second opinion on our own reader."""

import struct
from dataclasses import dataclass

ACCEPT, START, STOP, READY, FINISH = 1, 2, 3, 4, 5
CONTENT_TYPE = b"protobuf:dnstap.Dnstap"


def control_frame(kind: int, *, content_type: bool = False) -> bytes:
    typed = struct.pack("!II", 1, len(CONTENT_TYPE)) + CONTENT_TYPE if content_type else b""
    return struct.pack("!III", 0, 4 + len(typed), kind) + typed


@dataclass
class FrameBuffer:
    """Frame Streams cut out of octets: `(kind, payload)`, kind 0 for data frames."""

    octets: bytes = b""

    def feed(self, chunk: bytes) -> list[tuple[int, bytes]]:
        self.octets += chunk
        frames = list[tuple[int, bytes]]()
        at = 0
        while (end := self._end(at)) is not None:
            frames.append(self._frame(at, end))
            at = end
        self.octets = self.octets[at:]
        return frames

    def _end(self, at: int) -> int | None:
        """Where the frame at `at` ends, None while it isn't there as a whole."""
        if len(self.octets) < at + 8:
            return None
        length, control = struct.unpack_from("!II", self.octets, at)
        end = int(at + 8 + control if length == 0 else at + 4 + length)
        return end if end <= len(self.octets) else None

    def _frame(self, at: int, end: int) -> tuple[int, bytes]:
        if self.octets[at : at + 4] == b"\0\0\0\0":
            return int.from_bytes(self.octets[at + 8 : at + 12]), self.octets[at + 12 : end]
        return 0, self.octets[at + 4 : end]
