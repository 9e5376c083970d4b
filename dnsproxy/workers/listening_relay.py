"""The supervisor's side of taps that collectors dial: what its loop calls, and a thread in which they are served."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Hashable
from queue import SimpleQueue
from typing import Any, Final

import trio

from dnsproxy.dnstap.listening_socket import ListenError
from dnsproxy.dnstap.listening_tap import lease_key
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.relay_records import Kind, Record, encode, understood
from dnsproxy.dnstap.session import FINISH_S
from dnsproxy.workers.shared_tap import SharedTap

END_S: Final = FINISH_S + 1.0  # for all sessions at once


class ListeningRelay:
    """Nothing here waits but `close`, for END_S."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._token: trio.lowlevel.TrioToken | None = None
        self._taps = _Taps()

    def serve(self, tap: dict[str, Any], descriptor: int) -> None:
        """A worker asks for a tap, and will say on that connection what there is for its collectors.

        LookupError or TypeError when it describes none.
        """
        connection = socket.socket(fileno=descriptor)
        try:
            options = understood(tap)
        except (LookupError, TypeError):
            connection.close()
            raise
        token = self._token or self._start()
        token.run_sync_soon(self._taps.attach, options, connection)

    def _start(self) -> trio.lowlevel.TrioToken:
        started: SimpleQueue[trio.lowlevel.TrioToken] = SimpleQueue()
        self._thread = threading.Thread(target=trio.run, args=(self._taps.run, started.put), daemon=True)
        self._thread.start()
        self._token = started.get()
        return self._token

    def reopen(self) -> None:
        """Read all certificates and keys again."""
        if self._token is not None:
            self._token.run_sync_soon(self._taps.reopen)

    def close(self) -> None:
        """End every session in good order; afterwards nothing is served."""
        if self._thread is not None and self._thread.is_alive() and self._token is not None:
            self._token.run_sync_soon(self._taps.close)
            self._thread.join(END_S)


class _Taps:
    """Everything that lives in the thread."""

    def __init__(self) -> None:
        self._taps: dict[Hashable, SharedTap] = {}
        self._workers: trio.Nursery | None = None
        self._served: trio.Nursery | None = None
        self._closing = trio.Event()

    async def run(self, tell_start: Callable[[trio.lowlevel.TrioToken], None]) -> None:
        """Until `close`, and until every session has ended."""
        async with trio.open_nursery() as self._workers:
            async with trio.open_nursery() as self._served:
                tell_start(trio.lowlevel.current_trio_token())
                await self._closing.wait()
            self._workers.cancel_scope.cancel()

    def attach(self, options: OutputOptions, connection: socket.socket) -> None:
        """Answer a worker, and hear it from now on."""
        assert self._workers is not None
        try:
            tap = self._tap(options)
        except ListenError as exc:
            connection.sendall(encode(Record(Kind.REFUSED, payload=str(exc).encode())))
            connection.close()
        else:
            self._workers.start_soon(tap.attend, connection)

    def _tap(self, options: OutputOptions) -> SharedTap:
        assert self._served is not None
        key = lease_key(options)
        tap = self._taps.get(key)
        if tap is None or tap.is_over:
            tap = self._taps[key] = SharedTap(options)
            self._served.start_soon(tap.run)
        return tap

    def reopen(self) -> None:
        for tap in self._taps.values():
            tap.reopen()

    def close(self) -> None:
        for tap in self._taps.values():
            tap.close()
        self._closing.set()
