"""Whether the PEM files of a tap will do, found out before anything is opened."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dnsproxy.config import OptionError
from dnsproxy.dnstap.destination import TlsOptions

if TYPE_CHECKING:
    from dnsproxy_dnstap.options import TapConfig


def pem_errors(config: TapConfig) -> Iterator[OptionError]:
    """Read `ca`, `cert` and `key` as a connection will."""
    if config.key and not config.cert:
        yield OptionError("key", "stands without cert; expected both or none")
    for key in ("ca", "cert"):
        path = getattr(config, key)
        if path and (reason := _failure(TlsOptions(ca=path))):
            yield OptionError(key, f"{path} will not do ({reason}); expected PEM certificates")
            return
    if config.cert and (reason := _failure(TlsOptions(cert=config.cert, key=config.key, skip_verify=True))):
        at, path = ("key", config.key) if config.key else ("cert", config.cert)
        yield OptionError(at, f"{path} will not do ({reason}); expected the PEM private key of the certificate")


def _failure(tls: TlsOptions) -> str:
    """Why these files cannot be used; empty when they can."""
    try:
        tls.context()
    except OSError as exc:
        return _reason(exc)
    return ""


def _reason(exc: OSError) -> str:
    return (exc.reason or "not PEM") if isinstance(exc, ssl.SSLError) else exc.strerror or str(exc)
