"""Addresses as they are written in configuration: `host:port`, `[v6]:port` and URLs of listeners."""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from typing import ClassVar

SPOKEN_SCHEMES = ("udp", "tcp")
DEFAULT_PORTS = {"udp": 53, "tcp": 53, "tls": 853, "https": 443, "quic": 853}
MAX_PORT = 65535
LISTEN_FORM = 'host:port such as "127.0.0.1:53" or "[::1]:53", or with udp:// or tcp:// before it'

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


@dataclass(frozen=True)
class ListenAddress:
    """Where a server takes queries: one host and port, over each protocol of `schemes`.

    Port 0 is whatever the system gives, the same for all schemes.
    """

    expected: ClassVar[str] = LISTEN_FORM

    schemes: tuple[str, ...]
    host: str
    port: int

    @classmethod
    def from_toml(cls, value: str) -> ListenAddress:
        """Read `host:port` (UDP and TCP) or a URL; ValueError says what is wrong with it."""
        scheme, rest = split_scheme(value)
        if scheme is not None and scheme not in SPOKEN_SCHEMES:
            raise ValueError(
                f'"{scheme}://" is not spoken by this version; expected udp:// or tcp://, or none for both'
            )
        host, port = split_host_port(rest.removesuffix("/") if scheme else rest)
        if port is None:
            port = DEFAULT_PORTS[scheme] if scheme else None
        if port is None:
            raise ValueError(f'"{value}" has no port; expected {LISTEN_FORM}')
        return cls((scheme,) if scheme else SPOKEN_SCHEMES, ip_text(host, LISTEN_FORM), port)

    @property
    def family(self) -> socket.AddressFamily:
        """AF_INET or AF_INET6."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def is_wildcard(self) -> bool:
        """Whether it takes queries on every address of the machine."""
        return self.host in ("0.0.0.0", "::")  # noqa: S104

    @property
    def urls(self) -> tuple[str, ...]:
        """One `scheme://host:port` for each protocol, as in `status`."""
        return tuple(f"{scheme}://{host_port(self.host, self.port)}" for scheme in self.schemes)

    def __str__(self) -> str:
        text = host_port(self.host, self.port)
        return text if self.schemes == SPOKEN_SCHEMES else f"{self.schemes[0]}://{text}"

    def covers(self, host: str, port: int, scheme: str | None = None) -> bool:
        """Whether a query sent to that IP address and port (over `scheme`; None: any) arrives here.

        Never for a host name: what it stands for may change.
        """
        if port != self.port or scheme not in (None, *self.schemes):
            return False
        try:
            address = _unmapped(host)
        except ValueError:
            return False
        if not self.is_wildcard:
            return address == _unmapped(self.host)
        return (address.version == 4 or self.family == socket.AF_INET6) and _is_local(address)


def split_scheme(text: str) -> tuple[str | None, str]:
    """Cut `scheme://` off: (the scheme in lower case or None, the rest)."""
    match = _URL.fullmatch(text)
    return (match[1].lower(), match[2]) if match else (None, text)


def split_host_port(text: str) -> tuple[str, int | None]:
    """Read `host`, `host:port`, `[v6]` or `[v6]:port`; ValueError says what is wrong with it."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f'"{text}" has brackets that do not fit; expected [address]:port')
        if ":" not in host:
            raise ValueError(f'"{host}" is no IPv6 address; expected one between the brackets')
        return host, _port(rest[1:], text) if rest else None
    if text.count(":") > 1:
        raise ValueError(f'"{text}" is an IPv6 address without brackets; expected [address] or [address]:port')
    host, colon, rest = text.partition(":")
    if not host:
        raise ValueError(f'"{text}" has no host; expected host:port')
    return host, _port(rest, text) if colon else None


def host_port(host: str, port: int) -> str:
    """`192.0.2.1:53` or `[2001:db8::1]:53`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def ip_text(host: str, expected: str = "an IP address") -> str:
    """The usual form of an IP address (RFC 5952); ValueError when it is none."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        raise ValueError(f'"{host}" is not an IP address; expected {expected}') from None


def _port(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= MAX_PORT):
        raise ValueError(f'"{whole}" has a bad port; expected a number up to {MAX_PORT}')
    return int(text)


def _unmapped(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    address = ipaddress.ip_address(host)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_local(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether the address is this machine's own: then the system chooses it as the source towards itself."""
    if address.is_loopback or address.is_unspecified:
        return True
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))  # a datagram socket: nothing is sent
            return str(probe.getsockname()[0]) == str(address)
    except OSError:
        return False
