"""What aioquic knows of a connection and has no public name for: private, tested against the installed version."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aioquic.quic.connection import QuicConnection
    from aioquic.quic.events import ConnectionTerminated
    from cryptography.x509 import Certificate

RESET_TOKEN: Final = 16  # octets at the end of a stateless reset
MIN_RESET: Final = 21  # octets of the shortest one (RFC 9000 section 10.3)


def certificates(quic: QuicConnection) -> list[Certificate]:
    """Those that the peer has shown, its own first; none when a session was resumed."""
    own = quic.tls._peer_certificate
    return [] if own is None else [own, *quic.tls._peer_certificate_chain]


def streams_left(quic: QuicConnection) -> int:
    """How many more queries the peer allows now."""
    return quic._remote_max_streams_bidi - quic.get_next_available_stream_id() // 4


def ending(quic: QuicConnection) -> ConnectionTerminated | None:
    """How the connection ends, as soon as either side has said so: the event comes when it has drained."""
    return quic._close_event


def is_unheard(quic: QuicConnection) -> bool:
    """Whether something has gone out that wants an acknowledgement, and nothing genuine has come since."""
    return quic._ack_eliciting_sent_since_receipt


def is_stateless_reset(quic: QuicConnection, datagram: bytes) -> bool:
    """Whether the peer says that it knows nothing of the connection (RFC 9000 section 10.3.1)."""
    token = quic._peer_cid.stateless_reset_token
    if not token or len(datagram) < MIN_RESET:
        return False
    return hmac.compare_digest(datagram[-RESET_TOKEN:], token)
