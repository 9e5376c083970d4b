"""When a file tap begins another file, and what becomes of the old ones."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from dnsproxy.dnstap.backlog import MAX_FRAME
from dnsproxy.dnstap.stream_file import START, STOP

TOO_LONG: Final = bytes(MAX_FRAME + 1)  # stands for any frame that no file may hold
LOOK_S: Final = 60.0  # a clock that was set, or stood still with the machine, is noticed after this time
NEVER: Final = float("inf")

Compression = Literal["gzip", "zstd"]


class Offer(Protocol):
    """A backlog's way in."""

    def __call__(self, frame: bytes) -> None:
        """Take a frame, length included, or drop and count it."""


@dataclass(frozen=True)
class Rotation:
    """A file ends before it would have more than `size` octets, and at each multiple of `every_s` seconds.

    The multiples are those of local time, or `utc`: with an hour files end on the hour, with a day at midnight. Of the
    files that are closed the newest `keep` stay, or as many as have at most `keep_octets`, or are no older than
    `keep_s`, and they are compressed. With neither size nor time nothing rotates; a file then has its own name from the
    beginning, unless it is `always_part`.
    BIND's `size` is `size`, its `versions` is `keep`; its `suffix increment` are the numbers of names that are taken
    (counting up: no file is ever renamed), its `suffix timestamp` is `%Y%m%d%H%M%S` in the name.
    """

    size: int | None = None
    every_s: float | None = None
    keep: int | None = None
    compress: Compression | None = None
    keep_octets: int | None = None
    keep_s: float | None = None
    utc: bool = False
    always_part: bool = False

    @property
    def has_parts(self) -> bool:
        """Whether a file has another name as long as it is not complete."""
        return self.is_on or self.always_part

    @property
    def keeps_few(self) -> bool:
        """Whether complete files are removed at some time."""
        return (self.keep, self.keep_octets, self.keep_s) != (None, None, None)

    @property
    def is_on(self) -> bool:
        """Whether files are ended before the tap is."""
        return self.size is not None or self.every_s is not None

    def guarded(self, offer: Offer) -> Offer:
        """A backlog's `offer`, for which frames that no file has room for are too long as well."""
        if self.size is None or self.size >= MAX_FRAME + len(START) + len(STOP):
            return offer
        longest = self.size - len(START) - len(STOP)
        return lambda frame: offer(frame if len(frame) <= longest else TOO_LONG)

    def next_turn(self, now: float) -> float:
        """When the file that begins now must end, in seconds since 1970 as `now`."""
        return next_multiple(now, self.every_s, self.utc) if self.every_s else NEVER


def next_multiple(now: float, every_s: float, utc: bool = False) -> float:
    """The first moment after `now` at which local time, or UTC, is a multiple of `every_s`."""
    if utc:
        return (now // every_s + 1) * every_s
    offset = _offset(now)
    turn = ((now + offset) // every_s + 1) * every_s - offset
    shift = _offset(turn) - offset  # the clocks change before
    if shift % every_s == 0 or turn - shift <= now:
        return turn
    return turn - shift


def _offset(when: float) -> int:
    """By how many seconds local time is ahead of UTC then."""
    return time.localtime(when).tm_gmtoff
