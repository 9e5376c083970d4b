"""The supervisor's metrics: where, how often, and whatever clients do."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dnsproxy import config
from dnsproxy.metrics_http import MAX_CONNECTIONS, REST
from dnsproxy.metrics_server import bind_metrics
from dnsproxy.sockets import bind_all
from dnsproxy.workers.admin_server import Answer
from dnsproxy.workers.loop import Loop
from dnsproxy.workers.metrics_server import MetricsServer, Pages
from tests.support.metrics import http_status, scrape
from tests.support.ports import free_port
from tests.test_status import status
from tests.workers.fakes import FakeLoop, as_loop

HEAD = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


def take(answer: Answer) -> None:
    answer(status())


def configure(server: MetricsServer, *ports: int) -> None:
    listen = [f"127.0.0.1:{port}" for port in ports]
    configuration = config.parse(f"[metrics]\nlisten = {listen}\n" if ports else "", "/x.toml")
    server.apply(configuration, bind_metrics(configuration, server.sockets, bind_all))


@contextmanager
def running(loop: Loop) -> Iterator[None]:
    """The loop, in a thread of its own."""
    reading, writing = socket.socketpair()
    loop.watch(reading, lambda _mask: loop.stop())
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        yield
    finally:
        writing.send(b"x")
        thread.join()
        reading.close()
        writing.close()


@pytest.fixture
def port() -> Iterator[int]:
    """Where a supervisor serves metrics while the test runs."""
    loop = Loop()
    server = MetricsServer(loop, take)
    configure(server, chosen := free_port())
    with running(loop):
        yield chosen
    server.close()
    loop.close()


def test_a_scrape_gets_the_page(port: int) -> None:
    for _ in range(3):
        assert scrape(port).value("dnsproxy_tap_offered_total", tap="unix:///run/a.sock") == 32
    assert http_status(port, "/metrics", "HEAD") == 200
    assert http_status(port, "/") == 404
    assert http_status(port, "/metrics", "POST") == 405


def test_a_request_may_come_octet_by_octet(port: int) -> None:
    with connected(port) as client:
        for octet in HEAD:
            client.send(bytes((octet,)))
        assert read_all(client).startswith(b"HTTP/1.1 200 OK\r\n")


def test_those_that_hang_do_not_keep_others_out(port: int) -> None:
    crowd = [connected(port) for _ in range(MAX_CONNECTIONS + 5)]
    for client in crowd[::2]:
        client.send(b"GET /met")
    assert "dnsproxy_workers" in scrape(port).text
    assert crowd[0].recv(1) == b""
    for client in crowd:
        client.close()


def test_those_that_ask_and_leave_or_do_not_read_keep_nobody_from_it(port: int) -> None:
    unread = []
    for number in range(2 * MAX_CONNECTIONS):
        client = connected(port)
        client.sendall(HEAD)
        if number % 2:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # leaves with a reset
            client.close()
        else:
            unread.append(client)
    assert "dnsproxy_workers" in scrape(port).text
    for client in unread:
        client.close()


def test_a_client_gets_its_refusal_though_it_goes_on_sending(port: int) -> None:
    with connected(port) as client:
        client.sendall(b"POST /metrics HTTP/1.1\r\nContent-Length: 500000\r\n\r\n" + b"x" * 500_000)
        client.shutdown(socket.SHUT_WR)
        assert read_all(client).startswith(b"HTTP/1.1 405 ")


def test_a_reload_opens_what_is_new_closes_what_is_gone_and_keeps_the_rest() -> None:
    loop = Loop()
    server = MetricsServer(loop, take)
    first, second = free_port(), free_port()
    configure(server, first)
    (kept,) = server.sockets.values()
    configure(server, first, second)
    assert kept in server.sockets.values()
    with running(loop):
        assert http_status(first, "/metrics") == http_status(second, "/metrics") == 200
    configure(server, second)
    with pytest.raises(ConnectionRefusedError):
        connected(first)
    configure(server)
    assert server.sockets == {}
    loop.close()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=5)


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(4096), b""))


# how often


class Clock:
    """Pages that take half a second to make, workers that answer when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = FakeLoop()
        self.waiting: list[Answer] = []
        self.pages = Pages(as_loop(self.loop), self.waiting.append)
        self.got: list[tuple[str, bytes]] = []
        monkeypatch.setattr("time.monotonic", lambda: self.loop.now)
        monkeypatch.setattr("dnsproxy.metrics.page", self._make)

    def _make(self, taken: dict[str, Any], _plugins: object) -> Iterator[bytes]:
        self.loop.now += 0.5
        if taken["failures"] is None:
            raise RuntimeError("a plugin cannot count")
        yield b"page %d" % taken["failures"]

    def ask(self, name: str) -> None:
        self.pages.ask(lambda page: self.got.append((name, page)))
        self.loop.pass_time(0)

    def answer(self, failures: int | None) -> None:
        self.waiting.pop(0)(status() | {"failures": failures})


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_those_who_ask_while_workers_are_asked_get_the_next_page(clock: Clock) -> None:
    clock.ask("a")
    clock.ask("b")
    clock.ask("c")
    clock.answer(1)
    assert clock.got == [("a", b"page 1")]
    clock.loop.pass_time(0.5 * REST)
    clock.answer(2)
    assert clock.got[1:] == [("b", b"page 2"), ("c", b"page 2")]
    assert clock.waiting == []


def test_pages_take_a_tenth_of_the_time_and_those_who_wait_share_one(clock: Clock) -> None:
    clock.ask("a")
    clock.answer(1)
    clock.ask("b")
    clock.ask("c")
    assert clock.waiting == []
    clock.loop.pass_time(0.5 * REST - 0.01)
    assert clock.waiting == []
    clock.loop.pass_time(0.02)
    clock.answer(2)
    assert clock.got == [("a", b"page 1"), ("b", b"page 2"), ("c", b"page 2")]


def test_a_page_that_cannot_be_made_is_logged_and_empty(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    clock.ask("a")
    clock.answer(None)
    assert clock.got == [("a", b"")]
    assert "a plugin cannot count" in caplog.text
