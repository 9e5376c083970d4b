"""TLS without I/O: what came in, what is to be said, and the records to send for it."""

from __future__ import annotations

import ssl
from typing import Final

RECORD_OCTETS: Final = 16_384  # the most that one record holds (RFC 8446, section 5.1)


class RecordLayer:
    """One side of a TLS connection; ssl.SSLError when the other one does what it may not."""

    def __init__(self, context: ssl.SSLContext, server_name: str | None = None, *, server_side: bool = False) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side, server_name)

    def shake_hands(self) -> bool:
        """Go on with the handshake; whether it is done. Until then the other side has to say something."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def receive_data(self, data: bytes) -> None:
        """What came; nothing when the other side has closed the connection."""
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def read(self, octets: int) -> bytes | None:
        """What was said; empty when the other side says no more, None while more has to come."""
        try:
            return self._tls.read(octets)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""

    def seal(self, octets: bytes | memoryview) -> None:
        """Say something: its records are part of what `data_to_send` gives next."""
        rest = memoryview(octets)
        while rest:
            rest = rest[self._tls.write(rest) :]

    def close(self) -> None:
        """Say no more; the other side's own close is not waited for."""
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass

    def data_to_send(self) -> bytes:
        """Octets for the other side, each given once, to be sent in this order."""
        return self._outgoing.read()
