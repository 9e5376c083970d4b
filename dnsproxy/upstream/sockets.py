"""Makes the sockets of every transport: the right family, from the address and with the mark that operators ask for."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import socket
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from dnsproxy.address import Address
    from dnsproxy.upstream.options import UpstreamOptions

log = logging.getLogger("dnsproxy")

LINUX_BIND_ADDRESS_NO_PORT: Final = 24  # the port is drawn at connect: one port may serve several destinations
LINUX_FASTOPEN_CONNECT: Final = 30  # connect() returns at once, the first write goes out with the SYN
NO_PERMISSION: Final = (errno.EPERM, errno.EACCES)

_marks_refused: set[int] = set()


def stream_socket(options: UpstreamOptions) -> socket.socket:
    """For TCP, DoT and DoH, non-blocking, to be connected to `options.address`; OSError when there is none.

    It sends without delay, and opens fast (RFC 7413) where the system does.
    """
    sock = _make(options, socket.SOCK_STREAM)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if not ipaddress.ip_address(options.address.packed).is_loopback:  # no round trip to save, and refusals come at once
        with contextlib.suppress(OSError):
            option = getattr(socket, "TCP_FASTOPEN_CONNECT", LINUX_FASTOPEN_CONNECT)
            sock.setsockopt(socket.IPPROTO_TCP, option, 1)
    return sock


def datagram_socket(options: UpstreamOptions) -> socket.socket:
    """For UDP and QUIC: non-blocking, to be connected or not; OSError when there is none."""
    return _make(options, socket.SOCK_DGRAM)


def _make(options: UpstreamOptions, kind: int) -> socket.socket:
    address = options.address
    sock = socket.socket(address.socket_family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if options.mark is not None:
            _mark(sock, options.mark)
        source = source_for(options.sources, address)
        if source is not None:
            if kind == socket.SOCK_STREAM:
                with contextlib.suppress(OSError):
                    option = getattr(socket, "IP_BIND_ADDRESS_NO_PORT", LINUX_BIND_ADDRESS_NO_PORT)
                    sock.setsockopt(socket.IPPROTO_IP, option, 1)
            sock.bind(source)
    except OSError:
        sock.close()
        raise
    return sock


def source_for(sources: tuple[str, ...], address: Address) -> tuple[Any, ...] | None:
    """What to bind to: the one of the upstream's family, in its zone, with any port; None where there is none."""
    is_v6 = address.socket_family == socket.AF_INET6
    for source in sources:
        if (":" in source) == is_v6:
            return (source, 0, *address.socket_tuple()[2:])
    return None


def _mark(sock: socket.socket, mark: int) -> None:
    """SO_MARK; without permission it is said once, and OSError goes on to the attempt."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
    except OSError as exc:
        if exc.errno in NO_PERMISSION and mark not in _marks_refused:
            _marks_refused.add(mark)
            log.warning("mark = %d cannot be set: %s; it takes CAP_NET_ADMIN", mark, exc.strerror)
        raise
