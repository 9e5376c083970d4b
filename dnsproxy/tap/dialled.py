"""A source that listens itself: it is dialled, again and again, and then serves us as one who dials us does."""

from __future__ import annotations

import random
from typing import Final

import trio

from dnsproxy.dnstap.connection import connect
from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.session import deadline, reason_of
from dnsproxy.tap.damage import tell
from dnsproxy.tap.listening import name_of
from dnsproxy.tap.producers import Producers

CONNECT_S: Final = 5.0  # a host that swallows packets; name look-up and TLS handshake included
REDIAL_MIN_S: Final = 0.1
REDIAL_MAX_S: Final = 10.0


class DialledSource:
    """One connection at a time; `str()` is what its streams are called."""

    def __init__(self, url: Destination, trust: TlsOptions, producers: Producers) -> None:
        self._url = url
        self._trust = trust
        self._producers = producers
        self._is_closed = False
        self._waiting = trio.CancelScope()
        self._complaint = ""  # the last one, which is not repeated
        self._taken = 0

    async def run(self) -> None:
        """Until `close`, and until the producer is gone."""
        pause_s = REDIAL_MIN_S
        while not self._is_closed:
            if await self._session():
                pause_s = REDIAL_MIN_S
            with self._until_closed():
                await trio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311
            pause_s = min(2 * pause_s, REDIAL_MAX_S)

    def close(self) -> None:
        """Dial no more."""
        self._is_closed = True
        self._waiting.cancel()

    async def _session(self) -> bool:
        """One connection, if it comes about; whether it came as far as START."""
        connection = None
        try:
            with self._until_closed(), deadline(CONNECT_S, "no connection"):
                connection = await connect(self._url, self._trust)
        except OSError as exc:
            self._complain(reason_of(exc))
        if connection is None:
            return False
        self._complaint = ""
        self._taken += 1
        return await self._producers.serve(connection, f"{self}#{self._taken}")

    def _until_closed(self) -> trio.CancelScope:
        self._waiting = trio.CancelScope()
        if self._is_closed:
            self._waiting.cancel()
        return self._waiting

    def _complain(self, reason: str) -> None:
        if reason != self._complaint:
            self._complaint = reason
            tell(f"{self}: cannot connect: {reason}; going on trying")

    def __str__(self) -> str:
        return name_of(self._url)

    def __repr__(self) -> str:
        return f"<DialledSource {self}, {self._taken} connections>"
