"""A Frame Streams file as its octets come: good frames out, all damage reported; no I/O."""

from __future__ import annotations

from typing import Final

from dnsproxy.dnstap.framestreams import MAX_FRAME, Deframer, Frame
from dnsproxy.tap.damage import START, TRUNCATED, UNDECODABLE, Damages
from dnsproxy.tap.frame import TapFrame, Undecodable
from dnsproxy.tap.stream_order import StreamOrder

ESCAPE: Final = b"\0\0\0\0"  # what a stream begins with, as START is a control frame


class FileStream:
    """From START on, through files joined by `cat`; STOP may be missing. `is_over` after damage that ends a stream."""

    def __init__(self, damages: Damages, max_frame: int = MAX_FRAME) -> None:
        self.damages = damages
        self._order = StreamOrder(damages)
        self._deframer = Deframer(max_frame)
        self.received = 0  # octets
        self._head = b""  # the file's first octets, as long as they are too few to say what it is

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be read."""
        return self._order.is_over

    @property
    def offset(self) -> int:
        """Octets read in whole frames."""
        return self._deframer.offset

    @property
    def is_inside_frame(self) -> bool:
        """Whether an end now would cut a frame."""
        return bool(self._head) or self._deframer.is_inside_frame

    @property
    def is_stopped(self) -> bool:
        """Whether what has come ends with STOP."""
        return self.offset > 0 and not self._order.is_open and not self.is_inside_frame

    def receive_data(self, data: bytes) -> list[TapFrame]:
        """The good frames that became whole."""
        self.received += len(data)
        if self.offset == 0 and not self.is_over:
            data = self._begin(data)
        if self.is_over:
            return []
        offset = self.offset
        items = self._deframer.receive_data(data)
        try:
            frames = [TapFrame(item) for item in items if type(item) is bytes]
        except Undecodable:
            return self._read(items, offset)
        if not self._order.is_open or len(frames) < len(items):
            return self._read(items, offset)
        self.damages.frames += len(frames)
        return frames

    def end(self) -> None:
        """No more octets will come."""
        if self.is_over:
            return
        if self.is_inside_frame:
            cut = f"the frame at offset {self.offset}" if self.offset < self.received else "an oversize frame"
            self.damages.report(TRUNCATED, self.received, f"the end is inside {cut}")
        elif self.offset == 0:
            self.damages.report(START, 0, "no octets, and so no START")
        self._order.is_over = True

    def _begin(self, data: bytes) -> bytes:
        """What is to be read once it is clear that it is no file of another kind."""
        if self._deframer.is_inside_frame:
            return data
        self._head += data
        if not self._head.startswith(ESCAPE[: len(self._head)]):
            self._order.end_with(START, 0, "no START at the beginning")
        if len(self._head) < len(ESCAPE):
            return b""
        data, self._head = self._head, b""
        return data

    def _read(self, items: list[Frame], offset: int) -> list[TapFrame]:
        """One by one, where there is more than data."""
        frames = []
        for item in items:
            if isinstance(item, bytes):
                frames += self._data(item, offset)
                offset += 4 + len(item)
            else:
                self._order.handle(item, offset)
                offset += item.size
            if self.is_over:
                break
        self.damages.frames += len(frames)
        return frames

    def _data(self, payload: bytes, offset: int) -> list[TapFrame]:
        if not self._order.is_open:
            self._order.no_start(offset, "data")
            return []
        try:
            return [TapFrame(payload)]
        except Undecodable as exc:
            self.damages.report(UNDECODABLE, offset, str(exc))
            return []

    def __repr__(self) -> str:
        return f"<FileStream {self.damages.stream} at {self.offset}>"
