"""Metrics over HTTP beside the queries: where, how often, and whatever clients do."""

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy import config, metrics_server
from dnsproxy.metrics_http import MAX_CONNECTIONS, REST
from dnsproxy.metrics_server import MetricsServer, Pages, bind_metrics
from dnsproxy.sockets import StartError, bind_all
from tests.support.ports import free_port
from tests.test_status import status

HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


class Proxy:
    """What is served: a status whose `failures` are the number of times that it was taken."""

    def __init__(self, fails: bool = False) -> None:
        self.taken = 0
        self.fails = fails

    def snapshot(self) -> dict[str, Any]:
        self.taken += 1
        if self.fails:
            raise RuntimeError("a plugin cannot count")
        return status() | {"failures": self.taken}


def number(page: bytes) -> int:
    (line,) = [line for line in page.splitlines() if line.startswith(b"dnsproxy_failures_total ")]
    return int(float(line.split()[1]))


# how often


def slow_page(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a page take so long to make."""

    async def make(self: Pages) -> bytes:
        await trio.sleep(seconds)
        return b"dnsproxy_failures_total %d\n" % self._snapshot()["failures"]

    monkeypatch.setattr(metrics_server.Pages, "_make", make)


@trio_test
async def test_a_page_is_of_the_moment_and_not_of_the_one_before(autojump_clock: MockClock) -> None:
    pages = Pages(Proxy().snapshot)
    assert [number(await pages.latest()) for _ in range(3)] == [1, 2, 3]


@trio_test
async def test_those_who_ask_together_get_one_page_that_was_begun_after_they_asked(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_page(0.1, monkeypatch)
    proxy, got = Proxy(), list[int]()
    pages = Pages(proxy.snapshot)

    async def ask(after_s: float) -> None:
        await trio.sleep(after_s)
        got.append(number(await pages.latest()))

    async with trio.open_nursery() as nursery:
        for after_s in (0.0, 0.05, 0.06, 0.5):  # the first page is begun at 0, the second one at 1
            nursery.start_soon(ask, after_s)
    assert got == [1, 2, 2, 2]
    assert proxy.taken == 2


@trio_test
async def test_pages_take_a_tenth_of_the_time_however_many_ask(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_page(0.1, monkeypatch)
    proxy = Proxy()
    pages = Pages(proxy.snapshot)

    async def ask_again_and_again() -> None:
        while True:
            await pages.latest()

    with trio.move_on_after(100):
        async with trio.open_nursery() as nursery:
            for _ in range(MAX_CONNECTIONS):
                nursery.start_soon(ask_again_and_again)
    assert 98 <= proxy.taken <= 100 / (0.1 * (REST + 1)) + 1


@trio_test
async def test_who_gives_up_leaves_no_old_page_to_the_others(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_page(0.1, monkeypatch)
    pages = Pages(Proxy().snapshot)
    assert number(await pages.latest()) == 1
    await trio.sleep(10)
    got = []

    async def ask() -> None:
        got.append(number(await pages.latest()))

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.05):
            nursery.start_soon(ask)
            await pages.latest()
    assert got == [2]


@trio_test
async def test_a_page_that_cannot_be_made_is_logged_and_the_next_one_is_tried(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = Proxy(fails=True)
    pages = Pages(proxy.snapshot)
    assert await pages.latest() == b""
    assert "a plugin cannot count" in caplog.text
    proxy.fails = False
    assert number(await pages.latest()) == 2


# where


def text(*addresses: str) -> str:
    listen = ", ".join(f'"{address}"' for address in addresses)
    return f"[metrics]\nlisten = [{listen}]\n" if addresses else ""


class Serving:
    """A server in this process, as it is configured now."""

    def __init__(self, server: MetricsServer, nursery: trio.Nursery) -> None:
        self.server = server
        self.nursery = nursery

    async def configure(self, *addresses: str) -> None:
        configuration = config.parse(text(*addresses), "/x.toml")
        await self.server.apply(configuration, bind_metrics(configuration, self.server.sockets, bind_all), self.nursery)

    @property
    def ports(self) -> list[int]:
        return [sock.getsockname()[1] for sock in self.server.sockets.values()]


@asynccontextmanager
async def serving(*addresses: str, proxy: Proxy | None = None) -> AsyncIterator[Serving]:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            serving = Serving(MetricsServer((proxy or Proxy()).snapshot), nursery)
            await serving.configure(*addresses)
            yield serving
            nursery.cancel_scope.cancel()


async def ask(port: int, octets: bytes = HEAD) -> bytes:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(octets)
        return b"".join([part async for part in stream])


@trio_test
async def test_a_scrape_gets_the_page() -> None:
    async with serving("127.0.0.1:0") as place:
        (port,) = place.ports
        for scrape in (1, 2):
            assert number(await ask(port)) == scrape
        assert (await ask(port, b"HEAD" + HEAD[3:])).endswith(b"\r\n\r\n")


@trio_test
async def test_a_reload_opens_what_is_new_closes_what_is_gone_and_keeps_the_rest() -> None:
    first, second = free_port(), free_port()
    async with serving(f"127.0.0.1:{first}") as place:
        kept = list(place.server.sockets.values())
        await place.configure(f"127.0.0.1:{second}", f"127.0.0.1:{first}")
        assert b"200 OK" in await ask(second)
        assert kept[0] in place.server.sockets.values()
        assert b"200 OK" in await ask(first)
        await place.configure(f"127.0.0.1:{second}")
        with socket.socket() as late:
            assert late.connect_ex(("127.0.0.1", first)) == errno.ECONNREFUSED
        assert b"200 OK" in await ask(second)
        await place.configure()
        assert place.ports == []


@trio_test
async def test_a_taken_port_is_one_line_with_address_and_port() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StartError) as caught:
            bind_metrics(config.parse(text(f"127.0.0.1:{port}"), "/x.toml"), {}, bind_all)
    assert str(caught.value) == f"metrics: cannot listen on tcp://127.0.0.1:{port}: Address already in use"


# hostile clients


@trio_test
async def test_a_crowd_that_hangs_does_not_keep_others_from_their_page() -> None:
    async with serving("127.0.0.1:0") as place:
        (port,) = place.ports
        crowd = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(3 * MAX_CONNECTIONS)]
        for stream in crowd[::2]:
            await stream.send_all(b"GET /met")
        assert b"200 OK" in await ask(port)
        for stream in crowd:
            await trio.aclose_forcefully(stream)


@trio_test
async def test_those_that_ask_and_leave_or_do_not_read_keep_nobody_from_it() -> None:
    async with serving("127.0.0.1:0") as place:
        (port,) = place.ports
        unread = []
        for number in range(2 * MAX_CONNECTIONS):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(HEAD)
            if number % 2:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leaves with a reset
                await trio.aclose_forcefully(stream)
            else:
                unread.append(stream)
        assert b"200 OK" in await ask(port)
        for stream in unread:
            await trio.aclose_forcefully(stream)


@trio_test
async def test_a_client_gets_its_refusal_though_it_goes_on_sending() -> None:
    async with serving("127.0.0.1:0") as place:
        (port,) = place.ports
        response = await ask(port, b"POST /metrics HTTP/1.1\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000)
        assert response.startswith(b"HTTP/1.1 405 ")


@trio_test
async def test_when_the_status_cannot_be_taken_the_fault_is_ours(caplog: pytest.LogCaptureFixture) -> None:
    async with serving("127.0.0.1:0", proxy=Proxy(fails=True)) as place:
        (port,) = place.ports
        assert (await ask(port)).startswith(b"HTTP/1.1 500 ")
    assert "a plugin cannot count" in caplog.text
