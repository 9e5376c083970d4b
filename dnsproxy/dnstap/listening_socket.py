"""Where a tap's collectors dial in: a unix or TCP socket, bound at once or not at all."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from typing import Final

import trio

from dnsproxy import unix_listener
from dnsproxy.dnstap.connection import Connection
from dnsproxy.dnstap.destination import LOCALHOST, Destination
from dnsproxy.listen_address import host_port

UNIX_MODE: Final = 0o660  # who asked for what is its owner's and group's business, as with files
BACKLOG: Final = 128  # connections that the kernel keeps while we are busy


class ListenError(OSError):
    """A tap cannot listen; the text is one line that says where and why."""


class ListeningSocket:
    """Bound when it is made, or ListenError. `url` has the port that was given for 0."""

    def __init__(self, url: Destination, unix_mode: int = UNIX_MODE) -> None:
        try:
            bound = unix_listener.open_listener(url.path, unix_mode) if url.scheme == "unix" else _bind_tcp(url)
        except OSError as exc:
            raise ListenError(f"cannot listen on {url}: {exc.strerror or exc}") from exc
        self.url = url if url.scheme == "unix" else replace(url, port=bound.getsockname()[1])
        self._ours = os.lstat(url.path) if url.scheme == "unix" else None
        self._bound = bound
        self._listening = trio.socket.from_stdlib_socket(bound)
        self._collectors = 0

    async def accept(self) -> tuple[Connection, str]:
        """The next collector, and what to call it; OSError when there is none after all, or no room for it."""
        connected, address = await self._listening.accept()
        self._collectors += 1
        peer = f"#{self._collectors}" if self.url.scheme == "unix" else host_port(*address[:2])
        return Connection(connected), peer

    def close(self) -> None:
        """Listen no more; the socket's name goes too, unless it is somebody else's by now."""
        if self._ours is not None:
            unix_listener.remove(self.url.path, self._ours)
            self._ours = None
        self._bound.close()


def _bind_tcp(url: Destination) -> socket.socket:
    host = "127.0.0.1" if url.host == LOCALHOST else url.host
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if host == "::":
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        bound.bind((host, url.port))
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound
