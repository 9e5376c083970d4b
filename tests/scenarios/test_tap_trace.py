"""`dnsproxy tap trace` of the proxy's own taps: each client query with its way through the upstreams."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartProxy
from tests.support import behaviours, wire
from tests.support.client import exchange
from tests.support.toml import dnstap, forward, stanza
from tests.support.upstream import HostileUpstream
from tests.tap.running import Running

JSON = {"json": ["query/id", "forward/upstream", "forward/outcome", "cache/state"]}
TEXT = "{/query/id} {name}"
NOTHING = ""


def traced(command: Running, count: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in command.wait_for_lines(count)]


@pytest.mark.parametrize("extra", [JSON, TEXT, NOTHING])
def test_a_silent_upstream_and_the_next_one_are_on_the_way(
    extra: object,
    start_proxy: StartProxy,
    upstream: HostileUpstream,
    second_upstream: HostileUpstream,
    tmp_path: Path,
) -> None:
    upstream.on("lost", behaviours.drop)
    path = tmp_path / "trace.sock"
    with Running("trace", "--json", "-u", path) as command:
        body = forward(upstream, second_upstream, policy="sequential") + dnstap(to=f"unix://{path}", extra=extra)
        proxy = start_proxy(body)
        exchange(wire.query("lost.example.org", id=0x1234), proxy.port)
        (query,) = traced(command, 1)
        command.end()
    assert (query["client"], query["protocol"], query["qname"]) == ("127.0.0.1", "UDP", "lost.example.org.")
    assert (query["qtype"], query["rcode"]) == ("A", "NOERROR")
    assert (query["id"] == 0x1234) == (extra == NOTHING)
    lost, answered = query["attempts"]
    assert (lost["upstream"], lost["outcome"], lost["rtt_ms"]) == (
        upstream.address.removeprefix("udp://"),
        "timeout",
        None,
    )
    assert (answered["outcome"], answered["rcode"]) == ("answered", "NOERROR")
    assert 300 < query["latency_ms"] < 2000
    assert 0 < answered["rtt_ms"] < query["latency_ms"]


def test_an_answer_from_the_cache_has_no_upstream(
    start_proxy: StartProxy, upstream: HostileUpstream, tmp_path: Path
) -> None:
    path = tmp_path / "trace.sock"
    with Running("trace", "-u", path) as command:
        body = stanza("[cache]", {}) + forward(upstream) + dnstap(to=f"unix://{path}", extra=JSON)
        proxy = start_proxy(body)
        for _ in range(2):
            exchange(wire.query("www.example.org"), proxy.port)
        first, second = command.wait_for_lines(2)
        command.end()
    assert f"{upstream.address.removeprefix('udp://')} UDP NOERROR " in first
    assert second.endswith(": cache hit")
