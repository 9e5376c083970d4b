"""One TCP connection, plain or under TLS, that the driver serves without any task: octets in, octets out."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from typing import TYPE_CHECKING, Final, Protocol

from dnsproxy.address import Address, sockaddr_of
from dnsproxy.upstream.exchange import CLOSED, REFUSED, TLS_ERROR
from dnsproxy.upstream.sockets import stream_socket
from dnsproxy.upstream.tls import Refused, refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dnsproxy.plugin import Server
    from dnsproxy.upstream.options import UpstreamOptions
    from dnsproxy.upstream.tls import Refusals, Trust

log = logging.getLogger("dnsproxy")

READ_SIZE: Final = 65536
RECORD: Final = 16384  # octets of plain text that a TLS record carries at most


class Owner(Protocol):
    """Whoever speaks over a link. Everything here is called outside every task."""

    def established(self) -> None:
        """Connected, verified: `write` may be called."""

    def receive_data(self, data: bytes, received_ns: int) -> None:
        """Octets have come."""

    def lost(self, outcome: str) -> None:
        """It is over, and not by `close`: an exchange's outcome. Called at most once."""


class Link:
    """From `open` to `lost` or `close`. Everything here is to be called outside every task.

    `waiting` are octets that the kernel has not taken yet: the owner gives up when they are too many.
    """

    def __init__(
        self,
        owner: Owner,
        server: Server,
        options: UpstreamOptions,
        trust: Trust | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        self.owner = owner
        self.driver = server.driver
        self.flights = server.flights
        self.options = options
        self.trust = trust
        self.refusals = refusals
        self.sock: socket.socket | None = None
        self.fd = -1
        self.local = options.address  # ours, once it is connected
        self.is_connected = self.is_established = self.has_ended = False
        self.waiting = bytearray()
        # memory, not an SSLSocket, which needs two system calls for each record it reads: of twenty small ones that
        # came together each takes 2 µs, not 8
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.peer: ssl.SSLObject | None = None
        self.is_remembered = False

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self.fd

    def open(self) -> None:
        """Begin to connect; what comes of it is told later, never before this returns."""
        try:
            self.sock = stream_socket(self.options)
            self.fd = self.sock.fileno()
            try:
                self.sock.connect(self.options.address.socket_tuple())
            except BlockingIOError:
                pass
            self.driver.add(self)
            self.driver.want_write(self)
        except OSError as exc:
            log.debug("%s: %s", self.options.url, exc)
            self.flights.submit(self._end, REFUSED)

    def on_writable(self) -> None:
        """Connected, or not; or the kernel takes more."""
        if not self.is_connected:
            self._connected()
        elif self.waiting:
            data, self.waiting = bytes(self.waiting), bytearray()
            self._send(data)

    def _connected(self) -> None:
        assert self.sock is not None
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._end(REFUSED)
            return
        self.is_connected = True
        self.local = Address(sockaddr_of(self.sock.getsockname()))
        if self.trust is None:
            self._establish()
        else:
            self.peer = self.trust.wrap(self.incoming, self.outgoing)
            self._shake_hands(self.trust, self.peer)

    def _establish(self) -> None:
        self.is_established = True
        self.owner.established()

    def _shake_hands(self, trust: Trust, peer: ssl.SSLObject) -> None:
        """As far as it goes with what has come."""
        error: Exception | None = None
        try:
            peer.do_handshake()
            trust.verify(peer)
        except ssl.SSLWantReadError:
            self._send(self.outgoing.read())
            return
        except (ssl.SSLError, Refused) as exc:
            error = exc
        self._send(self.outgoing.read())  # our last word, or what alerts the peer
        if error is not None:
            self._refuse(error)
        elif not self.has_ended:
            self._establish()

    def _refuse(self, error: Exception) -> None:
        """The handshake has failed: a certificate that will not do is told and remembered."""
        reason = refusal(error)
        if self.refusals is not None:
            if reason is None:
                self.refusals.failed(error)
            else:
                self.refusals.refused(reason)
        self._end(TLS_ERROR)

    def on_readable(self) -> None:
        """Take what came."""
        if self.sock is None or self.has_ended:
            return
        if not self.is_connected:
            if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._end(REFUSED)
            return
        self._read(self.sock)

    def _read(self, sock: socket.socket) -> bool:
        """Take what the kernel has, up to a bound; whether there was anything."""
        try:
            data = sock.recv(READ_SIZE)
        except BlockingIOError:
            return False
        except ConnectionRefusedError:  # of a connection that was opened with its first octets
            self._end(REFUSED)
            return False
        except OSError as exc:
            log.debug("%s: %s", self.options.url, exc)
            data = b""
        if not data:
            self._end(CLOSED)
        elif self.peer is None:
            self.owner.receive_data(data, time.time_ns())
        else:
            self._decrypt(self.peer, data, time.time_ns())
        return bool(data)

    def _decrypt(self, peer: ssl.SSLObject, data: bytes, received_ns: int) -> None:
        assert self.trust is not None
        self.incoming.write(data)
        if not self.is_established:
            self._shake_hands(self.trust, peer)
            if self.incoming.pending:
                self._take_records(peer, received_ns)
            return
        self._take_records(peer, received_ns)

    def _take_records(self, peer: ssl.SSLObject, received_ns: int) -> None:
        """Whatever is there, unless the handshake has yet to be finished."""
        if not self.is_established or self.has_ended or self.trust is None:
            return
        try:
            plain, is_over = self._records(peer)
        except ssl.SSLError as exc:  # in TLS 1.3 a client's certificate, or the lack of one, is refused only now
            if self.refusals is not None:
                self.refusals.failed(exc)
            self._end(TLS_ERROR)
            return
        if plain:
            if not self.is_remembered:  # what resumes it has come before the first octets
                self.is_remembered = True
                self.trust.remember(peer)
            self.owner.receive_data(plain, received_ns)
        if self.outgoing.pending and not self.has_ended:  # an answer to a change of keys
            self._send(self.outgoing.read())
        if is_over:
            self._end(CLOSED)

    def _records(self, peer: ssl.SSLObject) -> tuple[bytes, bool]:
        """What the records that are whole say, and whether they were the last."""
        parts: list[bytes] = []
        incoming = self.incoming
        try:
            while True:
                part = peer.read(RECORD)
                if not part:
                    return b"".join(parts), True
                parts.append(part)
                if not incoming.pending:
                    break
        except ssl.SSLWantReadError:
            pass
        return (parts[0] if len(parts) == 1 else b"".join(parts)), False

    def write(self, data: bytes) -> None:
        """Send as soon as the kernel takes it. It may be lost on return."""
        self.write_each((data,))

    def write_each(self, messages: Sequence[bytes]) -> None:
        """The same for several messages: at once, but each in TLS records of its own.

        One record for many would save 2.5 µs of 27 for each query, and NSD answers only the first query of a record
        until more comes: it waits for the kernel although its TLS library holds the rest.
        """
        if self.has_ended:
            return
        if self.peer is None:
            self._send(messages[0] if len(messages) == 1 else b"".join(messages))
            return
        try:
            for message in messages:
                done = self.peer.write(message)
                while done < len(message):
                    done += self.peer.write(message[done:])
        except ssl.SSLError as exc:
            log.debug("%s: %s", self.options.url, exc)
            self._end(TLS_ERROR)
            return
        self._send(self.outgoing.read())

    def _send(self, data: bytes) -> None:
        if self.waiting:
            self.waiting += data
            return
        if not data or self.sock is None:
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except ConnectionRefusedError:
            self._end(REFUSED)
            return
        except OSError as exc:
            log.debug("%s: %s", self.options.url, exc)
            if self.is_established:
                self.flights.submit(self._read_out)
            else:
                self._end(CLOSED)
            return
        if sent < len(data):
            self.waiting += data[sent:]
            self.driver.want_write(self)

    def _read_out(self) -> None:
        """Nothing can be sent any more: what came before the end still counts."""
        while self.sock is not None and not self.has_ended and self._read(self.sock):
            pass
        self._end(CLOSED)

    def _end(self, outcome: str) -> None:
        if not self.has_ended:
            self._drop()
            self.owner.lost(outcome)

    def close(self) -> None:
        """End it without a word to the owner."""
        if self.has_ended:
            return
        if self.is_established and self.peer is not None and self.sock is not None and not self.waiting:
            try:  # say goodbye as TLS wants it, if that can be done at once
                self.peer.unwrap()
            except ssl.SSLError:
                pass
            try:
                self.sock.send(self.outgoing.read())
            except OSError:
                pass
        self._drop()

    def _drop(self) -> None:
        self.has_ended = True
        if self.sock is not None:
            self.driver.remove(self)
            self.sock.close()
