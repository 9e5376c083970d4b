"""Listening addresses as they are written, and what they cover."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dnsproxy.listen_address import ListenAddress, split_host_port


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("127.0.0.1:53", ("udp://127.0.0.1:53", "tcp://127.0.0.1:53")),
        ("[::1]:53", ("udp://[::1]:53", "tcp://[::1]:53")),
        ("UDP://127.0.0.1:5300", ("udp://127.0.0.1:5300",)),
        ("tcp://[0::1]", ("tcp://[::1]:53",)),
        ("udp://0.0.0.0:0/", ("udp://0.0.0.0:0",)),
    ],
)
def test_an_address_without_scheme_is_udp_and_tcp(text: str, urls: tuple[str, ...]) -> None:
    assert ListenAddress.from_toml(text).urls == urls


def test_an_address_is_written_as_it_is_read() -> None:
    for text in ("127.0.0.1:53", "[::1]:53", "udp://127.0.0.1:53", "tcp://[fe80::1%lo]:53"):
        assert str(ListenAddress.from_toml(text)) == text


def test_the_family_is_that_of_the_host() -> None:
    assert ListenAddress.from_toml("127.0.0.1:53").family == socket.AF_INET
    assert ListenAddress.from_toml("[::1]:53").family == socket.AF_INET6


@pytest.mark.parametrize(
    ("text", "pair"),
    [("a", ("a", None)), ("a:5", ("a", 5)), ("192.0.2.1", ("192.0.2.1", None)), ("[::1]", ("::1", None))],
)
def test_hosts_may_come_without_port(text: str, pair: tuple[str, int | None]) -> None:
    assert split_host_port(text) == pair


@pytest.mark.parametrize(
    ("listen", "host", "port", "scheme", "covered"),
    [
        ("127.0.0.1:53", "127.0.0.1", 53, None, True),
        ("127.0.0.1:53", "127.0.0.1", 54, None, False),
        ("127.0.0.1:53", "127.0.0.2", 53, None, False),
        ("127.0.0.1:53", "::ffff:127.0.0.1", 53, None, True),
        ("udp://127.0.0.1:53", "127.0.0.1", 53, "tcp", False),
        ("udp://127.0.0.1:53", "127.0.0.1", 53, "udp", True),
        ("0.0.0.0:53", "127.0.0.9", 53, None, True),
        ("0.0.0.0:53", "192.0.2.1", 53, None, False),
        ("0.0.0.0:53", "::1", 53, None, False),
        ("[::]:53", "::1", 53, None, True),
        ("127.0.0.1:53", "dns.example.org", 53, None, False),
    ],
)
def test_it_covers_what_would_arrive_there(
    listen: str, host: str, port: int, scheme: str | None, covered: bool
) -> None:
    assert ListenAddress.from_toml(listen).covers(host, port, scheme) is covered


@given(st.one_of(st.text(max_size=20), st.text("[]:/.%01udtcp", max_size=20)))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        address = ListenAddress.from_toml(text)
    except ValueError as exc:
        wrong = str(exc)
    else:
        assert ListenAddress.from_toml(str(address)) == address
        return
    assert "; expected" in wrong
