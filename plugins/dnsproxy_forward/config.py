"""The keys of a `[[forward]]` stanza."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from dnsproxy.config import Duration, OptionError, Reader, Zone, option
from dnsproxy.dns_words import Rcode
from dnsproxy_forward.targets import Target

MIN_ATTEMPTS, MAX_ATTEMPTS = 2, 6  # bounds of the default, which is twice the number of upstreams


def _read_target(value: str, folder: Path) -> Target:
    target = Target.from_toml(value)
    return replace(target, file=str(folder / target.file)) if target.file else target


Upstreams = Annotated[Target, Reader((str,), Target.expected, _read_target, lambda target: f'"{target}"')]


@dataclass(frozen=True)
class ForwardConfig:
    """One `[[forward]]`: which names, to whom, how long, how often."""

    from_: tuple[Zone, ...] = option(
        (Zone((b"\0",)),), one_or_more=True, help="zones whose names are forwarded; a network is its reverse zones"
    )
    to: tuple[Upstreams, ...] = option(
        one_or_more=True, help="upstreams: addresses, host names, udp:// or tcp:// URLs, or the path of a resolv.conf"
    )
    except_: tuple[Zone, ...] = option((), one_or_more=True, help="zones inside `from` that are not forwarded here")
    policy: Literal["random", "round_robin", "sequential"] = option(
        "random", help="which upstream is asked first; sequential prefers the first that is up"
    )
    timeout: Duration = option(2.0, minimum=0.001, help="one attempt: connecting and the answer")
    deadline: Duration = option(4.5, minimum=0.001, help="one query with all its attempts; stubs give up after 5 s")
    max_attempts: int | None = option(
        None, minimum=1, help="attempts for one query", default_text="twice the upstreams, from 2 to 6"
    )
    max_concurrent: int | None = option(
        None, minimum=1, help="queries in flight; more are REFUSED and counted", default_text="no bound of its own"
    )
    force_tcp: bool = option(False, help="ask by TCP whatever the client used")
    prefer_udp: bool = option(False, help="ask by UDP whatever the client used")
    failover: tuple[Rcode, ...] = option((), one_or_more=True, help="rcodes on which the next upstream is asked")
    next: tuple[Rcode, ...] = option((), one_or_more=True, help="rcodes on which the next matching stanza is asked")

    def __post_init__(self) -> None:
        if self.force_tcp and self.prefer_udp:
            raise OptionError("prefer_udp", "contradicts force_tcp; expected one of them")

    @property
    def zones(self) -> tuple[bytes, ...]:
        """Wire names of `from`."""
        return tuple(name for zone in self.from_ for name in zone.names)

    @property
    def excluded(self) -> tuple[bytes, ...]:
        """Wire names of `except`."""
        return tuple(name for zone in self.except_ for name in zone.names)

    def attempts(self, upstreams: int) -> int:
        """How many attempts a query has."""
        return self.max_attempts or max(MIN_ATTEMPTS, min(MAX_ATTEMPTS, 2 * upstreams))
