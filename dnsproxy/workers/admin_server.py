"""The supervisor's admin socket: as `dnsproxy.admin`, on the supervisor's own loop."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from typing import Any

from dnsproxy import admin, unix_listener
from dnsproxy.settings import AdminSocket
from dnsproxy.workers.clients import Clients, Reply
from dnsproxy.workers.loop import Loop

Answer = Callable[[dict[str, Any]], None]
Take = Callable[[Answer], None]


class AdminServer:
    """Answers on a unix socket; `take(answer)` has `answer` called with what `status` shows."""

    def __init__(self, loop: Loop, take: Take) -> None:
        self._clients = Clients(loop, lambda: _Request(take), admin.MAX_CONNECTIONS, admin.CONNECTION_S)
        self._listening: socket.socket | None = None

    def open(self, wanted: AdminSocket | None) -> None:
        """Listen, instead of where it did; AdminError when that cannot be, and then nowhere."""
        self.close()
        listening = admin.acquire(wanted.path, wanted.required) if wanted else None
        if listening is not None:
            self._path, self._ours = str(listening.getsockname()), os.lstat(listening.getsockname())
            self._listening = listening
            self._clients.listen(listening)

    def close(self) -> None:
        """Listen no more, and remove the socket."""
        if self._listening is not None:
            self._clients.leave(self._listening)
            self._listening = None
            unix_listener.remove(self._path, self._ours)
        self._clients.close()


class _Request:
    """One line of JSON, or what comes in its place."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._octets = b""

    def receive_data(self, data: bytes) -> bool:
        self._octets += data
        return not data or b"\n" in data or len(self._octets) >= admin.MAX_REQUEST

    def answer(self, reply: Reply) -> None:
        def tell(answer: dict[str, Any]) -> None:
            reply(json.dumps(answer).encode() + b"\n")

        refused = admin.refusal(self._octets.partition(b"\n")[0])
        if refused:
            tell(refused)
        else:
            self._take(tell)
