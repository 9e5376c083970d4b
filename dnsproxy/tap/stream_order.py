"""What may come when in a Frame Streams file: START, data frames, STOP, and perhaps START again; no I/O."""

from __future__ import annotations

from dnsproxy.dnstap.framestreams import DNSTAP, Control, ControlType, Damage
from dnsproxy.tap.damage import CONTENT_TYPE, CONTROL, START, Damages


class StreamOrder:
    """Told of everything but data, it reports what stands where it may not.

    `is_over` after damage that ends a stream; `is_open` between START and STOP. `stop_offset` is where the last STOP
    began, behind which nothing stands yet.
    """

    def __init__(self, damages: Damages, stop_offset: int | None = None) -> None:
        self.damages = damages
        self.is_open = False
        self.is_over = False
        self.stop_offset = stop_offset

    def handle(self, item: Control | Damage, offset: int) -> None:
        """A control frame, or what is none, at that offset."""
        if isinstance(item, Control):
            self._hear(item, offset)
        elif self.is_open:
            self.damages.report(item.kind, offset, item.reason)
            self.is_over = item.fatal
        else:
            self.no_start(offset, item.reason)

    def _hear(self, control: Control, offset: int) -> None:
        if not control.is_known:
            return
        if control.type == ControlType.START:
            self.is_open, self.stop_offset = True, None
            if not control.matches(DNSTAP):
                others = ", ".join(ascii(each.decode("utf-8", "replace")) for each in control.content_types)
                self.end_with(CONTENT_TYPE, offset, f"the stream has {others}")
        elif not self.is_open:
            self.no_start(offset, control.name)
        elif control.type == ControlType.STOP:
            self.is_open, self.stop_offset = False, offset
        else:
            self.damages.report(CONTROL, offset, f"{control.name} behind START")

    def no_start(self, offset: int, found: str) -> None:
        """Something stands where only START may."""
        where = "behind STOP" if offset else "at the beginning"
        self.end_with(START, offset, f"{found} {where}, where START should be")

    def end_with(self, kind: str, offset: int, reason: str) -> None:
        """Nothing behind this can be read."""
        self.damages.report(kind, offset, reason)
        self.is_over = True
