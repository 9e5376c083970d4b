"""Sockets towards upstreams: of the right family, from our address, marked, without delay."""

import logging
import os
import socket
from collections.abc import Callable

import pytest

from dnsproxy.address import Address
from dnsproxy.upstream import sockets
from dnsproxy.upstream.options import UpstreamOptions
from dnsproxy.upstream.sockets import LINUX_FASTOPEN_CONNECT, datagram_socket, source_for, stream_socket
from tests.support.ports import ipv6_is_here

V4, V6 = Address.of("127.0.0.1", 53), Address.of("::1", 53)
SOURCES = ("127.0.0.9", "::1")
BOTH = pytest.mark.parametrize("make", [stream_socket, datagram_socket])
Make = Callable[[UpstreamOptions], socket.socket]


@BOTH
def test_a_socket_has_its_upstreams_family_and_does_not_block(make: Make) -> None:
    for address in (V4, V6) if ipv6_is_here() else (V4,):
        with make(UpstreamOptions(address)) as made:
            assert made.family == address.socket_family
            assert not made.getblocking()
            assert not made.get_inheritable()


@BOTH
def test_the_source_address_is_that_of_the_family(make: Make) -> None:
    with make(UpstreamOptions(V4, sources=SOURCES)) as made:
        assert made.getsockname()[0] == "127.0.0.9"
    with make(UpstreamOptions(V4, sources=("::1",))) as made:
        assert made.getsockname() == ("0.0.0.0", 0)


def test_a_source_address_stands_in_the_upstreams_zone() -> None:
    assert source_for(("192.0.2.1", "fe80::2"), Address.of("fe80::1%1", 853)) == ("fe80::2", 0, 0, 1)
    assert source_for(("192.0.2.1",), V4) == ("192.0.2.1", 0)
    assert source_for(("192.0.2.1",), V6) is None


@BOTH
def test_an_address_that_is_not_ours_is_an_os_error(make: Make) -> None:
    with pytest.raises(OSError):
        make(UpstreamOptions(V4, sources=("192.0.2.1",)))


def test_one_port_of_ours_serves_connections_to_several_upstreams() -> None:
    with stream_socket(UpstreamOptions(V4, sources=SOURCES)) as made:
        assert made.getsockname() == ("127.0.0.9", 0), "the port is drawn when it connects"


def test_streams_send_without_delay_and_open_fast_but_not_on_the_loopback() -> None:
    for host, fast in (("127.0.0.1", 0), ("192.0.2.1", 1)):
        with stream_socket(UpstreamOptions(Address.of(host, 53))) as made:
            assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert made.getsockopt(socket.IPPROTO_TCP, LINUX_FASTOPEN_CONNECT) == fast


class Refusing(socket.socket):
    """The kernel's answer to those who may not."""

    def setsockopt(self, *args: object) -> None:
        if args[1] == socket.SO_MARK:
            raise PermissionError(1, "Operation not permitted")


@BOTH
def test_a_mark_that_may_not_be_set_is_told_once_and_an_os_error(
    make: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(socket, "socket", Refusing)
    sockets._marks_refused.clear()
    caplog.set_level(logging.INFO)
    for _ in range(2):
        with pytest.raises(PermissionError):
            make(UpstreamOptions(V4, mark=7))
    assert caplog.messages == ["mark = 7 cannot be set: Operation not permitted; it takes CAP_NET_ADMIN"]


@BOTH
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mark")
def test_a_mark_is_set(make: Make) -> None:
    with make(UpstreamOptions(V4, mark=7)) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == 7
