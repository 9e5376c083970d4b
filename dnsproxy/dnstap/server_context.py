"""The TLS context of a tap that listens: read again when told to, and never lost to a bad file."""

from __future__ import annotations

import logging
import ssl

import trio

from dnsproxy.dnstap.destination import TlsOptions

log = logging.getLogger("dnsproxy")


class ServerContext:
    """OSError when the files will not do at its making; later a file that will not do leaves all as it was."""

    def __init__(self, options: TlsOptions) -> None:
        self._options = options
        self._context = options.server_context()
        self._is_stale = False
        self._reading = trio.Lock()

    def expire(self, options: TlsOptions) -> None:
        """The files have changed, or others are meant: `get` reads them."""
        self._options = options
        self._is_stale = True

    async def get(self, tap: str) -> ssl.SSLContext:
        """For the next handshake; the tap's name is for the log."""
        async with self._reading:
            while self._is_stale:
                self._is_stale = False
                try:
                    self._context = await trio.to_thread.run_sync(self._options.server_context)
                except OSError as exc:
                    log.error("tap %s keeps its certificate: %s", tap, exc)  # noqa: TRY400  the operator's mistake
        return self._context
