"""How one upstream is asked: everything that two stanzas must agree in to share its connections and its health."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from dnsproxy.address import Address

ENCRYPTED: Final = ("tls", "https", "quic", "h3")
IDLE_S: Final = 10.0
PROBE_NAME: Final = b"\0"
PROBE_TYPE: Final = 2  # NS


@dataclass(frozen=True)
class TlsOptions:
    """How an upstream is verified, and how we are known to it: PEM files, names and pins.

    Without `server_name` its certificate must carry its IP address. `pins` are SHA-256 digests of a
    SubjectPublicKeyInfo (RFC 7858 section 4.2); where there are any, one must fit, chain and name notwithstanding.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    pins: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class HttpOptions:
    """What a DoH request names (RFC 8484): `authority` is `host` or `host:port`, `method` GET or POST."""

    authority: str
    path: str = "/dns-query"
    method: str = "POST"


@dataclass(frozen=True)
class HealthOptions:
    """When an upstream is down and up again, and what probes ask; `interval` in seconds."""

    name: bytes = PROBE_NAME
    type: int = PROBE_TYPE
    interval: float = 0.5
    rise: int = 2
    fall: int = 3
    servfail_is_up: bool = True


@dataclass(frozen=True)
class EditOptions:
    """What is changed in queries on their way to an upstream, and taken back in its answers.

    `ecs` is None (pass), `"strip"`, or the prefixes (ipv4, ipv6) to send; `padding` is for encrypted transports.
    """

    edns_size: int | None = None
    ecs: tuple[int, int] | str | None = None
    mixed_case: bool = False
    cookies: bool = False
    padding: bool = False

    @property
    def is_empty(self) -> bool:
        """Whether queries go out as they came."""
        return self == EditOptions()


@dataclass(frozen=True)
class UpstreamOptions:
    """One upstream. `scheme` is None (as the client asked), udp, tcp, tls, https, quic or h3; times in seconds.

    `sources` are our own addresses, at most one of a family; `mark` is SO_MARK.
    """

    address: Address
    scheme: str | None = None
    tls: TlsOptions | None = None
    http: HttpOptions | None = None
    sources: tuple[str, ...] = ()
    mark: int | None = None
    idle_timeout: float = IDLE_S
    max_age: float | None = None
    health: HealthOptions = HealthOptions()
    edits: EditOptions = EditOptions()

    @property
    def is_encrypted(self) -> bool:
        """Whether nobody on the way can read it."""
        return self.scheme in ENCRYPTED

    @property
    def stream(self) -> bool | None:
        """True: one message after the other or many at once over connections; False: UDP; None: as the client asked."""
        return None if self.scheme is None else self.scheme != "udp"

    @property
    def url(self) -> str:
        """As in `status` and in the log."""
        if self.http is not None:
            return f"{self.scheme}://{self.address}{self.http.path}"
        return f"{self.scheme or 'udp'}://{self.address}"
