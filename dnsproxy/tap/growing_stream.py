"""A Frame Streams file that is being written, as its octets come: runs of data frames out, damage told; no I/O."""

from __future__ import annotations

from dnsproxy.dnstap.framestreams import DNSTAP, MAX_FRAME, Control, ControlType, Damage
from dnsproxy.tap.damage import CONTENT_TYPE, CONTROL, START, TRUNCATED, Damages
from dnsproxy.tap.file_stream import ESCAPE
from dnsproxy.tap.runs import Run, RunCutter


class GrowingStream:
    """As FileStream, of a file to which octets are added; what is not whole at its end is read again.

    `offset` is where to go on. `stop_offset` is where the last STOP began, behind which nothing stands yet: a writer
    that was killed before it gave the file its name goes on there. Frames are counted as good ones; whoever looks into
    them takes back those that are not.
    """

    def __init__(self, damages: Damages, max_frame: int = MAX_FRAME, offset: int = 0, *, is_open: bool = False) -> None:
        self.damages = damages
        self.is_over = False
        self.received = offset
        self.stop_offset: int | None = None
        self._is_open = is_open  # between START and STOP
        self._max_frame = max_frame
        self._cutter = self._new_cutter(offset)

    @property
    def offset(self) -> int:
        """Octets read in whole frames."""
        return self._cutter.offset

    @property
    def is_stopped(self) -> bool:
        """Whether what has come ends with STOP."""
        return self.offset > 0 and not (self._is_open or self._cutter.is_inside_frame)

    def receive_data(self, data: bytes) -> list[Run]:
        """The frames that became whole."""
        self.received += len(data)
        if not self.is_over and self._is_foreign(data):
            self._end_with(START, 0, "no START at the beginning")
        return [] if self.is_over else self._cut(data)

    def go_back(self) -> None:
        """Forget what is not whole: more of it will come, or something else instead."""
        if self.offset < self.received and not self.is_over:
            self._cutter = self._new_cutter(self.offset)
            self.received = self.offset

    def undo_stop(self) -> None:
        """Something else stands where the last STOP began."""
        assert self.stop_offset is not None
        self._cutter = self._new_cutter(self.stop_offset)
        self.received, self.stop_offset, self._is_open = self.stop_offset, None, True

    def end(self) -> None:
        """No more octets will come."""
        if not self.is_over and self._cutter.is_inside_frame:
            self.damages.report(TRUNCATED, self.received, f"the end is inside the frame at offset {self.offset}")
        self.is_over = True

    def _is_foreign(self, data: bytes) -> bool:
        """Whether that is the beginning of a file of another kind."""
        is_first = self.offset == 0 and not self._cutter.is_inside_frame
        return is_first and not data.startswith(ESCAPE[: len(data)])

    def _new_cutter(self, offset: int) -> RunCutter:
        cutter = RunCutter(self._max_frame)
        cutter.offset = offset
        return cutter

    def _cut(self, data: bytes) -> list[Run]:
        offset = self.offset
        runs = []
        for item in self._cutter.cut(data):
            if isinstance(item, Run):
                runs += self._runs(item)
                offset = item.offset + len(item.octets)
            else:
                self._handle(item, offset)
                offset += item.size
            if self.is_over:
                break
        return runs

    def _runs(self, run: Run) -> list[Run]:
        if not self._is_open:
            self._no_start(run.offset, "data")
            return []
        self.damages.frames += run.frames
        return [run]

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
            self._is_open, self.stop_offset = True, None
            if not control.matches(DNSTAP):
                others = ", ".join(ascii(each.decode("utf-8", "replace")) for each in control.content_types)
                self._end_with(CONTENT_TYPE, offset, f"the stream has {others}")
        elif not self._is_open:
            self._no_start(offset, control.name)
        elif control.type == ControlType.STOP:
            self._is_open, self.stop_offset = False, offset
        else:
            self.damages.report(CONTROL, offset, f"{control.name} behind START")

    def _no_start(self, offset: int, found: str) -> None:
        where = "behind STOP" if offset else "at the beginning"
        self._end_with(START, offset, f"{found} {where}, where START should be")

    def _end_with(self, kind: str, offset: int, reason: str) -> None:
        self.damages.report(kind, offset, reason)
        self.is_over = True

    def __repr__(self) -> str:
        return f"<GrowingStream {self.damages.stream} at {self.offset}>"
