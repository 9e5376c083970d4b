"""Hundreds of upstreams behind one proxy, and all of them gone."""

import selectors
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import dns.rcode
import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.authority import Authority
from tests.support.behaviours import answer_wire
from tests.support.client import answers, udp_socket
from tests.support.proxy import Proxy
from tests.support.tls_front import TlsFront
from tests.support.toml import stanza
from tests.support.upstream import HostileUpstream

UPSTREAMS = 300
DESCRIPTORS = 1024  # what a service gets unless its unit says otherwise
START_MORE_S = 1.0  # than with one upstream
MEMORY_MORE_KIB = 40 * 1024
PATIENCE_S = 4.6  # a stub resolver asks again, or gives up, at five seconds
BUSY_S = 0.35  # of a machine that does other things too
CLIENTS = 50


class Crowd:
    """Servers on ports of their own, all in one thread; `asked` counts by port."""

    def __init__(self, count: int) -> None:
        self.sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(count)]
        for one in self.sockets:
            one.bind(("127.0.0.1", 0))
        self.addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in self.sockets]
        self.asked = dict.fromkeys(self.addresses, 0)

    def __enter__(self) -> Self:
        self._ended = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended = True
        self._thread.join()
        for one in self.sockets:
            one.close()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            for one, address in zip(self.sockets, self.addresses, strict=True):
                selector.register(one, selectors.EVENT_READ, address)
            while not self._ended:
                for key, _ in selector.select(0.05):
                    asking: socket.socket = key.fileobj  # type: ignore[assignment]
                    octets, source = asking.recvfrom(4096)
                    self.asked[key.data] += 1
                    asking.sendto(answer_wire(octets), source)


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    with Crowd(UPSTREAMS) as servers:
        yield servers


def forward(*to: str, **keys: object) -> str:
    """With the times that users have."""
    return stanza("[[forward]]", {"to": list(to), **keys})


def started_within_s(proxy: Proxy) -> float:
    started = time.monotonic()
    proxy.start()
    return time.monotonic() - started


def test_hundreds_of_upstreams_are_asked_with_the_descriptors_that_there_are(tmp_path: Path, crowd: Crowd) -> None:
    limited = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    lone = Proxy(tmp_path, forward(crowd.addresses[0]), prefix=limited)
    many = Proxy(tmp_path, forward(*crowd.addresses, policy="round_robin"), prefix=limited)
    alone_s = started_within_s(lone)
    alone_kib = lone.resident_kib()
    lone.stop()
    together_s = started_within_s(many)
    try:
        with udp_socket(many.port) as client:
            for number in range(4 * UPSTREAMS):
                client.send(wire.query(f"n{number}.example.org", id=number))
                if number % 50 == 49:
                    assert {wire.rcode(answer) for answer in answers(client, 50)} == {0}
        assert set(crowd.asked.values()) == {4}
        assert many.open_files() < DESCRIPTORS
        assert many.resident_kib() < alone_kib + MEMORY_MORE_KIB
        status = many.status()
        assert len(status["upstreams"]) == UPSTREAMS
        assert {(one["state"], one["queries"], one["responses"]) for one in status["upstreams"]} == {("up", 4, 4)}
    finally:
        many.stop()
    assert together_s < alone_s + START_MORE_S


def test_when_every_upstream_is_a_black_hole_each_client_has_an_answer_in_time(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream, tmp_path: Path
) -> None:
    upstream.default = second_upstream.default = behaviours.drop
    with TlsFront(upstream.port, None) as stalled:
        to = [upstream.address, f"tcp://{second_upstream.address}", f"tls://{stalled.address}"]
        proxy = start_proxy(forward(*to, ca=Authority(tmp_path).ca))
        sent: dict[int, float] = {}
        took: dict[int, float] = {}
        with udp_socket(proxy.port) as client:

            def receive(wanted: int, within_s: float) -> None:
                for octets in answers(client, wanted, within_s=within_s):
                    assert wire.rcode(octets) == dns.rcode.SERVFAIL
                    took[wire.message_id(octets)] = time.monotonic() - sent[wire.message_id(octets)]

            for number in range(CLIENTS):
                sent[number] = time.monotonic()
                client.send(wire.query(f"n{number}.example.org", id=number))
                receive(1, within_s=0.01)
            while len(took) < CLIENTS and time.monotonic() < sent[CLIENTS - 1] + PATIENCE_S + 1:
                receive(1, within_s=0.5)
    assert len(took) == CLIENTS
    in_order = sorted(took.values())
    assert in_order[CLIENTS * 9 // 10] <= PATIENCE_S
    assert in_order[-1] <= PATIENCE_S + BUSY_S
