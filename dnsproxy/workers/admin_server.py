"""The supervisor's admin socket: as `dnsproxy.admin`, on the supervisor's own loop."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable
from typing import Any

from dnsproxy import admin
from dnsproxy.settings import AdminSocket
from dnsproxy.workers.loop import WRITE, Loop

log = logging.getLogger("dnsproxy")

Answer = Callable[[dict[str, Any]], None]


class AdminServer:
    """Answers on a unix socket; `take(answer)` has `answer` called with what `status` shows."""

    def __init__(self, loop: Loop, take: Callable[[Answer], None]) -> None:
        self._loop = loop
        self._take = take
        self._listening: socket.socket | None = None
        self._clients: dict[_Client, None] = {}

    def open(self, wanted: AdminSocket | None) -> None:
        """Listen, instead of where it did; AdminError when that cannot be, and then nowhere."""
        self.close()
        listening = admin.acquire(wanted.path, wanted.required) if wanted else None
        if listening is not None:
            listening.setblocking(False)
            self._path, self._ours = str(listening.getsockname()), os.lstat(listening.getsockname())
            self._listening = listening
            self._loop.watch(listening, self._accept)

    def close(self) -> None:
        """Listen no more, and remove the socket."""
        if self._listening is not None:
            self._loop.forget(self._listening)
            self._listening.close()
            self._listening = None
            admin.remove(self._path, self._ours)
        for client in list(self._clients):
            client.close()

    def _accept(self, _mask: int) -> None:
        assert self._listening is not None
        try:
            sock, _ = self._listening.accept()
        except OSError as exc:
            log.debug("the admin socket accepts nobody: %s", exc)
            return
        if len(self._clients) >= admin.MAX_CONNECTIONS:
            next(iter(self._clients)).close()
        self._clients[_Client(sock, self._loop, self._take, self._clients)] = None


class _Client:
    """Somebody who asks: bounded in time and octets."""

    def __init__(
        self, sock: socket.socket, loop: Loop, take: Callable[[Answer], None], clients: dict[_Client, None]
    ) -> None:
        sock.setblocking(False)
        self._sock = sock
        self._loop = loop
        self._take = take
        self._clients = clients
        self._request = b""
        self._answer = memoryview(b"")
        self._timer = loop.later(admin.CONNECTION_S, self.close)
        loop.watch(sock, self._on_event)

    def close(self) -> None:
        """End it, whatever it was about to do."""
        if self in self._clients:
            del self._clients[self]
            self._timer.cancel()
            self._loop.forget(self._sock)
            self._sock.close()

    def _on_event(self, mask: int) -> None:
        try:
            if mask & WRITE:
                self._write()
            else:
                self._read()
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def _read(self) -> None:
        part = self._sock.recv(admin.MAX_REQUEST)
        self._request += part
        if part and b"\n" not in self._request and len(self._request) < admin.MAX_REQUEST:
            return
        self._loop.forget(self._sock)
        refused = admin.refusal(self._request.partition(b"\n")[0])
        if refused:
            self._reply(refused)
        else:
            self._take(self._reply)

    def _reply(self, answer: dict[str, Any]) -> None:
        if self in self._clients:
            self._answer = memoryview(json.dumps(answer).encode() + b"\n")
            self._loop.watch(self._sock, self._on_event, WRITE)

    def _write(self) -> None:
        self._answer = self._answer[self._sock.send(self._answer) :]
        if not self._answer:
            self.close()
