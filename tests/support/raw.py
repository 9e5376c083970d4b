"""Datagrams as no socket sends them."""

import socket
import struct

import pytest


def send_from_port_0(destination: tuple[str, int], octets: bytes) -> None:
    """One datagram that nobody can answer; a skip where raw sockets are not allowed."""
    try:
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    except PermissionError:
        pytest.skip("sending from port 0 takes CAP_NET_RAW")
    with raw:
        raw.sendto(struct.pack("!HHHH", 0, destination[1], 8 + len(octets), 0) + octets, destination)
