"""Frame Streams, the protocol under dnstap (specified in fstrm's control.h): bytes in, frames out, no sockets."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Final

DNSTAP: Final = b"protobuf:dnstap.Dnstap"
MAX_CONTROL: Final = 512  # octets of a control frame behind its two lengths; more is an attack or another protocol
MAX_CONTENT_TYPE: Final = 256
MAX_FRAME: Final = 1 << 20  # octets of a data frame that a reader takes; DNS messages end at 64 KiB
MAX_HEARD: Final = 1 << 16  # octets that a sender listens to: ACCEPT and FINISH take 532, unknown ones may stand around
MAX_SKIPPED: Final = 16 << 20  # a longer frame is taken for lost synchronisation

_LENGTH = struct.Struct("!I")
_CONTENT_TYPE_FIELD: Final = 1


class ControlType(IntEnum):
    """READY and ACCEPT open a bidirectional stream, START and STOP enclose data, FINISH confirms STOP."""

    ACCEPT = 1
    START = 2
    STOP = 3
    READY = 4
    FINISH = 5


CONTROL_TYPES: Final = frozenset(int(type) for type in ControlType)
MOST_CONTENT_TYPES: Final = {ControlType.START: 1, ControlType.STOP: 0, ControlType.FINISH: 0}  # READY, ACCEPT: any


class ProtocolError(Exception):
    """The peer did what Frame Streams do not allow; the text says what."""


@dataclass(frozen=True)
class Control:
    """A control frame; a type that this version does not know is a plain number, and to be ignored.

    `size` is the whole frame's where it was read.
    """

    type: int
    content_types: tuple[bytes, ...] = ()
    size: int = field(default=0, compare=False)

    @property
    def is_known(self) -> bool:
        """Whether this version knows the type."""
        return self.type in CONTROL_TYPES

    @property
    def name(self) -> str:
        """READY, ACCEPT, …; only of known types."""
        return ControlType(self.type).name

    def matches(self, content_type: bytes) -> bool:
        """Whether that content type is among those named; naming none means any."""
        return not self.content_types or content_type in self.content_types


@dataclass(frozen=True)
class Damage:
    """What stood where a good frame should: `kind` is oversize or control, `offset` where it began.

    `size` is the whole frame's. After fatal damage nothing can be read any more.
    """

    kind: str
    offset: int
    reason: str
    fatal: bool = False
    size: int = field(default=0, compare=False)


Frame = bytes | Control | Damage


def control_frame(type: int, *content_types: bytes) -> bytes:
    """A whole control frame."""
    payload = _LENGTH.pack(type)
    for content_type in content_types:
        payload += struct.pack("!II", _CONTENT_TYPE_FIELD, len(content_type)) + content_type
    return struct.pack("!II", 0, len(payload)) + payload


def data_frame(payload: bytes) -> bytes:
    """A whole data frame; the payload is not empty."""
    return _LENGTH.pack(len(payload)) + payload


def parse_control(payload: bytes) -> Control:
    """Read what stands behind a control frame's two lengths; ProtocolError says what is wrong with it."""
    if len(payload) < 4:
        raise ProtocolError("control frame without type")
    type = _LENGTH.unpack_from(payload)[0]
    if type not in CONTROL_TYPES:
        return Control(type, size=8 + len(payload))
    control = Control(type, tuple(_content_types(payload)), 8 + len(payload))
    if len(control.content_types) > MOST_CONTENT_TYPES.get(type, len(control.content_types)):
        raise ProtocolError(f"{control.name} with {len(control.content_types)} content types")
    return control


def _content_types(payload: bytes) -> list[bytes]:
    found = []
    at = 4
    while at < len(payload):
        if len(payload) - at < 8:
            raise ProtocolError("control frame ends inside a field")
        field, length = struct.unpack_from("!II", payload, at)
        if field != _CONTENT_TYPE_FIELD:
            raise ProtocolError(f"control frame with field {field}")
        if length > MAX_CONTENT_TYPE or length > len(payload) - at - 8:
            raise ProtocolError(f"content type of {length} octets")
        found.append(payload[at + 8 : at + 8 + length])
        at += 8 + length
    return found


class Deframer:
    """Cuts octets into frames, whatever pieces they come in.

    A data frame longer than `max_frame` is passed over exactly, without being kept. After fatal damage nothing more is
    read.
    """

    def __init__(self, max_frame: int = MAX_FRAME) -> None:
        self._max_frame = max_frame
        self._pieces: list[bytes] = []  # of a frame that is not whole yet
        self._have = 0
        self._need = 0  # octets without which the next frame cannot be whole
        self._skip = 0  # octets of an oversize frame still to come
        self._dead = False
        self.offset = 0  # in the stream, of the first octet of the frame that is not whole yet

    @property
    def is_inside_frame(self) -> bool:
        """Whether an end now would cut a frame."""
        return bool(self._have or self._skip) and not self._dead

    def receive_data(self, data: bytes) -> list[Frame]:
        """The frames that became whole."""
        data = self._pass_over(data)
        if self._dead or not data:
            return []
        self._pieces.append(data)
        self._have += len(data)
        if self._have < self._need:
            return []
        octets = b"".join(self._pieces)
        self._need = 0
        frames, end = self._cut(octets)
        self._have = len(octets) - end
        self._pieces = [octets[end:]] if self._have else []
        return frames

    def _pass_over(self, data: bytes) -> bytes:
        if not self._skip:
            return data
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self.offset += skipped
        return data[skipped:]

    def _cut(self, octets: bytes) -> tuple[list[Frame], int]:
        """Frames at the start of `octets`, and where what is left begins."""
        frames: list[Frame] = []
        at, available = 0, len(octets)
        unpack = _LENGTH.unpack_from
        while available - at >= 4 and not self._dead:
            length = unpack(octets, at)[0]
            end = at + 4 + length
            if 0 < length <= self._max_frame:
                if end > available:
                    self._need = end - at
                    break
                frames.append(octets[at + 4 : end])
            elif length:
                end = self._refuse(length, at, available, frames)
            else:
                end = self._cut_control(octets, at, frames)
                if end == at:
                    break
            self.offset += end - at
            at = end
        return frames, at

    def _refuse(self, length: int, at: int, available: int, frames: list[Frame]) -> int:
        self._dead = length > MAX_SKIPPED
        frames.append(Damage("oversize", self.offset, f"frame of {length} octets", self._dead, 4 + length))
        end = at + 4 + length
        self._skip = max(end - available, 0)
        return min(end, available)

    def _cut_control(self, octets: bytes, at: int, frames: list[Frame]) -> int:
        """Where the control frame at `at` ends; `at` itself while it is not whole."""
        if len(octets) - at < 8:
            return at
        length = _LENGTH.unpack_from(octets, at + 4)[0]
        end = at + 8 + length
        if length > MAX_CONTROL:
            self._dead = True
            frames.append(Damage("control", self.offset, f"control frame of {length} octets", fatal=True))
            return len(octets)
        if end > len(octets):
            return at
        try:
            frames.append(parse_control(octets[at + 8 : end]))
        except ProtocolError as exc:
            frames.append(Damage("control", self.offset, str(exc), size=8 + length))
        return int(end)


class State(Enum):
    """Where a stream stands, the same for both sides."""

    IDLE = "before anything was said"
    OFFERED = "READY was said"
    ACCEPTED = "ACCEPT was said"
    OPEN = "START was said: data flows"
    STOPPED = "STOP was said"
    CLOSED = "nothing more will come"


_SENDER_HEARS: Final[dict[tuple[State, int], State]] = {
    (State.OFFERED, ControlType.ACCEPT): State.OPEN,
    (State.STOPPED, ControlType.FINISH): State.CLOSED,
}
RECEIVER_HEARS: Final[dict[tuple[State, int], State]] = {
    (State.IDLE, ControlType.READY): State.ACCEPTED,
    (State.IDLE, ControlType.START): State.OPEN,
    (State.ACCEPTED, ControlType.START): State.OPEN,
    (State.OPEN, ControlType.STOP): State.CLOSED,
}


class Writer:
    """The sending side of a stream: methods return the octets to send.

    Bidirectional streams begin with READY and wait for ACCEPT, and end with STOP and wait for FINISH; the others, files
    among them, begin with START and end with STOP.
    """

    def __init__(self, content_type: bytes = DNSTAP, *, bidirectional: bool = True) -> None:
        self.state = State.IDLE
        self._content_type = content_type
        self._bidirectional = bidirectional
        self._deframer = Deframer(max_frame=0)
        self._heard = 0

    def start(self) -> bytes:
        """The first octets; data may follow once `state` is OPEN."""
        assert self.state is State.IDLE, self.state
        if self._bidirectional:
            self.state = State.OFFERED
            return control_frame(ControlType.READY, self._content_type)
        self.state = State.OPEN
        return control_frame(ControlType.START, self._content_type)

    def receive_data(self, data: bytes) -> bytes:
        """Take what the receiver said; ProtocolError when it may not say that now, or says far too much."""
        self._heard += len(data)
        if self._heard > MAX_HEARD:
            raise ProtocolError(f"the receiver said more than {MAX_HEARD} octets")
        reply = b""
        for frame in self._deframer.receive_data(data):
            reply += self._hear(frame)
        return reply

    def stop(self) -> bytes:
        """The last octets; the stream is over once `state` is CLOSED."""
        assert self.state is State.OPEN, self.state
        self.state = State.STOPPED if self._bidirectional else State.CLOSED
        return control_frame(ControlType.STOP)

    def _hear(self, frame: Frame) -> bytes:
        if not isinstance(frame, Control):
            raise ProtocolError(frame.reason if isinstance(frame, Damage) else "data from the receiver")
        if not frame.is_known:
            return b""
        state = _SENDER_HEARS.get((self.state, frame.type))
        if state is None:
            raise ProtocolError(f"{frame.name} when {self.state.value}")
        if not frame.matches(self._content_type):
            raise ProtocolError(f"the receiver takes {_listed(frame.content_types)}")
        self.state = state
        return control_frame(ControlType.START, self._content_type) if state is State.OPEN else b""


@dataclass(frozen=True)
class Started:
    """Data may come; `bidirectional` if the sender began with READY."""

    content_type: bytes | None
    bidirectional: bool


@dataclass(frozen=True)
class Stopped:
    """The sender said STOP: the stream is whole."""


@dataclass(frozen=True)
class Broken:
    """The sender did what it may not: nothing that follows is read."""

    reason: str


ReaderEvent = Started | bytes | Damage | Stopped | Broken


class Reader:
    """The receiving side of a stream: `receive_data` gives events, `data_to_send` what the sender is waiting for."""

    def __init__(self, content_type: bytes = DNSTAP, *, max_frame: int = MAX_FRAME) -> None:
        self.state = State.IDLE
        self._content_type = content_type
        self._deframer = Deframer(max_frame)
        self._bidirectional = False
        self._is_broken = False
        self._outgoing = b""

    @property
    def offset(self) -> int:
        """Octets read in whole frames."""
        return self._deframer.offset

    @property
    def is_inside_frame(self) -> bool:
        """Whether an end now would cut a frame."""
        return self._deframer.is_inside_frame

    def receive_data(self, data: bytes) -> list[ReaderEvent]:
        """What the octets mean, in order; after Stopped and Broken nothing comes any more, but Broken after Stopped."""
        events: list[ReaderEvent] = []
        for frame in self._deframer.receive_data(data):
            if self._is_broken:
                break
            if self.state is State.OPEN and not isinstance(frame, Control):
                events.append(frame)
            else:
                events += self._hear(frame)
        return events

    def data_to_send(self) -> bytes:
        """Octets for the sender, each given once."""
        octets, self._outgoing = self._outgoing, b""
        return octets

    def _hear(self, frame: Frame) -> list[ReaderEvent]:
        if not isinstance(frame, Control):
            return self._break(frame.reason if isinstance(frame, Damage) else f"data when {self.state.value}")
        if not frame.is_known:
            return []
        state = RECEIVER_HEARS.get((self.state, frame.type))
        if state is None:
            return self._break(f"{frame.name} when {self.state.value}")
        if not frame.matches(self._content_type):
            return self._break(f"the sender offers {_listed(frame.content_types)}")
        self.state = state
        return self._enter(state, frame)

    def _break(self, reason: str) -> list[ReaderEvent]:
        self._is_broken = True
        return [Broken(reason)]

    def _enter(self, state: State, control: Control) -> list[ReaderEvent]:
        if state is State.ACCEPTED:
            self._bidirectional = True
            self._outgoing += control_frame(ControlType.ACCEPT, self._content_type)
            return []
        if state is State.OPEN:
            content_type = control.content_types[0] if control.content_types else None
            return [Started(content_type, self._bidirectional)]
        if self._bidirectional:
            self._outgoing += control_frame(ControlType.FINISH)
        return [Stopped()]


def _listed(content_types: tuple[bytes, ...]) -> str:
    return ", ".join(repr(content_type.decode("ascii", "backslashreplace")) for content_type in content_types)
