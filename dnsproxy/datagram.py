"""Batched datagram I/O: recvmmsg and sendmmsg through ctypes on Linux, one call per datagram elsewhere."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import struct
import sys
import time
from array import array
from itertools import accumulate
from typing import Protocol

from dnsproxy.address import SOCKADDR_SIZE, Address, sockaddr_of

BATCH = 64  # datagrams per call: the kernel's share per query is flat from about 32 up
SOCKADDR = SOCKADDR_SIZE
CONTROL = 96  # octets of ancillary data per datagram: a time stamp takes 32, one IPv6 pktinfo 40
SO_TIMESTAMPNS = 35  # SOL_SOCKET; the socket module does not name it
_STAMP = 32  # octets of a time stamp's control message, which the kernel writes first
_STAMP_KIND = SO_TIMESTAMPNS << 32 | socket.SOL_SOCKET  # its type and level as one number
_NS_PER_S = 1_000_000_000
SLOT = 65536 + 192  # any datagram fits whole; untouched pages cost nothing; 192 spreads slots over cache sets
SEND_ARENA = 256 * 1024  # octets copied per sendmmsg; a batch that needs more is cut in two
MSG_DONTWAIT = 0x40
_MMSGHDR = 64  # struct mmsghdr on 64-bit Linux
_NAMELEN, _IOV_LEN, _CONTROLLEN, _MSG_LEN = 8, 24, 40, 56
BATCHED = sys.platform == "linux" and struct.calcsize("P") == 8 and sys.byteorder == "little"

if BATCHED:
    _libc = ctypes.CDLL(None, use_errno=True)
    _recvmmsg = _libc.recvmmsg
    _recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
    _sendmmsg = _libc.sendmmsg
    _sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)
    _sendto = _libc.sendto
    _sendto.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    _sendto.restype = ctypes.c_ssize_t


def _address_of(area: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(area))


class DatagramReceiver(Protocol):
    """What takes datagrams from sockets, a batch at a time."""

    def receive_connected(self, sock: socket.socket, fd: int) -> list[bytes]:
        """See Receiver."""

    def receive(self, sock: socket.socket, fd: int, family: int) -> tuple[list[bytes], list[bytes]]:
        """See Receiver."""

    def receive_connected_stamped(self, sock: socket.socket, fd: int) -> tuple[list[bytes], list[int]]:
        """See Receiver."""

    def receive_stamped(self, sock: socket.socket, fd: int, family: int) -> tuple[list[bytes], list[bytes], list[int]]:
        """See Receiver."""

    def receive_controlled(
        self, sock: socket.socket, fd: int, family: int
    ) -> tuple[list[bytes], list[bytes], list[bytes], list[int]]:
        """See Receiver."""


class DatagramSender(Protocol):
    """What gives batches of datagrams to the kernel."""

    def send(
        self, sock: socket.socket, fd: int, wires: list[bytes], names: list[bytes], controls: list[bytes]
    ) -> tuple[int, int]:
        """See Sender."""


class _Headers:
    """An array of struct mmsghdr over shared areas, as the kernel reads and writes it."""

    def __init__(self, names: int, vectors: int, controls: int) -> None:
        self.area = mmap.mmap(-1, _MMSGHDR * BATCH)
        self.address = _address_of(self.area)
        for slot in range(BATCH):
            struct.pack_into(
                "=QIxxxxQQQQi",
                self.area,
                slot * _MMSGHDR,
                names and names + slot * SOCKADDR,
                SOCKADDR if names else 0,
                vectors + slot * 16,
                1,
                controls and controls + slot * CONTROL,
                CONTROL if controls else 0,
                0,
            )
        self.fresh = self.area[:]
        words = memoryview(self.area).cast("I")
        self.lengths = words[_MSG_LEN // 4 :: _MMSGHDR // 4]
        self.control_lengths = words[_CONTROLLEN // 4 :: _MMSGHDR // 4]


class _Controls:
    """Room for what comes beside datagrams, and the time stamps in it."""

    def __init__(self) -> None:
        self.area = mmap.mmap(-1, CONTROL * BATCH)
        self.address = _address_of(self.area)
        words = memoryview(self.area).cast("q")
        stride = CONTROL // 8
        self.kinds, self.seconds, self.rests = words[1::stride], words[2::stride], words[3::stride]

    def times(self, sizes: list[int]) -> list[int]:
        """When the kernel took each datagram, in ns of the wall clock: now, where it did not say."""
        count = len(sizes)
        seconds, rests = self.seconds[:count].tolist(), self.rests[:count].tolist()
        if min(sizes) >= _STAMP and self.kinds[:count].tolist().count(_STAMP_KIND) == count:
            if seconds.count(seconds[0]) == count:  # nearly always: half the time
                start_ns = seconds[0] * _NS_PER_S
                return [start_ns + rest for rest in rests]
            return [second * _NS_PER_S + rest for second, rest in zip(seconds, rests, strict=True)]
        now = time.time_ns()
        has_stamp = [size >= _STAMP and self.kinds[slot] == _STAMP_KIND for slot, size in enumerate(sizes)]
        return [
            second * _NS_PER_S + rest if known else now
            for known, second, rest in zip(has_stamp, seconds, rests, strict=True)
        ]


class Receiver:
    """Receives batches of datagrams; one arena per worker, shared by all its sockets."""

    def __init__(self) -> None:
        self.arena = mmap.mmap(-1, SLOT * BATCH)
        self.vectors = mmap.mmap(-1, 16 * BATCH)
        base = _address_of(self.arena)
        for slot in range(BATCH):
            struct.pack_into("=QQ", self.vectors, slot * 16, base + slot * SLOT, 65536)
        self.starts = tuple(slot * SLOT for slot in range(BATCH))
        self.name_slices = tuple(slice(slot * SOCKADDR, (slot + 1) * SOCKADDR) for slot in range(BATCH))
        self.connected = _Headers(0, _address_of(self.vectors), 0)
        self.controls = _Controls()
        self.connected_stamped = _Headers(0, _address_of(self.vectors), self.controls.address)
        # one array per family: what the kernel wrote into name lengths, and left alone in names, stays right
        self.names: dict[int, mmap.mmap] = {}
        self.named: dict[int, _Headers] = {}
        self.controlled: dict[int, _Headers] = {}
        for family in (socket.AF_INET, socket.AF_INET6):
            self.names[family] = mmap.mmap(-1, SOCKADDR * BATCH)
            name, vector = map(_address_of, (self.names[family], self.vectors))
            self.named[family] = _Headers(name, vector, 0)
            self.controlled[family] = _Headers(name, vector, self.controls.address)

    def receive_connected(self, sock: socket.socket, fd: int) -> list[bytes]:
        """What has come in on a connected socket, up to a batch. OSError as recv raises it, but none for EAGAIN."""
        count: int = _recvmmsg(fd, self.connected.address, BATCH, MSG_DONTWAIT, None)
        return self._wires(self.connected, count) if count > 0 else _nothing(count)

    def receive(self, sock: socket.socket, fd: int, family: int) -> tuple[list[bytes], list[bytes]]:
        """Datagrams with the raw sockaddr of each sender, padded to 28 octets."""
        headers = self.named[family]
        count: int = _recvmmsg(fd, headers.address, BATCH, MSG_DONTWAIT, None)
        if count <= 0:
            return _nothing(count), []
        names = self.names[family]
        return self._wires(headers, count), [names[where] for where in self.name_slices[:count]]

    def receive_connected_stamped(self, sock: socket.socket, fd: int) -> tuple[list[bytes], list[int]]:
        """As `receive_connected`, and when the kernel took each, on a socket with SO_TIMESTAMPNS."""
        headers = self.connected_stamped
        headers.area[:] = headers.fresh
        count: int = _recvmmsg(fd, headers.address, BATCH, MSG_DONTWAIT, None)
        if count <= 0:
            return _nothing(count), []
        return self._wires(headers, count), self.controls.times(headers.control_lengths[:count].tolist())

    def receive_stamped(self, sock: socket.socket, fd: int, family: int) -> tuple[list[bytes], list[bytes], list[int]]:
        """As `receive`, and when the kernel took each, on a socket with SO_TIMESTAMPNS."""
        headers = self.controlled[family]
        headers.area[:] = headers.fresh
        count: int = _recvmmsg(fd, headers.address, BATCH, MSG_DONTWAIT, None)
        if count <= 0:
            return _nothing(count), [], []
        names, times = self.names[family], self.controls.times(headers.control_lengths[:count].tolist())
        return self._wires(headers, count), [names[where] for where in self.name_slices[:count]], times

    def receive_controlled(
        self, sock: socket.socket, fd: int, family: int
    ) -> tuple[list[bytes], list[bytes], list[bytes], list[int]]:
        """Datagrams, senders, the ancillary data that came with each but for time stamps, and when each came."""
        headers = self.controlled[family]
        headers.area[:] = headers.fresh
        count: int = _recvmmsg(fd, headers.address, BATCH, MSG_DONTWAIT, None)
        if count <= 0:
            return _nothing(count), [], [], []
        names, area, kinds = self.names[family], self.controls.area, self.controls.kinds
        sizes = headers.control_lengths[:count].tolist()
        came_with = [
            area[slot * CONTROL + (_STAMP if kinds[slot] == _STAMP_KIND else 0) : slot * CONTROL + size]
            for slot, size in enumerate(sizes)
        ]
        who = [names[where] for where in self.name_slices[:count]]
        return self._wires(headers, count), who, came_with, self.controls.times(sizes)

    def _wires(self, headers: _Headers, count: int) -> list[bytes]:
        arena = self.arena
        if count == 1:
            return [arena[0 : headers.lengths[0]]]
        lengths = headers.lengths[:count].tolist()
        return [arena[start : start + size] for start, size in zip(self.starts, lengths, strict=False)]


def _nothing(count: int) -> list[bytes]:
    if count < 0:
        code = ctypes.get_errno()
        if code not in (errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR):
            raise OSError(code, os.strerror(code))
    return []


class Sender:
    """Sends batches of datagrams; one arena per worker, shared by all its sockets."""

    def __init__(self) -> None:
        self.arena = mmap.mmap(-1, SEND_ARENA)
        self.names = mmap.mmap(-1, SOCKADDR * BATCH)
        self.controls = mmap.mmap(-1, CONTROL * BATCH)
        self.vectors = mmap.mmap(-1, 16 * BATCH)
        self.base = _address_of(self.arena)
        words = memoryview(self.vectors).cast("Q")
        self.vector_bases = words[0::2]
        self.vector_lengths = words[1::2]
        name, vector, control = map(_address_of, (self.names, self.vectors, self.controls))
        self.connected = _Headers(0, vector, 0)
        self.named = _Headers(name, vector, 0)
        self.controlled = _Headers(name, vector, control)

    def send(
        self, sock: socket.socket, fd: int, wires: list[bytes], names: list[bytes], controls: list[bytes]
    ) -> tuple[int, int]:
        """Send the datagrams in order, as far as the kernel takes them: (how many it took, errno of the next or 0).

        `names` is empty on a connected socket; `controls` holds ancillary data for each datagram, or is empty.
        """
        total = len(wires)
        if total == 1 and not controls:  # at low load every batch: 4 µs less than laying it out
            octets = wires[0]
            name = names[0] if names else None
            if _sendto(fd, octets, len(octets), MSG_DONTWAIT, name, SOCKADDR if names else 0) < 0:
                return 0, ctypes.get_errno()
            return 1, 0
        headers = self.controlled if controls else self.named if names else self.connected
        done = 0
        while done < total:
            count = self._fill(wires, names, controls, done)
            sent: int = _sendmmsg(fd, headers.address, count, MSG_DONTWAIT)
            if sent < 0:
                return done, ctypes.get_errno()
            done += sent
        return done, 0

    def _fill(self, wires: list[bytes], names: list[bytes], controls: list[bytes], done: int) -> int:
        """Lay out as many datagrams from `done` on as one call takes; their number."""
        chunk = wires[done : done + BATCH]
        sizes = list(map(len, chunk))
        while sum(sizes) > SEND_ARENA:
            del sizes[len(sizes) // 2 :]
        count = len(sizes)
        joined = b"".join(chunk[:count])
        self.arena[: len(joined)] = joined
        self.vector_lengths[:count] = array("Q", sizes)
        self.vector_bases[:count] = array("Q", list(accumulate(sizes[:-1], initial=self.base)))
        if names:
            self.names[: SOCKADDR * count] = b"".join(names[done : done + count])
        for slot, control in enumerate(controls[done : done + count]):
            self.controls[slot * CONTROL : slot * CONTROL + len(control)] = control
            self.controlled.control_lengths[slot] = len(control)
        return count


class PlainReceiver:
    """Receiver for systems without recvmmsg: the same methods, one recvmsg per datagram."""

    def receive_connected(self, sock: socket.socket, fd: int) -> list[bytes]:
        """As Receiver.receive_connected."""
        return [received[0] for received in self._drain(sock, 0)]

    def receive(self, sock: socket.socket, fd: int, family: int) -> tuple[list[bytes], list[bytes]]:
        """As Receiver.receive."""
        received = self._drain(sock, 0)
        return [item[0] for item in received], [item[1] for item in received]

    def receive_connected_stamped(self, sock: socket.socket, fd: int) -> tuple[list[bytes], list[int]]:
        """As Receiver.receive_connected_stamped; the time is now."""
        wires = self.receive_connected(sock, fd)
        return wires, [time.time_ns()] * len(wires)

    def receive_stamped(self, sock: socket.socket, fd: int, family: int) -> tuple[list[bytes], list[bytes], list[int]]:
        """As Receiver.receive_stamped; the time is now."""
        wires, names = self.receive(sock, fd, family)
        return wires, names, [time.time_ns()] * len(wires)

    def receive_controlled(
        self, sock: socket.socket, fd: int, family: int
    ) -> tuple[list[bytes], list[bytes], list[bytes], list[int]]:
        """As Receiver.receive_controlled; the time is now."""
        received = self._drain(sock, CONTROL)
        wires, names, controls = ([item[part] for item in received] for part in range(3))
        return wires, names, controls, [time.time_ns()] * len(wires)

    def _drain(self, sock: socket.socket, control: int) -> list[tuple[bytes, bytes, bytes]]:
        """Datagrams until there is none or an error, which is raised if it came first."""
        received: list[tuple[bytes, bytes, bytes]] = []
        while len(received) < BATCH:
            try:
                octets, ancillary, _flags, name = sock.recvmsg(65535, control)
            except OSError as exc:
                if received or isinstance(exc, (BlockingIOError, InterruptedError)):
                    break
                raise
            controls = b"".join(_pack_control(*item) for item in ancillary if item[1] != SO_TIMESTAMPNS)
            received.append((octets, sockaddr_of(name) if name else b"", controls))
        return received


class PlainSender:
    """Sender for systems without sendmmsg: the same method, one sendmsg per datagram."""

    def send(
        self, sock: socket.socket, fd: int, wires: list[bytes], names: list[bytes], controls: list[bytes]
    ) -> tuple[int, int]:
        """As Sender.send."""
        for done, octets in enumerate(wires):
            ancillary = [_unpack_control(controls[done])] if controls and controls[done] else []
            try:
                sock.sendmsg([octets], ancillary, 0, Address(names[done]).socket_tuple() if names else None)
            except OSError as exc:
                return done, exc.errno or errno.EIO
        return len(wires), 0


def _pack_control(level: int, kind: int, octets: bytes) -> bytes:
    return struct.pack("@Nii", socket.CMSG_LEN(len(octets)), level, kind) + octets


def _unpack_control(control: bytes) -> tuple[int, int, bytes]:
    size, level, kind = struct.unpack_from("@Nii", control)
    return level, kind, control[struct.calcsize("@Nii") : size]


def make_receiver() -> DatagramReceiver:
    """The batched kind where the system has it."""
    return Receiver() if BATCHED else PlainReceiver()


def make_sender() -> DatagramSender:
    """The batched kind where the system has it."""
    return Sender() if BATCHED else PlainSender()


def stamp(sock: socket.socket) -> bool:
    """Have the kernel note when datagrams arrive (SO_TIMESTAMPNS); whether it does."""
    if not BATCHED:
        return False
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:
        return False
    return True
