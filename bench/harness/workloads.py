"""What is measured: each workload by name, in the terms of whoever configures a program for it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Tap:
    """One dnstap output with full messages."""

    extra: str | None = None
    client_only: bool = False

    @property
    def messages_per_query(self) -> int:
        """CLIENT_QUERY and CLIENT_RESPONSE, and mostly FORWARDER_QUERY and FORWARDER_RESPONSE too."""
        return 2 if self.client_only else 4


@dataclass(frozen=True)
class Workload:
    """A name for the tables and what the programs under test are asked to do."""

    name: str
    title: str
    taps: tuple[Tap, ...] = ()


UPSTREAM_EXTRA = "upstream: {/forward/upstream}"

FORWARD = Workload("forward", "forward")
TWO_TAPS = Workload("two-taps", "forward + two full taps", (Tap(extra=UPSTREAM_EXTRA), Tap()))
CLIENT_TAP = Workload("client-tap", "forward + one client-only tap", (Tap(client_only=True),))

WORKLOADS = (FORWARD, TWO_TAPS, CLIENT_TAP)
