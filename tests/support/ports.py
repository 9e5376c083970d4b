"""Ports that nobody else has: free on UDP and TCP, IPv4 and IPv6, and outside what the kernel hands out by itself."""

import os
import random
import socket

FIRST_PORT = 10_000  # below net.ipv4.ip_local_port_range, so that no client's socket takes one between look and bind
LAST_PORT = 30_000

_random = random.Random(os.getpid())


def free_port() -> int:
    """A port that could be bound a moment ago on both protocols of both families."""
    while True:
        port = _random.randrange(FIRST_PORT, LAST_PORT)
        if _is_free(port):
            return port


def free_low_port() -> int:
    """A privileged port that nobody listens on."""
    return next(port for port in range(1023, 900, -1) if _is_free(port))


def ipv6_is_here() -> bool:
    return _can_bind(socket.AF_INET6, socket.SOCK_DGRAM, "::1", 0)


def _is_free(port: int) -> bool:
    families = [(socket.AF_INET, "0.0.0.0")]
    if ipv6_is_here():
        families.append((socket.AF_INET6, "::"))
    kinds = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
    return all(_can_bind(family, kind, host, port) for family, host in families for kind in kinds)


def _can_bind(family: int, kind: int, host: str, port: int) -> bool:
    try:
        with socket.socket(family, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((host, port))
    except PermissionError:
        return True  # nobody has it; who may take it is another matter
    except OSError:
        return False
    return True
