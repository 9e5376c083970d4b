"""One connection to a collector, unix, TCP or TLS: sends what the kernel takes now, and tells how much that was."""

from __future__ import annotations

import socket
import ssl

import trio

from dnsproxy.dnstap.destination import Destination, TlsOptions

RECEIVE_OCTETS = 4096  # collectors send two control frames of at most 520 octets


async def connect(destination: Destination, tls: TlsOptions) -> Connection:
    """Connect, the TLS handshake included; OSError says why not. Names are resolved anew each time."""
    if destination.scheme == "unix":
        return Connection((await trio.open_unix_socket(destination.path)).socket)
    stream = await trio.open_tcp_stream(destination.host, destination.port)
    stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)  # a host that vanished is noticed
    connection = Connection(stream.socket)
    if destination.scheme == "tls":
        await connection.start_tls(tls, tls.server_name or destination.host.removesuffix("."))
    return connection


class Connection:
    """A connected socket that belongs to one task for writing and one for reading. Every method may raise OSError."""

    def __init__(self, connected: trio.socket.SocketType) -> None:
        self._socket: socket.socket | ssl.SSLSocket = socket.socket(fileno=connected.detach())
        self._socket.setblocking(False)

    async def start_tls(self, options: TlsOptions, server_name: str) -> None:
        """The handshake, with the files as they are now; closes the connection when it fails."""
        try:
            context = await trio.to_thread.run_sync(options.context)  # the system's roots take 20 ms to read
            self._socket = context.wrap_socket(self._socket, do_handshake_on_connect=False, server_hostname=server_name)
            await self._shake_hands(self._socket)
        except BaseException:
            self.close()
            raise

    async def _shake_hands(self, tls: ssl.SSLSocket) -> None:
        while True:
            try:
                return tls.do_handshake()
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(tls)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(tls)

    def send(self, octets: bytes | memoryview) -> int:
        """How many octets were taken: the kernel has them (TLS: the record layer); 0 when it would have to wait."""
        try:
            return self._socket.send(octets)
        except (BlockingIOError, InterruptedError, ssl.SSLWantWriteError):
            return 0

    async def wait_writable(self) -> None:
        """Until `send` may take something."""
        await trio.lowlevel.wait_writable(self._socket)

    async def send_all(self, octets: bytes) -> None:
        """For control frames; data is sent by `send`, which counts."""
        while octets:
            sent = self.send(octets)
            octets = octets[sent:]
            if not sent:
                await self.wait_writable()

    async def receive(self) -> bytes:
        """What came; empty once the collector has closed."""
        while True:
            try:
                return self._socket.recv(RECEIVE_OCTETS)
            except (BlockingIOError, InterruptedError, ssl.SSLWantReadError):
                await trio.lowlevel.wait_readable(self._socket)

    def close(self) -> None:
        """Close at once; a collector over TLS is told so, as far as that does not wait."""
        try:
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.unwrap()
        except (OSError, ValueError):
            pass  # the collector's own close_notify is not waited for
        self._socket.close()
