"""The keys of a `[[forward]]` stanza."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, Literal

from dnsproxy.config import Duration, OptionError, ReadableFile, Reader, Zone, option
from dnsproxy.dns_words import Rcode
from dnsproxy.upstream.options import (
    ENCRYPTED,
    IDLE_S,
    EditOptions,
    HttpOptions,
    TlsOptions,
)
from dnsproxy_forward.targets import HTTP, Target
from dnsproxy_forward.words import Health, HedgeAfter, OwnAddress, Pin, Prefixes, Resolver, families

MIN_ATTEMPTS, MAX_ATTEMPTS = 2, 6  # bounds of the default, which is twice the number of upstreams
EDNS_MIN, EDNS_MAX = 512, 4096  # octets: RFC 6891 section 6.2.3, and what resolvers answer over UDP at most
MAX_MARK: Final = 0xFFFFFFFF
MAX_WEIGHT: Final = 1000
MAX_GROUP: Final = 1000
SLOW_START_S: Final = 5.0
DEFAULT_WEIGHT = DEFAULT_GROUP = 1
Policy = Literal["random", "round_robin", "sequential", "latency", "hash", "weighted", "parallel"]


def _read_target(value: str, folder: Path) -> Target:
    target = Target.from_toml(value)
    return replace(target, file=str(folder / target.file)) if target.file else target


Upstreams = Annotated[Target, Reader((str,), Target.expected, _read_target, lambda target: f'"{target}"')]


@dataclass(frozen=True)
class UpstreamTable:
    """An element of `to` that says more than an address; what it leaves out is the stanza's."""

    address: Upstreams = option(help="as an element of `to` that is a string")
    weight: int = option(DEFAULT_WEIGHT, minimum=1, maximum=MAX_WEIGHT, help="its share, against the others'")
    group: int = option(DEFAULT_GROUP, minimum=0, maximum=MAX_GROUP, help="asked when all of lower groups are down")
    ca: ReadableFile | None = option(None, help="PEM file of the authorities that may have signed its certificate")
    cert: ReadableFile | None = option(None, help="PEM file of our own certificate")
    key: ReadableFile | None = option(None, help="PEM file of its private key")
    server_name: str | None = option(None, help="name in its certificate, and what it is told (SNI)")
    pins: tuple[Pin, ...] = option((), one_or_more=True, help="SHA-256 of its public key, in base64; one must fit")

    def __str__(self) -> str:
        return str(self.address)


@dataclass(frozen=True)
class ForwardConfig:
    """One `[[forward]]`: which names, to whom, how long, how often."""

    from_: tuple[Zone, ...] = option(
        (Zone((b"\0",)),), one_or_more=True, help="zones whose names are forwarded; a network is its reverse zones"
    )
    to: tuple[Upstreams | UpstreamTable, ...] = option(
        one_or_more=True, help="upstreams: addresses, host names, URLs, the path of a resolv.conf, or tables with more"
    )
    except_: tuple[Zone, ...] = option((), one_or_more=True, help="zones inside `from` that are not forwarded here")

    # which of them
    policy: Policy = option("random", help="which upstream is asked first; sequential prefers the first that is up")
    parallel_width: int = option(2, minimum=2, maximum=16, help='upstreams asked at once by policy = "parallel"')
    hedge: HedgeAfter | None = option(None, help="ask a second upstream when the first has taken that long")
    failover: tuple[Rcode, ...] = option((), one_or_more=True, help="rcodes on which the next upstream is asked")
    next: tuple[Rcode, ...] = option((), one_or_more=True, help="rcodes on which the next matching stanza is asked")
    next_on_nodata: bool = option(False, help="whether NOERROR without an answer is another reason for that")

    # for how long
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

    # which of them are well
    health: Health = option(Health(), help="when an upstream is down and up again, and what probes ask")
    all_down: Literal["spray", "failfast"] = option(
        "spray", help="when all are down: try as if all were up, or answer SERVFAIL at once"
    )
    slow_start: Duration = option(SLOW_START_S, help="time in which an upstream that is up again gets its share back")

    # what they are asked
    edns_size: int | None = option(
        None,
        minimum=EDNS_MIN,
        maximum=EDNS_MAX,
        help="octets of answer that UDP queries offer at most",
        default_text="what the client offers",
    )
    ecs: Literal["pass", "strip"] | Prefixes = option(
        "pass", help="EDNS Client Subnet: as it came, taken out, or that much of the client's address"
    )
    qname_case: Literal["0x20"] | None = option(None, help="draw the case of letters, against forged answers")
    cookies: bool = option(False, help="DNS cookies with the upstreams (RFC 7873), against forged answers")

    # over what
    method: Literal["POST", "GET"] = option("POST", help="of HTTP requests; caches on the way keep what GET asks")
    ca: ReadableFile | None = option(
        None,
        help="PEM file of the authorities that may have signed upstreams' certificates",
        default_text="the system's",
    )
    cert: ReadableFile | None = option(None, help="PEM file of our own certificate")
    key: ReadableFile | None = option(None, help="PEM file of its private key")
    server_name: str | None = option(
        None, help="name in upstreams' certificates, and what they are told (SNI)", default_text="what `to` says"
    )
    pins: tuple[Pin, ...] = option((), one_or_more=True, help="SHA-256 of public keys, in base64; one must fit")
    source_address: tuple[OwnAddress, ...] = option(
        (), one_or_more=True, help="our own address towards upstreams, at most one of a family"
    )
    mark: int | None = option(None, minimum=0, maximum=MAX_MARK, help="SO_MARK of sockets towards upstreams")
    bootstrap: tuple[Resolver, ...] = option(
        (), one_or_more=True, help="resolvers that upstreams' names are looked up with", default_text="the system's"
    )
    idle_timeout: Duration = option(IDLE_S, minimum=0.01, help="time without a query until a connection is closed")
    max_age: Duration | None = option(
        None, minimum=0.01, help="age at which a connection gets no new query", default_text="no bound"
    )

    def __post_init__(self) -> None:
        if self.force_tcp and self.prefer_udp:
            raise OptionError("prefer_udp", "contradicts force_tcp; expected one of them")
        families(self.source_address)
        self._refuse_repeated()

    def _refuse_repeated(self) -> None:
        seen: set[Target] = set()
        for index, upstream in enumerate(self.upstreams):
            if upstream.address in seen:
                raise OptionError("to", f'"{upstream.address}" is given twice; expected each once', index)
            seen.add(upstream.address)

    @property
    def upstreams(self) -> tuple[UpstreamTable, ...]:
        """`to`, each element a table."""
        return tuple(UpstreamTable(address=one) if isinstance(one, Target) else one for one in self.to)

    def tls(self, upstream: UpstreamTable) -> TlsOptions:
        """How one of `upstreams` is verified; a name in its address stands for `server_name`."""
        target = upstream.address
        named = target.server_name or ("" if target.is_address else target.host.removesuffix("."))
        return TlsOptions(
            upstream.ca or self.ca,
            upstream.cert or self.cert,
            upstream.key or self.key if upstream.cert is None else upstream.key,
            upstream.server_name or named or self.server_name,
            upstream.pins or self.pins,
        )

    def http(self, upstream: UpstreamTable) -> HttpOptions | None:
        """What HTTP requests to one of `upstreams` name."""
        target = upstream.address
        return HttpOptions(target.authority, target.path, self.method) if target.scheme in HTTP else None

    def edits(self, scheme: str | None) -> EditOptions:
        """What is changed in queries to upstreams that are asked that way."""
        ecs = self.ecs.bits if isinstance(self.ecs, Prefixes) else self.ecs
        return EditOptions(
            self.edns_size,
            None if ecs == "pass" else ecs,
            self.qname_case == "0x20",
            self.cookies,
            scheme in ENCRYPTED,
        )

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
