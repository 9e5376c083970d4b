"""What is left of a spool when another process takes it over: every whole frame that was not sent."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Final

from dnsproxy.dnstap.spool_position import Position
from dnsproxy.dnstap.spool_segment import START, Scan, Segment, read_frames, scan

READ_OCTETS: Final = 1 << 20  # at once, for frames that are passed over

log = logging.getLogger("dnsproxy")


def recover(name: str, segments: Iterable[Segment], position: Position) -> list[Segment]:
    """The segments of one owner that hold something to send, in order. Damage is told, and cut off."""
    ordered = sorted(segments, key=lambda segment: segment.number)
    recovered = []
    for segment in ordered:
        try:
            if segment.number < position.segment:
                segment.path.unlink()  # sent; the process ended before it could do this
            elif _read(name, segment, position, is_last=segment is ordered[-1]):
                recovered.append(segment)
            else:
                segment.path.unlink()
        except OSError as exc:
            log.warning("tap %s leaves %s out: %s", name, segment.path, exc.strerror)
    return recovered


def _read(name: str, segment: Segment, position: Position, *, is_last: bool) -> bool:
    """Look through a file, and cut it to what can be sent; whether there is anything."""
    is_begun = segment.number == position.segment
    found = scan(segment.path, position.octets if is_begun else len(START))
    if is_begun and not found.knows_offset:
        log.warning("tap %s: %s does not fit its position, and is sent from its beginning", name, segment.path)
        position.set(segment.number, len(START))
        found = scan(segment.path, len(START))
    _tell(name, segment, found, is_last=is_last)
    if not found.frames:
        return False
    os.truncate(segment.path, found.end)
    segment.end = found.end
    segment.frames = found.frames - (_pass_over(segment, position) if is_begun else 0)
    return segment.frames > 0


def _tell(name: str, segment: Segment, found: Scan, *, is_last: bool) -> None:
    """Of what nobody could expect: a process that is killed may leave the beginning of a frame."""
    damage = found.damage or ("the beginning of a frame" if found.is_partial and not is_last else "")
    if damage:
        rest = segment.path.stat().st_size - found.end
        log.warning(
            "tap %s: %s is damaged at octet %d: %s; %d octets are left out",
            *(name, segment.path, found.end, damage, rest),
        )


def _pass_over(segment: Segment, position: Position) -> int:
    """Have the position say where the frames end that were sent behind it; how many there are."""
    octets, frames = position.octets, position.frames
    passed = 0
    with segment.path.open("rb", buffering=0) as file:
        while passed < frames and octets < segment.end:
            some = read_frames(file.fileno(), octets, segment.end, READ_OCTETS)[: frames - passed]
            octets += sum(map(len, some))
            passed += len(some)
    position.set(segment.number, octets)
    return passed
