"""Upstreams that were quick and have just become slow: what is asked beside them, and what is told of it."""

from typing import Any

from dnsproxy.plugin import Tap
from dnsproxy.upstream.taps import Taps
from tests.plugins.forwarding import A, B, configured, forward
from tests.support.offline import Asked, Offline, Script, answering, slow


class Told(Tap):
    """Remembers every FORWARDER_* message with the labels that a template would show then."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, object]]] = []

    def wants(self, kind: int) -> bool:
        return True

    def forwarder_query(self, event: Any) -> None:
        self.told.append(("query", self.labels(event)))

    def forwarder_response(self, event: Any) -> None:
        self.told.append(("response", self.labels(event)))

    def labels(self, event: Any) -> dict[str, object]:
        return {label.removeprefix("forward/"): value for label, value in event.query.metadata.items()}


def told_of(offline: Offline) -> list[tuple[str, dict[str, object]]]:
    tap = Told()
    assert offline.chain is not None
    for stanza in offline.chain.plugins[-1].work:  # type: ignore[attr-defined]
        stanza.taps = Taps.among([tap])
    return tap.told


def status(offline: Offline) -> dict[str, Any]:
    assert offline.chain is not None
    return offline.chain.plugins[-1].status() or {}


def warm(offline: Offline, number: int = 100) -> None:
    """So many queries that are answered at once: what answers take is known then."""
    for which in range(number):
        offline.ask(f"warm{which}.example.org", run_s=0.001)
    offline.network.asked.clear()


def late(offline: Offline, **scripts: Script) -> Offline:
    """A and B answered quickly so far; A has just become what the script says."""
    configured(offline, forward(A, B, policy="sequential"), A=slow(0.002, answering()), B=answering("192.0.2.2"))
    warm(offline, 5)
    offline.upstreams[B].rtt_ns, offline.upstreams[B].rttvar_ns = 2e6, 1e5
    offline.network.scripts.update({{"A": A, "B": B}[name]: script for name, script in scripts.items()})
    return offline


def labels(asked: Asked) -> list[object]:
    return [asked.label(name) for name in ("upstream", "attempt", "attempts", "outcome")]
