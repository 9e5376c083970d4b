"""Upstreams that are slow by a heavy-tailed distribution, or say nothing at all: what clients wait, beside CoreDNS."""

import contextlib
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import answers, udp_socket
from tests.support.load import SteadyLoad
from tests.support.name_server_configs import coredns_config
from tests.support.name_servers import name_server
from tests.support.ports import free_port
from tests.support.toml import forward
from tests.support.upstream import Asked, HostileUpstream

HARD_S = 4.6
BLACK_HOLED = 50  # queries
RATE = 250  # queries a second: some 600 while the load lasts
LOAD_S = 2.5
LEARNING = 100  # queries until it is known what answers take
ALPHA, SCALE_S = 1.2, 0.01  # the 99th percentile is some forty times the least
LONGEST_S = 1.5


def drawn_s(number: str, server: str) -> float:
    """What a server takes for the query with that number, whoever forwards it."""
    return min(SCALE_S * random.Random(f"{number} of {server}").paretovariate(ALPHA), LONGEST_S)


def slow_at_times(asked: Asked) -> None:
    asked.delay_s = drawn_s(asked.seen.qname.split(".")[0], asked.upstream.answer_address)
    behaviours.answer(asked)


@pytest.fixture
def slow_upstreams() -> Iterator[list[HostileUpstream]]:
    """Three of them."""
    with contextlib.ExitStack() as stack:
        servers = [HostileUpstream(answer_address=f"192.0.2.{number}", default=slow_at_times) for number in (1, 2, 3)]
        yield [stack.enter_context(server) for server in servers]


def seen_for(upstreams: list[HostileUpstream], label: str) -> int:
    return sum(len(upstream.seen_for(label)) for upstream in upstreams)


@contextlib.contextmanager
def coredns(upstreams: list[HostileUpstream], folder: Path) -> Iterator[int]:
    """Its port, with its random policy on the same upstreams."""
    port, to = free_port(), " ".join(upstream.address for upstream in upstreams)
    config = coredns_config(f".:{port}", f"forward . {to} {{", "    max_fails 0", "}")
    with name_server("coredns", folder, config, port):
        yield port


def percentile_of_random() -> float:
    """What CoreDNS's random gives at best where it is not installed."""
    drawn = sorted(drawn_s(f"s{number}", f"192.0.2.{1 + number % 3}") for number in range(20_000))
    return drawn[int(0.99 * len(drawn))]


def test_latency_and_hedge_halve_the_99th_percentile_with_a_tenth_more_queries(
    start_proxy: StartProxy, slow_upstreams: list[HostileUpstream], tmp_path: Path
) -> None:
    body = forward(*slow_upstreams, policy="latency", hedge="p95", timeout="2s", deadline="4500ms")
    proxy = start_proxy(body)
    with contextlib.ExitStack() as stack:
        theirs = None
        if shutil.which("coredns") is not None:
            port = stack.enter_context(coredns(slow_upstreams, tmp_path))
            theirs = stack.enter_context(SteadyLoad(port, RATE, "theirs"))
        ours = stack.enter_context(SteadyLoad(proxy.port, RATE, "ours"))
        time.sleep(LOAD_S)
        ours.end()
        if theirs is not None:
            theirs.end()
    assert ours.lost == 0
    other_s = percentile_of_random() if theirs is None else theirs.latency_s(since=LEARNING)
    assert ours.latency_s(since=LEARNING) <= 0.5 * other_s
    assert ours.asked <= seen_for(slow_upstreams, "ours") <= 1.1 * ours.asked
    counted = proxy.status()["plugins"]["forward"]
    assert 0 < counted["hedges_won"] <= counted["hedges"] <= 0.1 * ours.asked


def test_all_black_holed_every_client_has_its_answer_in_time(
    start_proxy: StartProxy, upstream: HostileUpstream, second_upstream: HostileUpstream
) -> None:
    proxy = start_proxy(forward(upstream, second_upstream, timeout="2s", deadline="4500ms"))
    with udp_socket(proxy.port) as client:
        client.send(wire.query("before.example.org"))
        assert len(answers(client, 1)) == 1
        upstream.default = second_upstream.default = behaviours.drop
        started = time.monotonic()
        for id in range(BLACK_HOLED):
            client.send(wire.query(f"hole{id}.example.org", id=id, edns=True))
        found = answers(client, BLACK_HOLED, within_s=6)
        took_s = time.monotonic() - started
    assert len(found) == BLACK_HOLED
    assert took_s <= HARD_S
    assert {wire.rcode(answer) for answer in found} == {wire.SERVFAIL}
