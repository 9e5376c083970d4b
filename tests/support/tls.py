"""TLS streams under full control, for collectors."""

import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
RECEIVE_OCTETS = 1 << 16


class TlsStream:
    """A socket under TLS whose two sides can be shut one by one, from any thread: `ssl.SSLSocket` cannot."""

    def __init__(self, raw: socket.socket, context: ssl.SSLContext, *, host: str | None = None) -> None:
        """Shakes hands, as the server unless a host is given; OSError when that fails."""
        self._raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        server_side = context.protocol == ssl.PROTOCOL_TLS_SERVER
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side, None if server_side else host)
        self._step(self._tls.do_handshake)

    @property
    def peer(self) -> bytes | None:
        """The other side's certificate (DER), if it showed one."""
        return self._tls.getpeercert(binary_form=True)

    def recv(self, octets: int) -> bytes:
        try:
            return self._step(lambda: self._tls.read(octets))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def sendall(self, octets: bytes) -> None:
        self._step(lambda: self._tls.write(octets))

    def shutdown(self, how: int) -> None:
        self._raw.shutdown(how)

    def close(self) -> None:
        self._raw.close()

    def _step(self, step: Callable[[], T]) -> T:
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._flush()
                self._receive()
            finally:
                self._flush()

    def _flush(self) -> None:
        if octets := self._outgoing.read():
            self._raw.sendall(octets)

    def _receive(self) -> None:
        chunk = self._raw.recv(RECEIVE_OCTETS)
        if chunk:
            self._incoming.write(chunk)
        else:
            self._incoming.write_eof()
