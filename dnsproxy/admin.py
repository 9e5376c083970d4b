"""The admin socket: one JSON line asks, one JSON line answers, and whoever hangs on it harms nobody."""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

MAX_REQUEST = 4096  # octets; ours have about 25
CONNECTION_S = 5.0  # for request and answer together
MAX_CONNECTIONS = 32  # beyond it the oldest one is closed, so that a new one always gets its turn
PROBE_S = 1.0  # a live but busy owner of the socket answers a connect long before
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
    except (OSError, AdminError) as exc:
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
        remove(path, ours)


def open_listener(path: str) -> socket.socket:
    """A listening unix socket of mode 0600; what a dead process left at `path` is removed, nothing else is.

    AdminError when `path` is something other than a socket or somebody answers on it; else OSError.
    """
    _clear_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.fchmod(listening.fileno(), OWNER_ONLY)  # before it has a name; a umask would be every thread's
        listening.bind(path)
        listening.listen()
    except OSError:
        listening.close()
        raise
    return listening


def _clear_stale(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise AdminError("exists and is not a socket")
    if _somebody_answers(path):
        raise AdminError("another process listens on it")
    remove(path, found)


def _somebody_answers(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(path)
        except TimeoutError:
            return True
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def remove(path: str, ours: os.stat_result) -> None:
    """Remove the socket, unless another one has taken its place."""
    try:
        if os.path.samestat(os.lstat(path), ours):
            Path(path).unlink()
    except OSError as exc:
        log.debug("admin socket %s stays: %s", path, exc)


def _reason(path: str, exc: Exception) -> str:
    text = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
    return f"admin socket {path}: {text}"


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
        self._open: dict[trio.CancelScope, None] = {}

    async def handle(self, stream: trio.abc.Stream) -> None:
        """Answer one request, and close."""
        with trio.move_on_after(CONNECTION_S) as scope:
            self._make_room()
            self._open[scope] = None
            try:
                await stream.send_all(self._answer(await _request(stream)))
            except trio.BrokenResourceError:
                log.debug("an admin client went away")
            finally:
                del self._open[scope]
        await trio.aclose_forcefully(stream)

    def _make_room(self) -> None:
        waiting = [scope for scope in self._open if not scope.cancel_called]
        if len(waiting) >= MAX_CONNECTIONS:
            waiting[0].cancel()

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
