"""Upstreams among which a policy chooses: asked many names, taken down, counted."""

from typing import Any

from dnsproxy_forward import Forward
from dnsproxy_forward.stanza import Stanza

from tests.plugins.forwarding import configured, counts, forward
from tests.support.offline import Offline, answering, closed

POLICIES = ["random", "round_robin", "sequential", "latency", "hash", "weighted", "parallel"]


def table(address: str, **keys: object) -> Any:
    return {"address": address, **keys}


def tables(*upstreams: object, **keys: object) -> str:
    return forward(**{"to": list(upstreams), **keys})


def answered(offline: Offline, *stanzas: str) -> Offline:
    """All three answer, each its own address."""
    scripts = {name: answering(f"192.0.2.{number}") for number, name in enumerate("ABC", 1)}
    return configured(offline, *stanzas, **scripts)


def ask_many(offline: Offline, number: int, label: str = "") -> list[int]:
    """How often A, B and C, which are equally fast, were asked for so many names, one after the other."""
    offline.network.asked.clear()
    for which in range(number):
        for upstream in offline.upstreams.values():
            upstream.rtt_ns = 0.0
        assert offline.ask(f"{which}{label}.example.org").answers
    return counts(offline)


def work(offline: Offline) -> Stanza:
    assert offline.chain is not None
    (plugin,) = (plugin for plugin in offline.chain.plugins if isinstance(plugin, Forward))
    return plugin.work[0]


def down(offline: Offline, *servers: str) -> None:
    """Those that nobody listens at are found to be down."""
    for server in servers:
        offline.network.scripts[server] = closed
    for number in range(60):
        for upstream in offline.upstreams.values():
            upstream.rtt_ns = 0.0  # none is faster
        offline.ask(f"finding{number}.example.org", run_s=0.001)
        if not any(offline.upstreams[server].up for server in servers):
            return
    raise AssertionError("still up")
