"""Values that only `[[forward]]` has: pins, durations or percentiles, prefixes, addresses of our own, resolvers."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from dnsproxy.config import DnsName, Duration, OptionError, Reader, host_port, ip_text, option, shown, split_host_port
from dnsproxy.dns_words import Qtype
from dnsproxy.upstream.options import HealthOptions
from dnsproxy.values import parse_duration, show_duration

PIN_OCTETS: Final = 32  # of SHA-256
PIN_FORM: Final = "base64 of the SHA-256 of a certificate's public key, as kdig +tls-pin takes it"
HEDGE_FORM: Final = '"p50" to "p99", or a duration such as "30ms"'
HEDGE_MIN_S: Final = 0.001
MAX_MARK: Final = 0xFFFFFFFF
RESOLVER_FORM: Final = 'an address such as "192.0.2.1" or "[2001:db8::1]:53"'
_PERCENTILE: Final = re.compile(r"p(\d{1,2})")


@dataclass(frozen=True)
class Hedge:
    """When a second upstream is asked too: after `seconds`, or after that percentile of what answers take."""

    seconds: float | None = None
    percentile: int | None = None


def _read_pin(value: str, _folder: Path) -> bytes:
    try:
        pin = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pin = b""
    if len(pin) != PIN_OCTETS:
        raise ValueError(f"{shown(value)} is no pin; expected {PIN_FORM}")
    return pin


def _read_hedge(value: str, _folder: Path) -> Hedge:
    match = _PERCENTILE.fullmatch(value)
    if match:
        if not 50 <= int(match[1]) <= 99:
            raise ValueError(f"{shown(value)} is out of range; expected {HEDGE_FORM}")
        return Hedge(percentile=int(match[1]))
    try:
        seconds = parse_duration(value)
    except ValueError:
        raise ValueError(f"{shown(value)} will not do; expected {HEDGE_FORM}") from None
    if seconds < HEDGE_MIN_S:
        raise ValueError(f"{shown(value)} is too small; expected at least {show_duration(HEDGE_MIN_S)}")
    return Hedge(seconds=seconds)


def _show_hedge(hedge: Hedge) -> str:
    return f'"p{hedge.percentile}"' if hedge.percentile else show_duration(hedge.seconds or 0)


def _read_resolver(value: str, _folder: Path) -> tuple[str, int]:
    try:
        return ip_text(value), 53
    except ValueError:
        host, port = split_host_port(value)
    if port == 0:
        raise ValueError(f"{shown(value)} has port 0; expected {RESOLVER_FORM}")
    return ip_text(host, RESOLVER_FORM), port or 53


Pin = Annotated[bytes, Reader((str,), PIN_FORM, _read_pin, lambda pin: shown(base64.b64encode(pin).decode()))]
HedgeAfter = Annotated[Hedge, Reader((str,), HEDGE_FORM, _read_hedge, _show_hedge)]
OwnAddress = Annotated[str, Reader((str,), "an IP address of this machine", lambda text, _: ip_text(text), shown)]
Resolver = Annotated[
    tuple[str, int], Reader((str,), RESOLVER_FORM, _read_resolver, lambda pair: shown(host_port(*pair)))
]


@dataclass(frozen=True)
class Prefixes:
    """`ecs = {ipv4 = 24, ipv6 = 56}`: bits of a client's address that are sent (RFC 7871)."""

    ipv4: int = option(24, minimum=0, maximum=32, help="bits of an IPv4 address that are sent; 0 says: none")
    ipv6: int = option(56, minimum=0, maximum=128, help="bits of an IPv6 address that are sent")

    @property
    def bits(self) -> tuple[int, int]:
        """Of IPv4, of IPv6."""
        return self.ipv4, self.ipv6


@dataclass(frozen=True)
class Health:
    """`health = {…}`: what probes ask, and how many answers and failures it takes."""

    name: DnsName = option(HealthOptions.name, help="what probes ask")
    type: Qtype = option(HealthOptions.type, help="what type they ask for")
    interval: Duration = option(HealthOptions.interval, minimum=0.05, maximum=3600.0, help="between two probes")
    rise: int = option(HealthOptions.rise, minimum=1, maximum=100, help="probes answered in a row until it is up")
    fall: int = option(HealthOptions.fall, minimum=1, maximum=1000, help="failures in a row until it is down")
    servfail_is_up: bool = option(HealthOptions.servfail_is_up, help="whether a probe answered SERVFAIL is answered")

    @property
    def options(self) -> HealthOptions:
        """For the upstream."""
        return HealthOptions(self.name, self.type, self.interval, self.rise, self.fall, self.servfail_is_up)


def families(sources: tuple[str, ...]) -> None:
    """OptionError when two of our own addresses are of one family."""
    if len({":" in source for source in sources}) < len(sources):
        raise OptionError("source_address", "has two of one family; expected at most one IPv4 and one IPv6 address")
