"""PEM files that a configuration names: read in one way, and found wanting before anything is opened."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from dnsproxy.options import OptionError


class PemKeys(Protocol):
    """A stanza's keys: authorities to trust, our own certificate, and its private key if that is in another file."""

    @property
    def ca(self) -> str | None: ...
    @property
    def cert(self) -> str | None: ...
    @property
    def key(self) -> str | None: ...


def client_context(ca: str | None, cert: str | None, key: str | None) -> ssl.SSLContext:
    """For connections that we make, verified by `ca` or the system's authorities; OSError when a file will not do."""
    return with_own(ssl.create_default_context(cafile=ca), cert, key)


def with_own(context: ssl.SSLContext, cert: str | None, key: str | None) -> ssl.SSLContext:
    """The context with TLS 1.2 and up, and our own certificate; OSError when a file will not do."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # a write never has to wait for something to read
    if cert:
        context.load_cert_chain(cert, key, password=_no_passphrase)
    return context


def _no_passphrase() -> str:
    """Instead of OpenSSL's question on the terminal."""
    raise OSError("the key is encrypted")


def pem_errors(keys: PemKeys) -> Iterator[OptionError]:
    """Read `ca`, `cert` and `key` as a connection will."""
    if keys.key and not keys.cert:
        yield OptionError("key", "stands without cert; expected both or none")
    broken = set()
    for name, path in (("ca", keys.ca), ("cert", keys.cert)):
        if path and (reason := _failure(path, None, None)):
            broken.add(name)
            yield OptionError(name, f"{path} will not do ({reason}); expected PEM certificates")
    if keys.cert and (reason := _key_failure(keys.cert, keys.key, "cert" in broken)):
        at, path = ("key", keys.key) if keys.key else ("cert", keys.cert)
        yield OptionError(at, f"{path} will not do ({reason}); expected the PEM private key of the certificate")


def _key_failure(cert: str, key: str | None, cert_is_broken: bool) -> str:
    """Why the key cannot be used; empty when it can, as far as its certificate lets us see."""
    if not cert_is_broken:
        return _failure(cert, cert, key)  # trusting it, for the system's authorities need not be read
    return _unlike_a_key(key) if key else ""


def _unlike_a_key(path: str) -> str:
    """Why a file holds no private key in PEM; empty when it looks as if it did."""
    try:
        return "" if b"PRIVATE KEY-----" in Path(path).read_bytes() else "not PEM"
    except OSError as exc:
        return _reason(exc)


def _failure(ca: str | None, cert: str | None, key: str | None) -> str:
    """Why these files cannot be used; empty when they can."""
    try:
        client_context(ca, cert, key)
    except OSError as exc:
        return _reason(exc)
    return ""


def _reason(exc: OSError) -> str:
    return (exc.reason or "not PEM") if isinstance(exc, ssl.SSLError) else exc.strerror or str(exc)
