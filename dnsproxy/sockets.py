"""Binds the sockets of all listeners before anything else happens, and says clearly why one cannot be had."""

from __future__ import annotations

import errno
import logging
import os
import resource
import socket
from collections.abc import Callable, Iterable
from typing import NamedTuple

from dnsproxy.activation import NONE_PASSED, Passed
from dnsproxy.listen_address import ListenAddress, host_port
from dnsproxy.listeners.tcp import bind_tcp
from dnsproxy.listeners.udp import bind_udp

log = logging.getLogger("dnsproxy")

PORT_TRIES = 20  # for port 0: both protocols must get the same one
NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  compared with, not bound to
BINDERS = {"udp": bind_udp, "tcp": bind_tcp}


class StartError(Exception):
    """The proxy cannot start; the text is one line that says why."""


class Place(NamedTuple):
    """Where one socket listens, as configured."""

    scheme: str
    host: str
    port: int

    @property
    def is_wildcard(self) -> bool:
        """Whether queries to every address of the machine arrive here."""
        return self.host in WILDCARDS

    def serves(self, address: ListenAddress) -> bool:
        """Whether this is one of the sockets of a configured address."""
        return self.scheme in address.schemes and (self.host, self.port) == (address.host, address.port)

    def __str__(self) -> str:
        return f"{self.scheme}://{host_port(self.host, self.port)}"


Sockets = dict[Place, socket.socket]
OpenSockets = Callable[[list[Place], Iterable[Place]], Sockets]  # as bind_all


def places(addresses: Iterable[ListenAddress]) -> list[Place]:
    """The sockets that the addresses take, each once; TCP before UDP, which must get the same port when it is 0."""
    found = [Place(scheme, address.host, address.port) for address in addresses for scheme in address.schemes]
    return sorted(dict.fromkeys(found), key=lambda place: place.scheme)


def bind_all(wanted: Iterable[Place], present: Iterable[Place] = (), passed: Passed = NONE_PASSED) -> Sockets:
    """Bind every place; StartError, and nothing stays open, when one cannot be. `present` ones are bound already.

    Sockets that were `passed` to us are used where they fit.

    Where the machine has no IPv6, its loopback and wildcard addresses are passed over with a warning, as long as
    something else is left to listen on.
    """
    wanted = list(wanted)
    v4_ports = {place.port for place in (*wanted, *present) if ":" not in place.host}
    bound: Sockets = {}
    skipped = None
    try:
        for place in wanted:
            try:
                if sock := passed.take(*place):
                    bound[place] = sock
                else:
                    _bind(place, bound, v6only=place.port in v4_ports)
            except OSError as exc:
                if not (exc.errno in NO_IPV6 and place.host in ("::1", "::")):
                    raise StartError(_why(place, exc)) from exc
                log.warning("no IPv6 on this machine: not listening on %s", place)
                skipped = StartError(_why(place, exc))
        if not (bound or tuple(present)) and skipped is not None:
            raise skipped
    except StartError:
        close_all(bound)
        raise
    return bound


def bind_shared(
    wanted: Iterable[Place], count: int, present: Iterable[Place] = (), passed: Passed = NONE_PASSED
) -> list[Sockets]:
    """As bind_all, `count` sockets for every place, among which the kernel divides the clients.

    A port that is taken is an error even if its owner would share it: each place is bound for ourselves alone first.
    A socket that was `passed` to us cannot be divided: all read from it.
    """
    alone = bind_all(wanted, present, passed)
    common = {place: alone.pop(place) for place in list(alone) if passed.has(*place)}
    found = {place: (sock.getsockname()[1], _is_v6only(sock)) for place, sock in alone.items()}
    close_all(alone)
    shared: list[Sockets] = [{place: sock.dup() for place, sock in common.items()} for _ in range(count)]
    close_all(common)
    for place, (port, v6only) in found.items():
        try:
            for sockets in shared:
                sockets[place] = BINDERS[place.scheme](place.host, port, v6only, share=True)
        except OSError as exc:
            for sockets in shared:
                close_all(sockets)
            raise StartError(_why(place, exc)) from exc
    return shared


def _is_v6only(sock: socket.socket) -> bool:
    return sock.family == socket.AF_INET6 and bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))


def close_all(bound: Sockets) -> None:
    """Close every socket."""
    for sock in bound.values():
        sock.close()


def raise_descriptor_limit() -> None:
    """As many descriptors as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError) as exc:  # a container's limit may be above the system's (fs.nr_open)
            log.warning("going on with %d descriptors: %s", soft, exc)


def _bind(place: Place, bound: Sockets, v6only: bool) -> None:
    if place.port == 0 and place.scheme == "udp" and (tcp := place._replace(scheme="tcp")) in bound:
        _bind_same_port(place, tcp, bound, v6only)
    else:
        bound[place] = BINDERS[place.scheme](place.host, place.port, v6only)


def _bind_same_port(udp: Place, tcp: Place, bound: Sockets, v6only: bool) -> None:
    """Port 0 for UDP and TCP: whatever TCP got, UDP must get too."""
    for left in reversed(range(PORT_TRIES)):
        try:
            bound[udp] = bind_udp(udp.host, bound[tcp].getsockname()[1], v6only)
        except OSError as exc:
            if exc.errno != errno.EADDRINUSE or not left:
                raise
            bound.pop(tcp).close()
            bound[tcp] = bind_tcp(tcp.host, 0, v6only)
        else:
            return


def _why(place: Place, error: OSError) -> str:
    reason = os.strerror(error.errno) if error.errno else str(error)
    hint = ""
    if error.errno == errno.EACCES:
        hint = "; ports below 1024 take root or CAP_NET_BIND_SERVICE"
    return f"cannot listen on {place}: {reason}{hint}"
