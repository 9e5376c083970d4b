"""Spools for tests: what is in their folders, and a way to send what they hold."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from dnsproxy.dnstap.framestreams import Reader
from dnsproxy.dnstap.spool import Appended, Found, Spool, SpoolOptions
from dnsproxy.dnstap.spool_position import Batch

SPOOL_OCTETS = 1 << 20


def opened(folder: Path, octets: int = SPOOL_OCTETS, *, drops_oldest: bool = False) -> tuple[Spool, Found]:
    spool = Spool("tap", SpoolOptions(str(folder), octets), drops_oldest=drops_oldest)
    return spool, spool.open()


def append(spool: Spool, frames: list[bytes]) -> Appended:
    return spool.append(frames, time.time())


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.fstrm"))


def octets_in(folder: Path) -> int:
    return sum(map(_size, folder.iterdir()))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # removed meanwhile


def messages_in(folder: Path) -> list[bytes]:
    """The payloads in all segments, as a reader finds them that knows nothing of spools."""
    found = []
    for path in segments(folder):
        found += [event for event in Reader().receive_data(path.read_bytes()) if isinstance(event, bytes)]
    return found


def send_some(spool: Spool, most_octets: int = 1 << 17) -> bytes:
    """What the next batch puts on a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        frames, _ = spool.next_frames(most_octets)
        batch = Batch(frames, frames)
        received = b""
        while frames and not batch.is_sent:
            spool.send(ours.fileno(), batch)
            received += theirs.recv(1 << 20)
        return received


def send_all(spool: Spool, frames: int) -> bytes:
    """So many frames."""
    received, left = b"", frames
    while left > 0:
        part = send_some(spool)
        left -= count_frames(part)
        received += part
    return received


def count_frames(octets: bytes) -> int:
    count = at = 0
    while at < len(octets):
        at += 4 + int.from_bytes(octets[at : at + 4], "big")
        count += 1
    return count
