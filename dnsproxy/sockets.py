"""Binds the sockets of all listeners before anything else happens, and says clearly why one cannot be had."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from dnsproxy.listen_address import ListenAddress, host_port
from dnsproxy.listeners.tcp import bind_tcp
from dnsproxy.listeners.udp import bind_udp

log = logging.getLogger("dnsproxy")

PORT_TRIES = 20  # for port 0: both protocols must get the same one
NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class StartError(Exception):
    """The proxy cannot start; the text is one line that says why."""


@dataclass
class Bound:
    """The sockets of one listening address, by scheme."""

    address: ListenAddress
    sockets: dict[str, socket.socket]


def bind_all(addresses: Iterable[ListenAddress]) -> list[Bound]:
    """Bind every address; StartError, and nothing stays open, when one cannot be.

    Where the machine has no IPv6, its loopback and wildcard addresses are passed over with a warning, as long as
    something else is left to listen on.
    """
    wanted = list(dict.fromkeys(addresses))
    v4_ports = {address.port for address in wanted if address.family == socket.AF_INET}
    bound: list[Bound] = []
    skipped = None
    try:
        for address in wanted:
            try:
                bound.append(_bind(address, v6only=address.port in v4_ports or address.port == 0))
            except OSError as exc:
                if not (exc.errno in NO_IPV6 and address.host in ("::1", "::")):
                    raise StartError(_why(address, exc)) from exc
                log.warning("no IPv6 on this machine: not listening on %s", address)
                skipped = StartError(_why(address, exc))
        if not bound and skipped is not None:
            raise skipped
    except StartError:
        close_all(bound)
        raise
    return bound


def close_all(bound: Iterable[Bound]) -> None:
    """Close every socket."""
    for each in bound:
        for sock in each.sockets.values():
            sock.close()


def _bind(address: ListenAddress, v6only: bool) -> Bound:
    if address.port == 0 and len(address.schemes) > 1:
        return _bind_same_port(address, v6only)
    return Bound(address, _sockets(address, address.port, v6only))


def _bind_same_port(address: ListenAddress, v6only: bool) -> Bound:
    """Port 0 for UDP and TCP: whatever TCP gets, UDP must get too."""
    for attempt in range(PORT_TRIES):
        tcp = bind_tcp(address.host, 0, v6only)
        try:
            udp = bind_udp(address.host, tcp.getsockname()[1], v6only)
        except OSError as exc:
            tcp.close()
            if exc.errno != errno.EADDRINUSE or attempt == PORT_TRIES - 1:
                raise
            continue
        return Bound(address, {"udp": udp, "tcp": tcp})
    raise AssertionError("the last attempt returns or raises")


def _sockets(address: ListenAddress, port: int, v6only: bool) -> dict[str, socket.socket]:
    binders = {"udp": bind_udp, "tcp": bind_tcp}
    sockets: dict[str, socket.socket] = {}
    try:
        for scheme in address.schemes:
            sockets[scheme] = binders[scheme](address.host, port, v6only)
    except OSError as exc:
        for sock in sockets.values():
            sock.close()
        exc.filename = scheme
        raise
    return sockets


def _why(address: ListenAddress, error: OSError) -> str:
    scheme = error.filename or address.schemes[0]
    reason = os.strerror(error.errno) if error.errno else str(error)
    hint = ""
    if error.errno == errno.EACCES:
        hint = "; ports below 1024 take root, CAP_NET_BIND_SERVICE or a socket from systemd"
    return f"cannot listen on {scheme}://{host_port(address.host, address.port)}: {reason}{hint}"
