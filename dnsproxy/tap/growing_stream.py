"""A Frame Streams file that is being written, as its octets come: runs of data frames out, damage told; no I/O."""

from __future__ import annotations

from dnsproxy.dnstap.framestreams import MAX_FRAME
from dnsproxy.tap.damage import START, TRUNCATED, Damages
from dnsproxy.tap.file_stream import ESCAPE
from dnsproxy.tap.runs import Run, RunCutter
from dnsproxy.tap.stream_order import StreamOrder


class GrowingStream:
    """As FileStream, of a file to which octets are added; what is not whole at its end is read again.

    `offset` is where to go on. `stop_offset` is where the last STOP began, behind which nothing stands yet: a writer
    that was killed before it gave the file its name goes on there. Frames are counted as good ones; whoever looks into
    them takes back those that are not.
    """

    def __init__(
        self, damages: Damages, max_frame: int = MAX_FRAME, offset: int = 0, *, stop_offset: int | None = None
    ) -> None:
        self.damages = damages
        self.received = offset
        self._order = StreamOrder(damages, stop_offset)
        self._max_frame = max_frame
        self._cutter = self._new_cutter(offset)

    @property
    def is_over(self) -> bool:
        """Whether nothing more can be read."""
        return self._order.is_over

    @property
    def stop_offset(self) -> int | None:
        """As the class says."""
        return self._order.stop_offset

    @property
    def offset(self) -> int:
        """Octets read in whole frames."""
        return self._cutter.offset

    @property
    def is_stopped(self) -> bool:
        """Whether what has come ends with STOP."""
        return self.offset > 0 and not (self._order.is_open or self._cutter.is_inside_frame)

    def receive_data(self, data: bytes) -> list[Run]:
        """The frames that became whole."""
        self.received += len(data)
        if not self.is_over and self._is_foreign(data):
            self._order.end_with(START, 0, "no START at the beginning")
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
        self.received = self.stop_offset
        self._order.is_open, self._order.stop_offset = True, None

    def end(self) -> None:
        """No more octets will come."""
        if not self.is_over and self._cutter.is_inside_frame:
            self.damages.report(TRUNCATED, self.received, f"the end is inside the frame at offset {self.offset}")
        self._order.is_over = True

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
                self._order.handle(item, offset)
                offset += item.size
            if self.is_over:
                break
        return runs

    def _runs(self, run: Run) -> list[Run]:
        if not self._order.is_open:
            self._order.no_start(run.offset, "data")
            return []
        self.damages.frames += run.frames
        return [run]

    def __repr__(self) -> str:
        return f"<GrowingStream {self.damages.stream} at {self.offset}>"
