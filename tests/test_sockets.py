"""Binding every listener before anything else: all or nothing, and an error that names address and port."""

import errno
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dnsproxy import sockets
from dnsproxy.listen_address import ListenAddress
from dnsproxy.listeners.udp import bind_udp as really_bind_udp
from dnsproxy.sockets import Place, Sockets, StartError, bind_all, bind_shared, close_all, places


@contextmanager
def bound(*wanted: Place, **options: Any) -> Iterator[Sockets]:
    opened = bind_all(wanted, **options)
    try:
        yield opened
    finally:
        close_all(opened)


def both(host: str, port: int = 0) -> list[Place]:
    return [Place("tcp", host, port), Place("udp", host, port)]


@pytest.fixture
def taken() -> Iterator[int]:
    """A UDP port of 127.0.0.1 that somebody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def test_an_address_takes_a_socket_for_each_scheme_and_each_only_once() -> None:
    addresses = [ListenAddress.from_toml(text) for text in ("127.0.0.1:53", "udp://[::1]:53", "tcp://127.0.0.1:53")]
    found = places(addresses)
    assert list(map(str, found)) == ["tcp://127.0.0.1:53", "udp://127.0.0.1:53", "udp://[::1]:53"]
    assert [place.serves(addresses[0]) for place in found] == [True, True, False]
    assert [Place("udp", host, 53).is_wildcard for host in ("0.0.0.0", "::", "127.0.0.1", "::1")] == [True] * 2 + [
        False
    ] * 2


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
def test_port_0_is_the_same_port_for_both_protocols(host: str) -> None:
    with bound(*both(host)) as opened:
        tcp, udp = (opened[place].getsockname()[1] for place in both(host))
        assert tcp == udp > 0


def test_when_udp_cannot_have_tcps_port_both_get_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def bind_udp(host: str, port: int, v6only: bool) -> socket.socket:
        tries.append(port)
        if len(tries) < succeeds_at:
            raise OSError(errno.EADDRINUSE, "in use")
        return really_bind_udp(host, port, v6only)

    succeeds_at = 4
    monkeypatch.setattr(sockets, "bind_udp", bind_udp)
    with bound(*both("127.0.0.1")) as opened:
        assert {sock.getsockname()[1] for sock in opened.values()} == {tries[-1]}
    monkeypatch.setattr(sockets, "PORT_TRIES", 3)
    tries.clear()
    with pytest.raises(StartError, match="in use"):
        bind_all(both("127.0.0.1"))
    assert len(tries) == 3


def test_a_taken_port_is_an_error_that_names_it_and_leaves_nothing_open(taken: int) -> None:
    free = Place("udp", "127.0.0.1", 0)
    with pytest.raises(StartError, match=rf"cannot listen on udp://127\.0\.0\.1:{taken}: Address already in use"):
        bind_all([free, Place("udp", "127.0.0.1", taken)])


def test_no_permission_comes_with_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> socket.socket:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setitem(sockets.BINDERS, "udp", refuse)
    with pytest.raises(StartError, match=r"udp://127\.0\.0\.1:53: Permission denied; ports below 1024"):
        bind_all([Place("udp", "127.0.0.1", 53)])


def no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    real = dict(sockets.BINDERS)

    def binder(scheme: str) -> Any:
        def bind(host: str, *rest: Any) -> socket.socket:
            if ":" in host:
                raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
            return real[scheme](host, *rest)

        return bind

    for scheme in real:
        monkeypatch.setitem(sockets.BINDERS, scheme, binder(scheme))


def test_without_ipv6_its_loopback_is_passed_over_when_something_is_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    no_ipv6(monkeypatch)
    with bound(*both("127.0.0.1"), *both("::1", 5353)) as opened:
        assert {place.host for place in opened} == {"127.0.0.1"}
    assert len(caplog.messages) == 2
    assert "no IPv6 on this machine" in caplog.messages[0]
    with pytest.raises(StartError, match="Address family"):
        bind_all(both("::1", 5353))
    with bound(Place("udp", "::1", 5353), present=both("127.0.0.1")) as opened:
        assert opened == {}
    with pytest.raises(StartError, match="2001:db8::1"):
        bind_all([*both("127.0.0.1"), Place("udp", "2001:db8::1", 53)])


def test_the_ipv6_wildcard_takes_ipv4_too_unless_that_is_listened_on_by_itself() -> None:
    with bound(Place("udp", "::", 0)) as opened:
        (sock,) = opened.values()
        assert not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    with bound(Place("udp", "0.0.0.0", 0), Place("udp", "::", 0)) as opened:
        assert opened[Place("udp", "::", 0)].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
    with bound(Place("udp", "::", 0), present=[Place("udp", "127.0.0.1", 0)]) as opened:
        assert opened[Place("udp", "::", 0)].getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)


def test_shared_sockets_are_one_for_each_process_on_the_same_port(taken: int) -> None:
    wanted = both("127.0.0.1")
    shared = bind_shared(wanted, 3)
    try:
        assert len(shared) == 3
        assert len({sock.getsockname() for opened in shared for sock in opened.values()}) == 1
        (port,) = {sock.getsockname()[1] for opened in shared for sock in opened.values()}
        with pytest.raises(StartError, match="in use"):
            bind_shared([Place("udp", "127.0.0.1", port)], 2)
    finally:
        for opened in shared:
            close_all(opened)
    with pytest.raises(StartError, match=str(taken)):
        bind_shared([*both("127.0.0.1"), Place("udp", "127.0.0.1", taken)], 2)


def test_a_descriptor_limit_that_cannot_be_had_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    sockets.raise_descriptor_limit()
    assert (asked, caplog.messages) == ([(4096, 4096)], [])
    monkeypatch.setattr(resource, "setrlimit", refuse)
    sockets.raise_descriptor_limit()
    assert caplog.messages == ["going on with 1024 descriptors: not allowed to raise maximum limit"]
