"""Sockets that systemd has bound for us (sd_listen_fds(3)): known by their addresses, whatever their names."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable, Iterator, MutableMapping
from typing import Final

FIRST_DESCRIPTOR: Final = 3  # SD_LISTEN_FDS_START
VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
SCHEMES: Final = {socket.SOCK_DGRAM: "udp", socket.SOCK_STREAM: "tcp"}

log = logging.getLogger("dnsproxy")

Where = tuple[str, str, int]  # scheme, host, port


class Passed:
    """Sockets that were passed to this process. They stay open, so that a listener that a reload removed can return."""

    def __init__(self, sockets: Iterable[socket.socket] = ()) -> None:
        self._sockets: dict[Where, socket.socket] = {}
        self._unused: set[Where] = set()
        for sock in sockets:
            where = _where(sock)
            if where is None:
                log.warning("a socket was passed that is no UDP socket and no listening TCP socket: %s", sock)
                sock.close()
            else:
                self._sockets[where] = sock
                self._unused.add(where)

    def has(self, scheme: str, host: str, port: int) -> bool:
        """Whether there is a socket that is bound there."""
        return (scheme, host, port) in self._sockets

    def take(self, scheme: str, host: str, port: int) -> socket.socket | None:
        """A duplicate of the socket that is bound there, non-blocking; None when there is none."""
        sock = self._sockets.get((scheme, host, port))
        if sock is None:
            return None
        self._unused.discard((scheme, host, port))
        duplicate = sock.dup()
        duplicate.setblocking(False)
        return duplicate

    def warn_of_unused(self) -> None:
        """Name the sockets that no listener has taken: what is sent there waits for nobody."""
        for scheme, host, port in sorted(self._unused):
            log.warning(
                "a %s socket was passed for %s port %d, where nothing is configured to listen", scheme, host, port
            )


NONE_PASSED: Final = Passed()


def passed_sockets(environment: MutableMapping[str, str]) -> Passed:
    """What systemd passed to this process. The variables that say so are removed: they are not for our children."""
    values = {name: environment.pop(name, "") for name in VARIABLES}
    if values["LISTEN_PID"] != str(os.getpid()) or not values["LISTEN_FDS"].isdecimal():
        return Passed()
    return Passed(_open(FIRST_DESCRIPTOR, int(values["LISTEN_FDS"])))


def _open(first: int, count: int) -> Iterator[socket.socket]:
    for descriptor in range(first, first + count):
        try:
            os.set_inheritable(descriptor, False)
            yield socket.socket(fileno=descriptor)
        except OSError as exc:
            log.warning("descriptor %d was passed and is no socket: %s", descriptor, exc.strerror)


def _where(sock: socket.socket) -> Where | None:
    scheme = SCHEMES.get(socket.SocketKind(sock.type))
    if scheme is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    if scheme == "tcp" and not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return None
    host, port = sock.getsockname()[:2]
    return scheme, host, port
