"""How far a spool has been sent: on disk with every frame, so that the death of the process repeats next to none."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct
import sys
from array import array
from collections.abc import Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Final

from dnsproxy.dnstap.framestreams import DNSTAP, ControlType, control_frame

FILE_MODE: Final = 0o640  # who asked for what is nobody else's business
ENTRIES_MAX: Final = 254  # frames for one system call: 16 KiB of file; more are not faster
ENTRIES_MIN: Final = 8
SPOOL_SHARE: Final = 64  # the part of the spool's bound that this file may take is one in so many
HEADER: Final = struct.Struct("=QQQ")  # a segment's number, octets of it that are sent, entries under way
HEADER_AT: Final = 64
ENTRIES_AT: Final = 128
ENTRY: Final = 64  # octets of a struct mmsghdr on 64-bit Linux
RESULT: Final = struct.Struct("=II")  # its end: octets that the kernel took; in its padding, how many it should take
RESULT_AT: Final = 56
NOT_WAITING: Final = 0x40 | 0x4000  # MSG_DONTWAIT, MSG_NOSIGNAL
IS_COUNTED_BY_KERNEL: Final = sys.platform == "linux" and struct.calcsize("P") == 8 and sys.byteorder == "little"

# for tools: an empty stream, then a frame that is cut
PREFIX: Final = control_frame(ControlType.START, DNSTAP) + control_frame(ControlType.STOP) + b"\0\x0f\xff\xff"

if IS_COUNTED_BY_KERNEL:
    _sendmmsg = ctypes.CDLL(None, use_errno=True).sendmmsg
    _sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


class Batch:
    """Frames of one segment on their way: `pieces` is what to write for each, TLS records where there is TLS."""

    def __init__(self, frames: Sequence[bytes], pieces: Sequence[bytes]) -> None:
        self.frames = [len(frame) for frame in frames]
        self.pieces = [len(piece) for piece in pieces]
        self.octets = bytearray().join(pieces)
        self.starts = [0, *accumulate(self.pieces)]
        self.sent = 0  # frames
        self.sent_octets = 0  # of these frames
        self.begun = 0  # octets of the next piece that have left

    @property
    def is_sent(self) -> bool:
        """Whether nothing is left."""
        return self.sent == len(self.pieces)

    def rest(self, most: int) -> tuple[list[int], list[int]]:
        """Where the next pieces begin and how long they are, as far as they have not left."""
        end = min(self.sent + most, len(self.pieces))
        starts, lengths = self.starts[self.sent : end], self.pieces[self.sent : end]
        starts[0] += self.begun
        lengths[0] -= self.begun
        return starts, lengths

    def move(self, pieces: int, begun: int) -> int:
        """So many pieces have left, and so many octets of the next one; octets of the frames."""
        octets = sum(self.frames[self.sent : self.sent + pieces])
        self.sent_octets += octets
        self.sent += pieces
        self.begun = begun if pieces else self.begun + begun
        return octets


class Position:
    """A file that says where to go on, locked by the process that sends.

    The kernel itself writes into it that it has taken a frame, in the same system call that takes it: sendmmsg notes
    the outcome of each message in the array that it is given, and that array is a part of the file. So a process that
    is killed repeats nothing that it has sent. Where this cannot be had the position is written after each frame, and
    the one between the two system calls may be sent twice.
    """

    def __init__(self, path: Path, descriptor: int, spool_octets: int) -> None:
        self.path = path
        self.segment = 0  # its number
        self.octets = 0  # of it, up to the end of the last frame that is sent
        self.frames = 0  # sent behind these octets
        self._descriptor = descriptor
        self._entries = min(max(spool_octets // SPOOL_SHARE // ENTRY, ENTRIES_MIN), ENTRIES_MAX)
        self._read()
        self.size = max(os.fstat(descriptor).st_size, ENTRIES_AT + self._entries * ENTRY)
        os.pwrite(descriptor, PREFIX, 0)
        os.ftruncate(descriptor, self.size)
        self._array = _map(descriptor, self._entries)

    @classmethod
    def claim(cls, path: Path, spool_octets: int) -> Position | None:
        """Lock it, and make it if need be; None if another process has it. OSError when it cannot be had at all."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:  # not removed in between
                return cls(path, descriptor, spool_octets)
        except BlockingIOError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def _read(self) -> None:
        """Where the process stopped that wrote it."""
        octets = os.pread(self._descriptor, ENTRIES_AT + ENTRIES_MAX * ENTRY, 0)
        if len(octets) < ENTRIES_AT or not octets.startswith(PREFIX):
            return
        self.segment, self.octets, entries = HEADER.unpack_from(octets, HEADER_AT)
        for at in range(ENTRIES_AT, min(ENTRIES_AT + entries * ENTRY, len(octets) - ENTRY + 1), ENTRY):
            taken, wanted = RESULT.unpack_from(octets, at + RESULT_AT)
            if taken != wanted:
                break
            self.frames += 1

    def set(self, segment: int, octets: int) -> None:
        """From now on this is where to go on."""
        self.segment, self.octets, self.frames = segment, octets, 0
        self._note()

    def _write(self, entries: int) -> None:
        os.pwrite(self._descriptor, HEADER.pack(self.segment, self.octets, entries), HEADER_AT)

    def send(self, socket: int, batch: Batch) -> None:
        """Give the kernel as much of a batch as it takes now; OSError when the connection is broken."""
        if self._array is not None:
            self._send_counted(socket, batch, self._array)
        else:
            self._send_singly(socket, batch)

    def _send_counted(self, socket: int, batch: Batch, entries: _Array) -> None:
        while not batch.is_sent:
            starts, lengths = batch.rest(self._entries)
            try:
                self._write(0)  # the entries of before no longer count: only then may they be overwritten
                entries.prepare(batch.octets, starts, lengths)
                self._write(len(lengths))
            except OSError:
                return self._send_singly(socket, batch)  # a disk that takes no position must not keep its frames
            taken = entries.send(socket, len(lengths))
            if not taken:
                return None
            last = entries.taken(taken - 1)
            is_whole = last == lengths[taken - 1]
            self.octets += batch.move(taken - 1 + is_whole, 0 if is_whole else last)
            if taken < len(lengths) or not is_whole:
                return None
        return None

    def _send_singly(self, socket: int, batch: Batch) -> None:
        while not batch.is_sent:
            (start,), (length,) = batch.rest(1)
            try:
                taken = os.write(socket, memoryview(batch.octets)[start : start + length])
            except BlockingIOError:
                return
            is_whole = taken == length
            self.octets += batch.move(is_whole, 0 if is_whole else taken)
            if is_whole:
                self._note()

    def _note(self) -> None:
        try:
            self._write(0)
        except OSError:
            pass  # what is sent is sent; the next position will be good for this one too

    def close(self, *, remove: bool) -> None:
        """Unlock it; with nothing left to send it can go."""
        if remove:
            self.path.unlink(missing_ok=True)
        self._array = None
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)  # a mapping may outlive the descriptor
        os.close(self._descriptor)


def _map(descriptor: int, entries: int) -> _Array | None:
    try:
        return _Array(descriptor, entries) if IS_COUNTED_BY_KERNEL else None
    except OSError:
        return None  # some file systems cannot be mapped


class _Array:
    """An array of struct mmsghdr in a file, as the kernel reads and writes it.

    Nobody else touches the mapped pages: if the disk is full, or somebody cuts the file, a system call says so where an
    access would end the process.
    """

    def __init__(self, descriptor: int, entries: int) -> None:
        self._descriptor = descriptor
        self._area = mmap.mmap(descriptor, ENTRIES_AT + entries * ENTRY)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._area)) + ENTRIES_AT
        self._vectors = array("Q", bytes(16 * entries))  # struct iovec
        self._headers = array("Q", bytes(ENTRY * entries))
        vectors, _ = self._vectors.buffer_info()
        self._headers[2::8] = array("Q", range(vectors, vectors + 16 * entries, 16))
        self._headers[3::8] = array("Q", [1] * entries)

    def prepare(self, octets: bytearray, starts: list[int], lengths: list[int]) -> None:
        """Have the entries say what to send; OSError when the disk does not take them."""
        count = len(lengths)
        base = ctypes.addressof(ctypes.c_char.from_buffer(octets))
        addresses = [base + start for start in starts]
        self._vectors[: 2 * count] = array("Q", chain.from_iterable(zip(addresses, lengths, strict=True)))
        self._headers[7 : 8 * count : 8] = array("Q", [length << 32 for length in lengths])
        entries = self._headers[: 8 * count].tobytes()
        if os.pwrite(self._descriptor, entries, ENTRIES_AT) < len(entries):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def send(self, socket: int, count: int) -> int:
        """How many of the entries were sent, the last one perhaps in part; 0 when the connection takes nothing now."""
        taken: int = _sendmmsg(socket, self._address, count, NOT_WAITING)
        if taken > 0:
            return taken
        number = ctypes.get_errno()
        if number in (errno.EAGAIN, errno.EINTR):
            return 0
        raise OSError(number, os.strerror(number))

    def taken(self, entry: int) -> int:
        """Octets of an entry that were sent."""
        at = ENTRIES_AT + entry * ENTRY + RESULT_AT
        taken: int = RESULT.unpack(os.pread(self._descriptor, RESULT.size, at))[0]
        return taken
