"""A Frame Streams file as its octets come: good frames out, all damage reported; no I/O."""

from __future__ import annotations

from typing import Final

from dnsproxy.dnstap.framestreams import DNSTAP, MAX_FRAME, Control, ControlType, Damage, Deframer, Frame
from dnsproxy.tap.damage import CONTENT_TYPE, CONTROL, START, TRUNCATED, UNDECODABLE, Damages
from dnsproxy.tap.frame import TapFrame, Undecodable

ESCAPE: Final = b"\0\0\0\0"  # what a stream begins with, as START is a control frame


class FileStream:
    """From START on, through files joined by `cat`; STOP may be missing. `is_over` after damage that ends a stream."""

    def __init__(self, damages: Damages, max_frame: int = MAX_FRAME) -> None:
        self.damages = damages
        self.is_over = False
        self._deframer = Deframer(max_frame)
        self._is_open = False  # between START and STOP
        self.received = 0  # octets
        self._head = b""  # the file's first octets, as long as they are too few to say what it is

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
        return self.offset > 0 and not self._is_open and not self.is_inside_frame

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
        if not self._is_open or len(frames) < len(items):
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
        self.is_over = True

    def _begin(self, data: bytes) -> bytes:
        """What is to be read once it is clear that it is no file of another kind."""
        if self._deframer.is_inside_frame:
            return data
        self._head += data
        if not self._head.startswith(ESCAPE[: len(self._head)]):
            self._end_with(START, 0, "no START at the beginning")
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
                self._handle(item, offset)
                offset += item.size
            if self.is_over:
                break
        self.damages.frames += len(frames)
        return frames

    def _data(self, payload: bytes, offset: int) -> list[TapFrame]:
        if not self._is_open:
            self._no_start(offset, "data")
            return []
        try:
            return [TapFrame(payload)]
        except Undecodable as exc:
            self.damages.report(UNDECODABLE, offset, str(exc))
            return []

    def _handle(self, item: Control | Damage, offset: int) -> None:
        if isinstance(item, Control):
            self._hear(item, offset)
        elif self._is_open:
            self.damages.report(item.kind, offset, item.reason)
            self.is_over = item.fatal
        else:
            self._no_start(offset, item.reason)

    def _hear(self, control: Control, offset: int) -> None:
        if not control.is_known:
            return
        if control.type == ControlType.START:
            self._is_open = True
            if not control.matches(DNSTAP):
                others = ", ".join(ascii(each.decode("utf-8", "replace")) for each in control.content_types)
                self._end_with(CONTENT_TYPE, offset, f"the stream has {others}")
        elif not self._is_open:
            self._no_start(offset, control.name)
        elif control.type == ControlType.STOP:
            self._is_open = False
        else:
            self.damages.report(CONTROL, offset, f"{control.name} behind START")

    def _no_start(self, offset: int, found: str) -> None:
        where = "behind STOP" if offset else "at the beginning"
        self._end_with(START, offset, f"{found} {where}, where START should be")

    def _end_with(self, kind: str, offset: int, reason: str) -> None:
        self.damages.report(kind, offset, reason)
        self.is_over = True

    def __repr__(self) -> str:
        return f"<FileStream {self.damages.stream} at {self.offset}>"
