"""Upstreams that close a connection after one answer, or after a few: of queries that come together none is lost."""

import contextlib
import socket
import ssl
import struct
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.behaviours import answer_wire
from tests.support.client import answers, ask, udp_socket
from tests.support.collector import Collector
from tests.support.toml import dnstap, forward
from tests.upstream.certificates import Certificates

PATIENT = {"timeout": "2s", "deadline": "4s", "max_attempts": 1}


class ClosingServer:
    """Answers `count` queries of each connection, each after `delay_s`, and ends it: by FIN, or by RST.

    It reads one query after the other, as servers do that know nothing of pipelining.
    """

    def __init__(
        self, count: int, *, delay_s: float = 0.0, by_reset: bool = False, context: ssl.SSLContext | None = None
    ) -> None:
        self.count = count
        self.delay_s = delay_s
        self.by_reset = by_reset
        self.context = context
        self.connections_made = 0
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listening.getsockname()[1])
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepting.join()
        for accepted in list(self._open):
            with contextlib.suppress(OSError):
                accepted.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    @property
    def address(self) -> str:
        return f"{'tcp' if self.context is None else 'tls'}://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listening.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.connections_made += 1
                self._open.add(accepted)
                self._threads.append(threading.Thread(target=self._serve, args=(accepted,)))
                self._threads[-1].start()

    def _serve(self, accepted: socket.socket) -> None:
        stream = accepted
        with contextlib.suppress(OSError, EOFError):
            if self.context is not None:
                stream = self.context.wrap_socket(accepted, server_side=True)
                self._open.add(stream)
            for _ in range(self.count):
                query = _message(stream)
                time.sleep(self.delay_s)
                reply = answer_wire(query)
                stream.sendall(struct.pack("!H", len(reply)) + reply)
        if self.by_reset:
            with contextlib.suppress(OSError):
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._open -= {accepted, stream}
        stream.close()


def _message(stream: socket.socket) -> bytes:
    (length,) = struct.unpack("!H", _octets(stream, 2))
    return _octets(stream, length)


def _octets(stream: socket.socket, wanted: int) -> bytes:
    found = b""
    while len(found) < wanted:
        chunk = stream.recv(wanted - len(found))
        if not chunk:
            raise EOFError
        found += chunk
    return found


def burst(port: int, count: int, label: str = "b") -> dict[int, int]:
    """Queries that come at once: the ID of each that was answered, and its RCODE."""
    with udp_socket(port) as client:
        for id in range(count):
            client.send(wire.query(f"{label}{id}.example.org", id=id))
        return {wire.message_id(octets): wire.rcode(octets) for octets in answers(client, count)}


@pytest.mark.parametrize("by_reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("size", [10, 40, 200])
@pytest.mark.parametrize(("count", "delay_s"), [(1, 0.0), (1, 0.02), (3, 0.0), (3, 0.02)])
def test_all_of_a_burst_are_answered_when_connections_end_after_a_few_answers(
    start_proxy: StartProxy, count: int, delay_s: float, size: int, by_reset: bool
) -> None:
    with ClosingServer(count, delay_s=delay_s, by_reset=by_reset) as server:
        proxy = start_proxy(forward(server, **PATIENT))
        for label in ("first", "second"):
            assert burst(proxy.port, size, label) == dict.fromkeys(range(size), 0)


@pytest.mark.parametrize("by_reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("count", [1, 3])
def test_so_are_they_over_tls(start_proxy: StartProxy, tmp_path: Path, count: int, by_reset: bool) -> None:
    certificates = Certificates(tmp_path)
    with ClosingServer(count, by_reset=by_reset, context=certificates.good()) as server:
        proxy = start_proxy(forward(server, ca=certificates.ca, **PATIENT))
        for label in ("first", "second"):
            assert burst(proxy.port, 40, label) == dict.fromkeys(range(40), 0)


def test_once_the_number_is_known_each_query_is_sent_once(start_proxy: StartProxy, collector: Collector) -> None:
    with ClosingServer(1, delay_s=0.005) as server:
        proxy = start_proxy(dnstap(to=collector, extra="{/forward/attempt}") + forward(server, **PATIENT))
        burst(proxy.port, 10, "before")
        before = server.connections_made
        assert set(burst(proxy.port, 20, "after").values()) == {0}
        assert server.connections_made == before + 20
        for id in range(20):
            _, fq, fr, _ = collector.wait_about(f"after{id}", 4)
            assert (fq.extra, fr.extra) == ("1", "1")


def test_an_upstream_that_no_longer_closes_gets_its_queries_over_few_connections_again(start_proxy: StartProxy) -> None:
    with ClosingServer(1) as server:
        proxy = start_proxy(forward(server, **PATIENT))
        assert set(burst(proxy.port, 20).values()) == {0}
        server.count = 1_000_000
        end = time.monotonic() + 10
        while True:
            before = server.connections_made
            assert set(burst(proxy.port, 20).values()) == {0}
            if server.connections_made <= before + 1:
                return
            assert time.monotonic() < end, "one connection for each query, for good"
            time.sleep(0.1)


def test_a_closed_port_ends_whoever_waits_at_once(start_proxy: StartProxy) -> None:
    with ClosingServer(1) as server:
        proxy = start_proxy(forward(server, **PATIENT))
        assert set(burst(proxy.port, 20).values()) == {0}
    began = time.monotonic()
    assert set(burst(proxy.port, 40, "gone").values()) == {2}
    assert ask(wire.query("last.example.org"), proxy.port).rcode() == 2
    assert time.monotonic() - began < 1
