"""Whom we trust over TLS: contexts, pins, and what becomes of a certificate that will not do."""

from __future__ import annotations

import hashlib
import logging
import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakValueDictionary

from dnsproxy.pem import client_context

if TYPE_CHECKING:
    from dnsproxy.address import Address
    from dnsproxy.flight import Flights
    from dnsproxy.upstream.options import TlsOptions, UpstreamOptions

log = logging.getLogger("dnsproxy")

PIN: Final = "pin"
REPEAT_S: Final = 10.0  # the same refusal of the same upstream is news again after that time
REASONS: Final = {  # by OpenSSL's X509_V_ERR_*
    2: "unknown issuer",
    9: "not yet valid",
    10: "expired",
    18: "self-signed",
    19: "unknown issuer",  # its root came along, but nobody here knows it
    20: "unknown issuer",
    21: "unknown issuer",
    62: "host name mismatch",
    64: "host name mismatch",  # of an IP address
}
SUBJECT_PUBLIC_KEY_INFO: Final = 6  # its place in a TBSCertificate that begins with a version (RFC 5280 section 4.1)
EXPLICIT_VERSION: Final = 0xA0


class Refused(Exception):
    """A certificate that verifies will not do all the same; its text is the reason."""


class Trust:
    """How one upstream is verified; OSError when a PEM file will not do.

    TLS 1.2 and up, chain and name verified, then pins. `server_hostname` is what its certificate must carry: a name,
    or the upstream's IP address. `session` is the last one that may be resumed. So many `handshakes` were verified, and
    so many of them were `resumptions`.
    """

    def __init__(self, options: TlsOptions, address: Address, alpn: tuple[str, ...] = ()) -> None:
        self.context = _shared_context(options, alpn)
        self.server_hostname = options.server_name or address.host.partition("%")[0]
        self.pins = options.pins
        self.session: ssl.SSLSession | None = None
        self.handshakes = self.resumptions = 0

    def wrap(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> ssl.SSLObject:
        """Our end of a new connection, which resumes the last session where the upstream still knows it."""
        return self.context.wrap_bio(incoming, outgoing, server_hostname=self.server_hostname, session=self.session)

    def verify(self, peer: ssl.SSLObject | ssl.SSLSocket) -> None:
        """After each handshake: Refused unless a pin fits, where there are any. What is resumed was verified before."""
        if peer.session_reused:
            self.resumptions += 1
        elif self.pins:
            self.check_pins(_chain(peer))
        self.handshakes += 1

    def check_pins(self, chain: Iterable[bytes]) -> None:
        """Refused if there are pins and none fits a certificate (DER) of the verified chain (RFC 7469 section 2.6)."""
        if self.pins and not any(pin_of(der) in self.pins for der in chain):
            raise Refused(PIN)

    def remember(self, peer: ssl.SSLObject | ssl.SSLSocket) -> None:
        """Keep the session of a verified connection; with TLS 1.3 there is one once something has been read."""
        session = peer.session
        if session is not None and (session.has_ticket or peer.version() == "TLSv1.2"):
            self.session = session


_contexts: WeakValueDictionary[tuple[object, ...], ssl.SSLContext] = WeakValueDictionary()


def _shared_context(options: TlsOptions, alpn: tuple[str, ...]) -> ssl.SSLContext:
    """One for all upstreams that agree in files: reading the system's authorities takes 20 ms and a megabyte."""
    key = (*versions(options), alpn)
    context = _contexts.get(key)
    if context is None:
        context = _contexts[key] = _make_context(options, alpn)
    return context


def versions(options: TlsOptions) -> tuple[object, ...]:
    """The same as long as nobody has written its files; OSError when one is not there."""
    return tuple(_version(path) for path in (options.ca, options.cert, options.key))


def _version(path: str | None) -> object:
    if path is None:
        return None
    stat = Path(path).stat()
    return (path, stat.st_dev, stat.st_ino, stat.st_mtime_ns)


def _make_context(options: TlsOptions, alpn: tuple[str, ...]) -> ssl.SSLContext:
    context = client_context(options.ca, options.cert, options.key)
    context.hostname_checks_common_name = False
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def _chain(peer: Any) -> list[bytes]:
    """The verified chain in DER, leaf first; before Python 3.13 by a private name, the leaf alone if that is gone."""
    if hasattr(peer, "get_verified_chain"):
        return list(peer.get_verified_chain())
    own: Any = getattr(peer, "_sslobj", None)
    if hasattr(own, "get_verified_chain"):
        return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in own.get_verified_chain() or ()]
    leaf = peer.getpeercert(binary_form=True)
    return [leaf] if leaf else []


def refusal(exc: BaseException) -> str | None:
    """Why a certificate was refused, in the words of the log; None for any other error."""
    if isinstance(exc, Refused):
        return str(exc)
    if isinstance(exc, ssl.SSLCertVerificationError):
        return REASONS.get(exc.verify_code, exc.verify_message)
    return None


class Refusals:
    """The refused certificates of one upstream: told once in a while, and not asked for again at once."""

    def __init__(self, options: UpstreamOptions, flights: Flights) -> None:
        self.url = options.url
        self.address = options.address
        self.interval_s = options.health.interval
        self.flights = flights
        self.began_at = self.held_until = -1.0
        self.told: dict[str, float] = {}

    def begin(self) -> None:
        """A handshake begins: should it be refused, the next one may begin an interval from now, as probes do."""
        self.began_at = self.flights.now

    def refused(self, reason: str) -> None:
        """The handshake has ended that way."""
        self.hold()
        if self._is_news(reason):
            log.warning("upstream %s certificate of %s refused: %s", self.url, self.address, reason)

    def failed(self, error: Exception) -> None:
        """A handshake has failed for another reason: that is no ground to wait."""
        reason = getattr(error, "reason", None) or str(error)
        if self._is_news(reason):
            log.warning("upstream %s TLS with %s failed: %s", self.url, self.address, reason)

    def hold(self) -> None:
        """No other handshake before the interval is over."""
        self.held_until = self.began_at + self.interval_s

    def _is_news(self, reason: str) -> bool:
        now = self.flights.now
        if now < self.told.get(reason, now):
            return False
        self.told[reason] = now + REPEAT_S
        return True

    def holds(self) -> bool:
        """Whether it is too early for another handshake: exchanges fail at once with TLS_ERROR instead."""
        return self.flights.now < self.held_until


def pin_of(der: bytes) -> bytes:
    """SHA-256 over the SubjectPublicKeyInfo of a certificate, just as it stands there; ValueError when it is none."""
    start, _ = _inside(der, 0)
    at, end = _inside(der, start)
    places = SUBJECT_PUBLIC_KEY_INFO if der[at : at + 1] == bytes((EXPLICIT_VERSION,)) else SUBJECT_PUBLIC_KEY_INFO - 1
    for _ in range(places):
        at = _inside(der, at)[1]
    key_end = _inside(der, at)[1]
    if key_end > end:
        raise ValueError("no certificate in DER")
    return hashlib.sha256(der[at:key_end]).digest()


def _inside(der: bytes, at: int) -> tuple[int, int]:
    """Where the contents of the DER element at `at` begin and end."""
    if at + 2 > len(der):
        raise ValueError("no certificate in DER")
    length, start = der[at + 1], at + 2
    if length & 0x80:
        start += length & 0x7F
        length = int.from_bytes(der[at + 2 : start], "big")
    if start + length > len(der):
        raise ValueError("no certificate in DER")
    return start, start + length
