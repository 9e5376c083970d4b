"""Data frames in runs: those that came together stay together, found by their lengths alone and not looked into."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from dnsproxy.dnstap.framestreams import MAX_FRAME, Control, Damage, Deframer, Frame

_length: Final = struct.Struct("!I").unpack_from


class Run(NamedTuple):
    """Whole data frames, one behind the other, lengths included; `offset` is the first one's in its stream."""

    octets: bytes
    frames: int = 0
    offset: int = 0

    def payloads(self) -> list[bytes]:
        """The frames one by one, without their lengths."""
        octets, end = self.octets, len(self.octets)
        found = []
        at = 0
        while at < end:
            start = at + 4
            at = start + _length(octets, at)[0]
            found.append(octets[start:at])
        return found

    def recount(self) -> int:
        """How many there are."""
        return len(self.whole_frames())

    def whole_frames(self) -> list[bytes]:
        """The frames one by one, each with its length."""
        octets, end = self.octets, len(self.octets)
        found = []
        at = 0
        while at < end:
            start = at
            at += 4 + _length(octets, at)[0]
            found.append(octets[start:at])
        return found


class RunCutter(Deframer):
    """Cuts octets into runs of data frames, and what stands between them. A frame costs 0.1 µs."""

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        super().__init__(max_frame)
        self._counts: list[int] = []  # frames of each run that was cut

    def cut(self, data: bytes) -> list[Run | Control | Damage]:
        """What became whole, in order; a run ends with the octets that there are."""
        self._counts = []
        offset = self.offset + min(self._skip, len(data))
        frames = self.receive_data(data)
        counts = iter(self._counts)
        items: list[Run | Control | Damage] = []
        for frame in frames:
            if isinstance(frame, bytes):
                items.append(Run(frame, next(counts), offset))
                offset += len(frame)
            else:
                items.append(frame)
                offset += frame.size
        return items

    def _cut(self, octets: bytes) -> tuple[list[Frame], int]:
        frames: list[Frame] = []
        at, end = 0, 0
        while not self._dead:
            at = self._walk(octets, end)
            if at > end:
                frames.append(octets[end:at])
            end = self._cut_other(octets, at, frames)
            if end == at:
                break
        return frames, end

    def _walk(self, octets: bytes, at: int) -> int:
        """Where the data frames that begin at `at` end, one behind the other and as far as they are whole."""
        begin, count = at, 0
        longest = self._max_frame
        last = len(octets) - 4
        while at <= last:
            length = _length(octets, at)[0]
            if not 0 < length <= longest or at + length > last:
                break
            at += 4 + length
            count += 1
        if count:
            self._counts.append(count)
            self.offset += at - begin
        return at

    def _cut_other(self, octets: bytes, at: int, frames: list[Frame]) -> int:
        """Where the frame at `at` ends, which is no data frame that is whole; `at` itself if it is not whole either."""
        available = len(octets)
        if available - at < 4:
            return at
        length = _length(octets, at)[0]
        if 0 < length <= self._max_frame:
            self._need = 4 + length
            return at
        end = self._refuse(length, at, available, frames) if length else self._cut_control(octets, at, frames)
        self.offset += end - at
        return end
