"""The receiving side of a connection from any producer: octets in, runs of data frames out, damage told; no I/O."""

from __future__ import annotations

from typing import Final

from dnsproxy.dnstap.framestreams import (
    DNSTAP,
    MAX_FRAME,
    RECEIVER_HEARS,
    Control,
    ControlType,
    Damage,
    State,
    control_frame,
)
from dnsproxy.tap.damage import CONTENT_TYPE, CONTROL, HANDSHAKE, START, TRUNCATED, Damages
from dnsproxy.tap.runs import Run, RunCutter

ACCEPT: Final = control_frame(ControlType.ACCEPT, DNSTAP)
FINISH: Final = control_frame(ControlType.FINISH)


class Receiver:
    """From READY or START to STOP, or to damage that ends a connection; then `is_over`.

    Frames are counted as good ones; whoever looks into them takes back those that are not.
    """

    def __init__(self, damages: Damages, max_frame: int = MAX_FRAME) -> None:
        self.damages = damages
        self.is_over = False
        self.received = 0  # octets
        self._state = State.IDLE
        self._cutter = RunCutter(max_frame)
        self._bidirectional = False
        self._is_broken = False  # what follows is not read
        self._outgoing = b""

    @property
    def has_started(self) -> bool:
        """Whether START was said, perhaps STOP too."""
        return self._state in {State.OPEN, State.CLOSED}

    @property
    def is_open(self) -> bool:
        """Whether START was said, so that data may come."""
        return self._state is State.OPEN

    @property
    def is_stopped(self) -> bool:
        """Whether STOP was said: the stream is whole."""
        return self._state is State.CLOSED

    def receive_data(self, data: bytes) -> list[Run]:
        """The frames that became whole."""
        self.received += len(data)
        offset = self._cutter.offset
        runs = []
        for item in self._cutter.cut(data):
            if self._is_broken:
                break
            if isinstance(item, Run):
                offset = item.offset
                if self._state is State.OPEN:
                    self.damages.frames += item.frames
                    runs.append(item)
                else:
                    self._no_start(offset, "data")
                offset += len(item.octets)
            else:
                self._handle(item, offset)
                offset += item.size
        return runs

    def data_to_send(self) -> bytes:
        """Octets for the producer, each given once."""
        octets, self._outgoing = self._outgoing, b""
        return octets

    def end(self, reason: str = "the connection ended") -> None:
        """No more octets will come."""
        if self.is_over:
            return
        if self._state is not State.OPEN:
            self.give_up(reason)
        elif self._cutter.is_inside_frame:
            self.damages.report(TRUNCATED, self.received, f"{reason} inside the frame at offset {self._cutter.offset}")
        self.is_over = True

    def give_up(self, reason: str) -> None:
        """READY or START did not come."""
        missing = "START" if self._state is State.ACCEPTED else "READY or START"
        self._end_with(HANDSHAKE, self.received, f"{reason} before {missing}")

    def _handle(self, item: Control | Damage, offset: int) -> None:
        if isinstance(item, Control):
            self._hear(item, offset)
        elif self._state is not State.OPEN:
            self._no_start(offset, item.reason)
        else:
            self.damages.report(item.kind, offset, item.reason)
            self.is_over = self._is_broken = item.fatal or item.kind == CONTROL

    def _hear(self, control: Control, offset: int) -> None:
        if not control.is_known:
            return
        state = RECEIVER_HEARS.get((self._state, control.type))
        if state is None and self._state is State.OPEN:
            self._end_with(CONTROL, offset, f"{control.name} behind START")
        elif state is None:
            self._no_start(offset, control.name)
        elif not control.matches(DNSTAP):
            others = ", ".join(ascii(each.decode("utf-8", "replace")) for each in control.content_types)
            self._end_with(CONTENT_TYPE, offset, f"the producer offers {others}")
        else:
            self._enter(state)

    def _enter(self, state: State) -> None:
        self._state = state
        if state is State.ACCEPTED:
            self._bidirectional = True
            self._outgoing += ACCEPT
        elif state is State.CLOSED:
            self._outgoing += FINISH if self._bidirectional else b""
            self.is_over = True

    def _no_start(self, offset: int, found: str) -> None:
        if self.is_stopped:
            self._end_with(START, offset, f"{found} behind STOP")
        else:
            self._end_with(START, offset, f"{found} where {'START' if offset else 'READY or START'} should be")

    def _end_with(self, kind: str, offset: int, reason: str) -> None:
        self.damages.report(kind, offset, reason)
        self.is_over = self._is_broken = True

    def __repr__(self) -> str:
        return f"<Receiver {self.damages.stream} {self._state.value}>"
