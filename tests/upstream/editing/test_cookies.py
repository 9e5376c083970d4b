"""Cookies: ours, the upstream's, and those that are neither."""

import pytest

from dnsproxy.upstream.editing.cookies import Cookies


def test_each_upstream_gets_a_cookie_of_its_own() -> None:
    assert len({Cookies().data for _ in range(100)}) == 100
    assert len(Cookies().data) == 8


def test_what_the_upstream_gives_is_sent_until_it_gives_another() -> None:
    cookies = Cookies()
    for server in (b"12345678", b"x" * 32):
        cookies.learn(cookies.client + server)
        assert cookies.data == cookies.client + server
    cookies.learn(cookies.client)
    assert cookies.server == b"x" * 32
    cookies.forget()
    assert cookies.data == cookies.client


@pytest.mark.parametrize(("octets", "is_ours"), [(0, True), (7, False), (8, True), (32, True), (33, False)])
def test_a_server_cookie_has_8_to_32_octets(octets: int, is_ours: bool) -> None:
    cookies = Cookies()
    assert cookies.is_ours(cookies.client + bytes(octets)) == is_ours


def test_a_cookie_that_begins_otherwise_is_not_ours() -> None:
    cookies = Cookies()
    assert not cookies.is_ours(bytes((cookies.client[0] ^ 1,)) + cookies.client[1:] + bytes(16))
    assert not cookies.is_ours(cookies.client[:7])
    assert not cookies.is_ours(b"")
