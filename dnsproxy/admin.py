"""The admin socket: one JSON line asks, one JSON line answers, and whoever hangs on it harms nobody."""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from dnsproxy import unix_listener
from dnsproxy.crowd import Crowd

MAX_REQUEST = 4096  # octets; ours have about 25
CONNECTION_S = 5.0  # for request and answer together
MAX_CONNECTIONS = 32  # beyond it the oldest one is closed, so that a new one always gets its turn
OWNER_ONLY = 0o600

Snapshot = Callable[[], dict[str, Any]]
log = logging.getLogger(__name__)


class AdminError(Exception):
    """The admin socket cannot be opened; the text is one line that says why."""


async def serve(
    path: str,
    snapshot: Snapshot,
    *,
    required: bool = True,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on a unix socket at `path`, mode 0600, until cancelled; `snapshot()` makes what `status` shows.

    AdminError when the socket cannot be had; if it is not `required`, a warning, and the proxy goes on without.
    """
    listening = acquire(path, required)
    if listening is None:
        task_status.started()
        return
    await _serve_on(listening, path, _Connections(snapshot).handle, task_status)


def acquire(path: str, required: bool) -> socket.socket | None:
    """The listening socket; None, after a warning, when it cannot be had and is not `required`, else AdminError."""
    try:
        if not required:
            Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return open_listener(path)
    except OSError as exc:
        if required:
            raise AdminError(_reason(path, exc)) from exc
        log.warning("%s; going on without it", _reason(path, exc))
        return None


async def _serve_on(
    listening: socket.socket,
    path: str,
    handle: Callable[[trio.abc.Stream], Awaitable[None]],
    task_status: trio.TaskStatus[None],
) -> None:
    ours = os.lstat(path)
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
    try:
        task_status.started()
        await trio.serve_listeners(handle, [listener])
    finally:
        unix_listener.remove(path, ours)


def open_listener(path: str) -> socket.socket:
    """A listening unix socket of mode 0600; OSError when it cannot be had."""
    return unix_listener.open_listener(path, OWNER_ONLY)


def _reason(path: str, exc: OSError) -> str:
    return f"admin socket {path}: {exc.strerror or exc}"


def refusal(request: bytes) -> dict[str, Any]:
    """The answer to whoever asks for nothing that there is; empty when the request is for the status."""
    try:
        asked = json.loads(request)
    except (ValueError, RecursionError):
        return {"error": 'no JSON; expected {"command": "status"}'}
    if not isinstance(asked, dict) or asked.get("command") != "status":
        return {"error": 'unknown command; expected {"command": "status"}'}
    return {}


class _Connections:
    """Those who ask, each bounded in time and octets, all of them in number."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._crowd = Crowd(MAX_CONNECTIONS, CONNECTION_S)

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Answer one request, and close."""
        await self._crowd.serve(stream, self._converse)

    async def _converse(self, stream: trio.abc.Stream) -> None:
        await stream.send_all(self._answer(await _request(stream)))

    def _answer(self, request: bytes) -> bytes:
        return json.dumps(self._result(request)).encode() + b"\n"

    def _result(self, request: bytes) -> dict[str, Any]:
        refused = refusal(request)
        if refused:
            return refused
        try:
            return self._snapshot()
        except Exception:
            log.exception("the status cannot be taken")
            return {"error": "the status cannot be taken; the proxy's log says why"}


async def _request(stream: trio.abc.Stream) -> bytes:
    """The first line; what there is when the client stops writing or writes too much."""
    request = b""
    while b"\n" not in request and len(request) < MAX_REQUEST:
        part = await stream.receive_some(MAX_REQUEST)
        if not part:
            break
        request += part
    return request.partition(b"\n")[0]
