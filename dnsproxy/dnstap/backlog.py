"""What a tap still has to write, bounded by messages and octets, and the books of what became of every message."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

MAX_FRAME: Final = 98_304  # octets; golang-dnstap stops reading, for good, at anything longer
EPISODE_QUIET_S: Final = 1.0  # without drops: the episode is over
EPISODE_MAX_S: Final = 60.0  # an episode that goes on is reported each minute
NEVER: Final = 1 << 62

QUEUE_FULL: Final = "queue_full"
SPOOL_FULL: Final = "spool_full"
OVERSIZE: Final = "oversize"
SHUTDOWN: Final = "shutdown"
DISCONNECTED: Final = "disconnected"
REASONS: Final = (QUEUE_FULL, SPOOL_FULL, OVERSIZE, SHUTDOWN, DISCONNECTED)


@dataclass
class Episode:
    """Drops with no more than EPISODE_QUIET_S between them."""

    began: float
    last: float
    counts: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {reason}" for reason, count in self.counts.items())
        return f"{sum(self.counts.values())} messages in {self.last - self.began:.1f} s ({counts})"


class Backlog:
    """Frames in the order they were offered: those waiting, then, once taken, those being written.

    offered = sent + queued + the sum of dropped, in every moment. `clock` gives seconds; `wake` is called, from within
    `offer`, when as much waits as `wake_at` asked for.
    """

    def __init__(self, max_frames: int, max_octets: int, clock: Callable[[], float], wake: Callable[[], None]) -> None:
        self._max_frames = max_frames
        self._max_octets = max_octets
        self._clock = clock
        self._wake = wake
        self._waiting: deque[bytes] = deque()
        self._taken: list[bytes] = []
        self._octets = 0  # of what waits and what is taken
        self._taken_octets = 0
        self._written = 0  # octets of what is taken that have left
        self._wake_at = NEVER
        self._alarm = 0  # number waiting at which `offer` has to think; most calls do not
        self._octets_alarm = 0  # octets likewise
        self._closed = False
        self._marks: deque[tuple[int, float]] = deque()  # (frames ever put in, when)
        self._removed = 0
        self.full_reason = QUEUE_FULL
        self.sent = 0
        self.sent_octets = 0
        self.dropped = dict.fromkeys(REASONS, 0)
        self.episode: Episode | None = None
        self._set_alarm()

    # the side of events

    def offer(self, frame: bytes) -> None:
        """Take a frame, length included, or drop and count it; never waits, never raises."""
        octets = self._octets + len(frame)
        if octets > self._octets_alarm or len(self._waiting) >= self._alarm or len(frame) > MAX_FRAME:
            self._offer_with_care(frame)
            return
        self._octets = octets
        self._waiting.append(frame)

    def _offer_with_care(self, frame: bytes) -> None:
        reason = self._reason_to_drop(frame)
        if reason:
            self._drop(reason, 1)
            return
        armed = self._wake_at != NEVER
        if armed:
            self.mark(self._clock())
        self._octets += len(frame)
        self._waiting.append(frame)
        if armed and self.is_due(self._wake_at):
            self._wake_at = NEVER
            self._set_alarm()
            self._wake()

    def _reason_to_drop(self, frame: bytes) -> str:
        if self._closed:
            return SHUTDOWN
        if len(frame) > MAX_FRAME:
            return OVERSIZE
        full = self.queued >= self._max_frames or self._octets + len(frame) > self._max_octets
        return self.full_reason if full else ""

    def _drop(self, reason: str, count: int) -> None:
        now = self._clock()
        self.dropped[reason] += count
        if self.episode is None:
            self.episode = Episode(now, now)
        self.episode.last = now
        self.episode.counts[reason] = self.episode.counts.get(reason, 0) + count

    # the side of the writer

    @property
    def queued(self) -> int:
        """Frames not yet written whole."""
        return len(self._waiting) + len(self._taken)

    @property
    def offered(self) -> int:
        """Frames that ever came."""
        return self.sent + self.queued + sum(self.dropped.values())

    def is_due(self, frames: int) -> bool:
        """Whether so many frames are queued, or the queue is half full."""
        return self.queued >= frames or self._octets > self._max_octets // 2

    def wake_at(self, frames: int) -> None:
        """Have `wake` called, once, when the next frame makes `is_due(frames)` true."""
        self._wake_at = frames
        self._set_alarm()

    def _set_alarm(self) -> None:
        room = self._max_frames - len(self._taken)
        self._alarm = -1 if self._closed else min(room, self._wake_at - 1)
        self._octets_alarm = self._max_octets if self._wake_at == NEVER else self._max_octets // 2

    def take(self, max_octets: int) -> bytes:
        """The next frames, at least one and together about `max_octets`, as one piece; empty if none wait.

        What is taken must be written whole before the next is, or given back.
        """
        assert not self._taken
        waiting = self._waiting
        if self._octets <= max_octets:
            self._taken = list(waiting)
            waiting.clear()
        else:
            room = max_octets
            while waiting and room > 0:
                frame = waiting.popleft()
                room -= len(frame)
                self._taken.append(frame)
        self._set_alarm()
        chunk = b"".join(self._taken)
        self._taken_octets = len(chunk)
        return chunk

    def written(self, octets: int) -> None:
        """So many octets more of what was taken have left."""
        self._written += octets
        if self._written == self._taken_octets:
            self._remove(len(self._taken), self._taken_octets)
            return
        ends = list(accumulate(map(len, self._taken)))
        whole = bisect_right(ends, self._written)
        if whole:
            self._remove(whole, ends[whole - 1])

    def _remove(self, frames: int, octets: int) -> None:
        """The first frames of those taken are sent."""
        del self._taken[:frames]
        self._taken_octets -= octets
        self._written -= octets
        self._octets -= octets
        self._removed += frames
        self.sent += frames
        self.sent_octets += octets
        self._set_alarm()

    def give_back(self) -> None:
        """What was taken and is not written whole stands at the head again, to be written from its beginning."""
        self._waiting.extendleft(reversed(self._taken))
        self._taken = []
        self._written = 0
        self._set_alarm()

    def close(self) -> None:
        """Drop what is left, and whatever is offered from now on."""
        if self._closed:
            return
        self.give_back()
        self._closed = True
        if self._waiting:
            self._drop(SHUTDOWN, len(self._waiting))
        self._removed += len(self._waiting)
        self._waiting.clear()
        self._octets = 0
        self._set_alarm()

    # age

    def mark(self, now: float) -> None:
        """Remember when frames came: the writer calls this every now and then, so that `offer` need not."""
        position = self._removed + self.queued
        if self._marks and self._marks[-1][0] == position:
            self._marks.pop()
        self._marks.append((position, now))
        self._forget_marks()

    def oldest_s(self, now: float) -> float:
        """For how long, at most, the oldest frame has been here; 0 when there is none."""
        self._forget_marks()
        return max(now - self._marks[0][1], 0.0) if self.queued and self._marks else 0.0

    def _forget_marks(self) -> None:
        marks = self._marks
        while len(marks) > 1 and marks[1][0] <= self._removed:
            marks.popleft()

    def end_episode(self, now: float) -> Episode | None:
        """The episode of drops that is over, or has gone on for long enough to be told."""
        episode = self.episode
        if episode is None or (now - episode.last < EPISODE_QUIET_S and now - episode.began < EPISODE_MAX_S):
            return None
        self.episode = None
        return episode

    def __repr__(self) -> str:
        return f"<Backlog of {self.queued} frames, {self._octets} octets>"
