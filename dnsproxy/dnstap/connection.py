"""One connection to a collector, unix, TCP or TLS: sends what the kernel takes now, and tells how much that was."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Final

import trio

from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.records import RECORD_OCTETS, RecordLayer

RECEIVE_OCTETS = 4096  # collectors send two control frames of at most 520 octets
PROBES = 3  # without an answer before a quiet connection is given up
HOSTS: Final = Path("/etc/hosts")
KEEPALIVE_MAX = 32_767  # seconds; Linux takes no more


async def connect(destination: Destination, tls: TlsOptions) -> Connection:
    """Connect, the TLS handshake included; OSError says why not. Names are resolved anew each time."""
    if destination.scheme == "unix":
        return Connection((await trio.open_unix_socket(destination.path)).socket)
    connection = Connection((await _open_tcp(destination.host, destination.port)).socket)
    if destination.scheme == "tls":
        await connection.start_tls(tls, tls.server_name or destination.host.removesuffix("."))
    return connection


async def _open_tcp(host: str, port: int) -> trio.SocketStream:
    relative = host.removesuffix(".")
    if relative != host and _is_in_hosts(relative):
        host = relative  # glibc does not find `localhost.` there; elsewhere the dot keeps the search list out
    return await trio.open_tcp_stream(host, port)


def _is_in_hosts(host: str) -> bool:
    try:
        lines = HOSTS.read_text(errors="replace").lower().splitlines()
    except OSError:
        return False
    return any(host.lower() in line.partition("#")[0].split()[1:] for line in lines)


class Connection:
    """A connected socket that belongs to one task for writing and one for reading. Every method may raise OSError."""

    def __init__(self, connected: trio.socket.SocketType) -> None:
        self._socket = socket.socket(fileno=connected.detach())
        self._socket.setblocking(False)
        self._records: RecordLayer | None = None
        self._unsent = b""  # records that the kernel has not taken yet
        self._is_lent = False
        if self._is_tcp:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a host that vanished is noticed
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is written has waited for others

    @property
    def _is_tcp(self) -> bool:
        return self._socket.family != socket.AF_UNIX

    def keep_alive(self, quiet_s: float) -> None:
        """Have the kernel probe a connection that was quiet for so long, and give it up after twice that.

        Frame Streams have no message for it: collectors take an unknown control frame for an error, and a data frame
        for a message. Unix sockets need none.
        """
        if not self._is_tcp or not hasattr(socket, "TCP_KEEPIDLE"):
            return
        every = max(round(quiet_s / PROBES), 1)
        for option, value in (
            (socket.TCP_KEEPIDLE, max(round(quiet_s), 1)),
            (socket.TCP_KEEPINTVL, every),
            (socket.TCP_KEEPCNT, PROBES),
        ):
            self._socket.setsockopt(socket.IPPROTO_TCP, option, min(value, KEEPALIVE_MAX))

    # TLS

    async def start_tls(self, options: TlsOptions, server_name: str) -> None:
        """The handshake, with the files as they are now; closes the connection when it fails."""
        try:
            context = await trio.to_thread.run_sync(options.context)  # the system's roots take 20 ms to read
            await self._shake_hands(RecordLayer(context, server_name))
        except BaseException:
            self.close()
            raise

    async def answer_tls(self, context: ssl.SSLContext) -> None:
        """The handshake of the side that was dialled."""
        await self._shake_hands(RecordLayer(context, server_side=True))

    async def _shake_hands(self, records: RecordLayer) -> None:
        self._records = records
        try:
            while not records.shake_hands():
                await self._flush_all()
                records.receive_data(await self._receive())
        except ssl.SSLError:
            self._flush()  # an alert says why
            raise
        await self._flush_all()

    # writing

    def send(self, octets: bytes | memoryview) -> int:
        """How many octets were taken; fewer than all when the kernel would have to wait."""
        if self._records is None:
            return self._send(octets)
        taken = 0
        while taken < len(octets) and self._flush():
            part = octets[taken : taken + RECORD_OCTETS]
            self._records.seal(part)
            taken += len(part)
        self._flush()
        return taken

    @property
    def is_clear(self) -> bool:
        """Whether everything that was taken is with the kernel, no record is left here."""
        return not self._unsent

    async def wait_writable(self) -> None:
        """Until `send` may take something, and everything that it took is with the kernel."""
        while True:
            await trio.lowlevel.wait_writable(self._socket)
            if self._flush():
                return

    async def send_all(self, octets: bytes) -> None:
        """For control frames; data is sent by `send`, which counts."""
        while octets or not self.is_clear:
            octets = octets[self.send(octets) :]
            if octets or not self.is_clear:
                await self.wait_writable()

    def lend(self, frames: list[bytes]) -> tuple[int, list[bytes]]:
        """The socket's descriptor, and what has to be written to it for each of the frames, by somebody else.

        Until they are written, and `take_back` called, nothing else is. Only when `is_clear`.
        """
        assert self.is_clear
        assert not self._is_lent
        self._is_lent = True
        return self._socket.fileno(), frames if self._records is None else list(map(self._sealed, frames))

    def take_back(self, rest: bytes = b"") -> bool:
        """What was lent has been written, but for this rest of records, if the connection has records at all."""
        self._is_lent = False
        if self._records is None:
            return False
        self._unsent = rest
        return True

    def _sealed(self, frame: bytes) -> bytes:
        assert self._records is not None
        self._records.seal(frame)
        return self._records.data_to_send()

    def _flush(self) -> bool:
        """Send records that wait, as far as the kernel takes them; whether it took all."""
        if self._records is None:
            return True
        if not self._is_lent:
            self._unsent += self._records.data_to_send()
            self._unsent = self._unsent[self._send(self._unsent) :]
        return not (self._unsent or self._is_lent)

    async def _flush_all(self) -> None:
        if not self._flush():
            await self.wait_writable()

    def _send(self, octets: bytes | memoryview) -> int:
        try:
            return self._socket.send(octets) if octets else 0
        except (BlockingIOError, InterruptedError):
            return 0

    # reading

    async def receive(self, octets: int = RECEIVE_OCTETS) -> bytes:
        """What came, at most so much of it; empty once the other side has closed."""
        if self._records is None:
            return await self._receive(octets)
        while (data := self._records.read(octets)) is None:
            self._records.receive_data(await self._receive(octets))
        self._flush()  # what TLS itself has to answer
        return data

    async def _receive(self, octets: int = RECEIVE_OCTETS) -> bytes:
        await trio.lowlevel.checkpoint()  # who sends on and on must not keep others from their turn
        while True:
            try:
                return self._socket.recv(octets)
            except (BlockingIOError, InterruptedError):
                await trio.lowlevel.wait_readable(self._socket)

    def close(self) -> None:
        """Close at once; a collector over TLS is told so, as far as that does not wait."""
        if self._records is not None:
            self._records.close()
            try:
                self._flush()
            except OSError:
                pass
        self._socket.close()
