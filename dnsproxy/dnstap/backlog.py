"""What a tap still has to write, bounded by messages and octets, and the books of what became of every message."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from itertools import accumulate
from typing import Final

from dnsproxy.dnstap.ages import Ages
from dnsproxy.dnstap.episode import Drops

MAX_FRAME: Final = 98_304  # octets; golang-dnstap stops reading, for good, at anything longer
SPILL_FRAMES: Final = 100_000  # on their way to a spool beyond the queue: a second's worth at the highest rates
SPILL_OCTETS: Final = 32 << 20  # likewise
NEVER: Final = 1 << 62

QUEUE_FULL: Final = "queue_full"
SPOOL_FULL: Final = "spool_full"
OVERSIZE: Final = "oversize"
SHUTDOWN: Final = "shutdown"
DISCONNECTED: Final = "disconnected"
REASONS: Final = (QUEUE_FULL, SPOOL_FULL, OVERSIZE, SHUTDOWN, DISCONNECTED)


class Backlog:
    """Frames in the order they were offered: in hands that write them, given back by hands, in the spool, waiting.

    offered = sent + queued + the sum of dropped, in every moment. What is full gives up the frame that was offered, or
    with `drops_oldest` the oldest one that is in no hand. `clock` gives seconds; `wake` is called, from within `offer`,
    when as much can be taken as `wake_at` asked for. `take`, `written` and `give_back` are those of a hand of its own.
    """

    def __init__(
        self,
        max_frames: int,
        max_octets: int,
        clock: Callable[[], float],
        wake: Callable[[], None],
        drops_oldest: bool = False,
        max_frame: int = MAX_FRAME,
    ) -> None:
        self._max_frame = max_frame
        self._max_frames = max_frames
        self._max_octets = max_octets
        self._clock = clock
        self._wake = wake
        self._drops_oldest = drops_oldest
        self._waiting: deque[bytes] = deque()
        self._returned: deque[bytes] = deque()  # older than what is in the spool
        self._spilling: list[bytes] = []  # being written to the spool
        self._in_hands = 0
        self._octets = 0  # of all these
        self._bound = max_frames  # of what is in memory; more while a spool takes what is beyond
        self._octets_bound = max_octets  # likewise
        self._wake_at = NEVER
        self._spill = wake
        self._is_watched = False  # `_spill` is to be called
        self._alarm = 0  # number waiting at which `offer` has to think; most calls do not
        self._octets_alarm = 0  # octets likewise
        self._end_reason = ""  # why whatever is offered after the end is dropped
        self._ages = Ages()
        self.spooled = 0
        self.full_reason = QUEUE_FULL
        self.sent = 0
        self.sent_octets = 0
        self.drops = Drops(REASONS)
        self.dropped = self.drops.counts
        self._hand = Hand(self)
        self._set_alarm()

    # the side of events

    def offer(self, frame: bytes) -> None:
        """Take a frame, length included, or drop and count it; never waits, never raises."""
        octets = self._octets + len(frame)
        if octets > self._octets_alarm or len(self._waiting) >= self._alarm or len(frame) > self._max_frame:
            self._offer_with_care(frame)
            return
        self._octets = octets
        self._waiting.append(frame)

    def lose(self, count: int) -> None:
        """Count messages that were for this tap and had to be given up before they were frames."""
        self._drop(QUEUE_FULL, count)

    def _offer_with_care(self, frame: bytes) -> None:
        reason = self._reason_to_drop(frame)
        if reason:
            self._drop(reason, 1)
            return
        if self._wake_at != NEVER:
            self.mark(self._clock())
        self._octets += len(frame)
        self._waiting.append(frame)
        if self._wake_at != NEVER and self.is_due(self._wake_at):
            self._wake_at = NEVER
            self._set_alarm()
            self._wake()
        if self._is_watched and self.is_full:
            self._is_watched = False
            self._set_alarm()
            self._spill()

    def _reason_to_drop(self, frame: bytes) -> str:
        if self._end_reason:
            return self._end_reason
        if len(frame) > self._max_frame:
            return OVERSIZE
        if self._drops_oldest and len(frame) <= self._max_octets:
            self._make_room(len(frame))
        full = self._in_memory >= self._bound or self._octets + len(frame) > self._octets_bound
        return self.full_reason if full else ""

    def _make_room(self, octets: int) -> None:
        while self._in_memory >= self._bound or self._octets + octets > self._octets_bound:
            oldest = self._returned or self._waiting
            if not oldest:
                break
            self._octets -= len(oldest.popleft())
            self._ages.remove(1)
            self._drop(self.full_reason, 1)

    def _drop(self, reason: str, count: int) -> None:
        self.drops.add(self._clock(), reason, count)

    # the side of the writer

    @property
    def queued(self) -> int:
        """Frames not yet written whole, those in the spool included."""
        return self._in_memory + self.spooled

    @property
    def _in_memory(self) -> int:
        return len(self._waiting) + len(self._returned) + self._in_hands + len(self._spilling)

    @property
    def available(self) -> int:
        """Frames that `take` may give: what waits stands behind the spool."""
        waits_for_spool = self.spooled or self._spilling
        return len(self._returned) + (0 if waits_for_spool else len(self._waiting))

    @property
    def offered(self) -> int:
        """Frames that ever came."""
        return self.sent + self.queued + sum(self.dropped.values())

    def is_due(self, frames: int) -> bool:
        """Whether so many frames can be taken, or enough to half fill the queue, or the spool's turn has come."""
        available = self.available
        return available >= frames or self.spooled > 0 or (available > 0 and self._octets > self._max_octets // 2)

    def wake_at(self, frames: int) -> None:
        """Have `wake` called, once, when the next frame makes `is_due(frames)` true."""
        self._wake_at = frames
        self._set_alarm()

    def _set_alarm(self) -> None:
        others = self._in_memory - len(self._waiting)
        alarm = min(self._bound - others, self._wake_at - 1)
        if self._is_watched:
            alarm = min(alarm, self._max_frames - 1 - others)
        self._alarm = -1 if self._end_reason else alarm
        is_calm = self._wake_at == NEVER and not self._is_watched
        self._octets_alarm = self._octets_bound if is_calm else self._max_octets // 2

    def take(self, max_octets: int) -> bytes:
        """As `Hand.take`, of this backlog's own hand; there may be others."""
        return self._hand.take(max_octets)

    def written(self, octets: int) -> None:
        """As `Hand.written`."""
        self._hand.written(octets)

    def give_back(self) -> None:
        """As `Hand.give_back`."""
        self._hand.give_back()

    def hand_out(self, max_octets: int) -> list[bytes]:
        """For hands: the next frames, at least one if there is any, together about `max_octets`."""
        most = self.available
        if self._drops_oldest:
            most = min(most, max(self._max_frames // 2, 1))  # what is in a hand cannot be dropped
        if not self._returned and most == len(self._waiting) and self._octets <= max_octets:
            frames = list(self._waiting)
            self._waiting.clear()
        else:
            frames = self._pop(most, max_octets)
        self._in_hands += len(frames)
        self._set_alarm()
        return frames

    def _pop(self, most: int, max_octets: int) -> list[bytes]:
        frames: list[bytes] = []
        room = max_octets
        while room > 0 and len(frames) < most:
            frame = (self._returned or self._waiting).popleft()
            room -= len(frame)
            frames.append(frame)
        return frames

    def take_in(self, frames: list[bytes]) -> None:
        """For hands: what was not written stands at the head again."""
        self._returned.extendleft(reversed(frames))
        self._in_hands -= len(frames)
        self._set_alarm()

    def sent_by_hand(self, frames: int, octets: int) -> None:
        """For hands: so many are written whole."""
        self._in_hands -= frames
        self._octets -= octets
        self._count_sent(frames, octets)
        self._set_alarm()

    def _count_sent(self, frames: int, octets: int) -> None:
        self._ages.remove(frames)
        self.sent += frames
        self.sent_octets += octets

    def close(self, reason: str = SHUTDOWN) -> None:
        """Drop what is left in memory, and whatever is offered from now on. What is in the spool stays queued."""
        if self._end_reason:
            return
        self._end_reason = reason
        left = self._in_memory
        if left:
            self._drop(reason, left)
        self._ages.remove(left)
        self._hand.forget()
        self._waiting.clear()
        self._returned.clear()
        self._spilling = []
        self._in_hands = self._octets = 0
        self._set_alarm()

    # the side of the spool

    def watch(self, spill: Callable[[], None]) -> None:
        """Have `spill` called, once, from within `offer`, when the next frame makes the queue full."""
        self._spill = spill
        self._is_watched = True
        self._set_alarm()

    def set_bounds(self, is_spilling: bool) -> None:
        """More than the queue holds may be here while a spool takes what is beyond."""
        self._bound = self._max_frames + (SPILL_FRAMES if is_spilling else 0)
        self._octets_bound = self._max_octets + (SPILL_OCTETS if is_spilling else 0)
        self.full_reason = QUEUE_FULL if is_spilling else SPOOL_FULL
        self._set_alarm()

    @property
    def is_full(self) -> bool:
        """Whether there is as much in memory as the queue holds, or half of its octets."""
        return self._in_memory >= self._max_frames or self._octets > self._max_octets // 2

    def spill(self) -> list[bytes]:
        """Everything that may stand behind what the spool holds; `spilled` must follow."""
        assert not self._spilling
        if not self.spooled:
            self._waiting.extendleft(reversed(self._returned))
            self._returned.clear()
        self._spilling = list(self._waiting)
        self._waiting.clear()
        return self._spilling

    def spill_returned(self) -> list[bytes]:
        """What is older than everything in the spool; `spilled` must follow, too."""
        self._spilling = list(self._returned)
        self._returned.clear()
        return self._spilling

    def spilled(self, frames: int) -> None:
        """The first so many are in the spool; the rest stands where it was, and is a sign that the spool is full."""
        if self._end_reason:
            return
        self._octets -= sum(map(len, self._spilling[:frames]))
        self.spooled += frames
        rest = self._spilling[frames:]
        self._waiting.extendleft(reversed(rest))
        self._spilling = []
        self.set_bounds(not rest)
        self._trim()

    def _trim(self) -> None:
        while self._waiting and (self._in_memory > self._bound or self._octets > self._octets_bound):
            frame = self._waiting.popleft() if self._drops_oldest else self._waiting.pop()
            self._octets -= len(frame)
            self._ages.remove(1)
            self._drop(SPOOL_FULL, 1)
        self._set_alarm()

    def found(self, frames: int, age_s: float) -> None:
        """There were frames in the spool, the oldest for so long: they are older than what waits."""
        self.spooled += frames
        self._ages.add_oldest(frames, self._clock() - age_s)

    def replayed(self, frames: int, octets: int) -> None:
        """The first so many in the spool are sent."""
        self.spooled -= frames
        self._count_sent(frames, octets)

    def unspooled(self, octets: int) -> None:
        """For hands: the first one in the spool is here now."""
        self.spooled -= 1
        self._in_hands += 1
        self._octets += octets
        self._set_alarm()

    def lost_in_spool(self, frames: int) -> None:
        """So many in the spool were given up."""
        if frames and not self._end_reason:
            self.spooled -= frames
            self._ages.remove(frames)
            self._drop(SPOOL_FULL, frames)

    # age

    def mark(self, now: float) -> None:
        """Remember when frames came: the writer calls this every now and then, so that `offer` need not."""
        self._ages.mark(self.queued, now)

    def oldest_s(self, now: float) -> float:
        """For how long, at most, the oldest frame has been here; 0 when there is none."""
        return self._ages.oldest_s(now) if self.queued else 0.0

    def __repr__(self) -> str:
        return f"<Backlog of {self.queued} frames, {self._octets} octets>"


class Hand:
    """Frames that one session has taken from a backlog to write them."""

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._frames: list[bytes] = []
        self._octets = 0  # of these
        self._written = 0  # octets of these that have left: fewer than the first frame's

    @property
    def has_begun(self) -> bool:
        """Whether a frame is partly written: its rest must be next on that connection."""
        return self._written > 0

    def take(self, max_octets: int) -> bytes:
        """The rest of a frame that is partly written, and the next frames; empty if there are none.

        At least one frame and about `max_octets`, as one piece. All of it must be written before the next is taken, or
        be given or put back.
        """
        assert not self._frames or self.has_begun
        self._frames += self._backlog.hand_out(max_octets)
        chunk = b"".join(self._frames)
        self._octets = len(chunk)
        return chunk[self._written :] if self._written else chunk

    def written(self, octets: int) -> None:
        """So many octets more of what was taken have left."""
        self._written += octets
        if self._written == self._octets:
            self._remove(len(self._frames), self._octets)
            return
        ends = list(accumulate(map(len, self._frames)))
        whole = bisect_right(ends, self._written)
        if whole:
            self._remove(whole, ends[whole - 1])

    def _remove(self, frames: int, octets: int) -> None:
        """The first frames of those taken are sent."""
        del self._frames[:frames]
        self._octets -= octets
        self._written -= octets
        self._backlog.sent_by_hand(frames, octets)

    def take_begun(self, frame: bytes, octets: int) -> None:
        """Go on with a frame of the spool of which so many octets have left."""
        assert not self._frames
        self._frames, self._octets, self._written = [frame], len(frame), octets
        self._backlog.unspooled(len(frame))

    def put_back(self) -> None:
        """Keep only a frame that is partly written; whatever else was taken stands at the head again."""
        begun = self._frames[: self.has_begun]
        self._backlog.take_in(self._frames[len(begun) :])
        self._frames = begun
        self._octets = sum(map(len, begun))

    def give_back(self) -> None:
        """What was taken and is not written whole stands at the head again, to be written from its beginning."""
        self._backlog.take_in(self._frames)
        self.forget()

    def forget(self) -> None:
        """Hold nothing any more."""
        self._frames = []
        self._octets = self._written = 0
