"""What a configuration file says, as frozen dataclasses: the core's own keys, and each server's plugins."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from dnsproxy.listen_address import ListenAddress, ip_text, split_host_port, split_scheme
from dnsproxy.options import Reader, option, shown
from dnsproxy.values import Cidr, Duration, Zone

MAX_SOCKET_PATH = 107  # octets of sun_path on Linux, less the zero at its end
MAX_WORKERS = 1024  # more processors than machines have
ROOT = Zone((b"\0",))
SYSTEM_ADMIN_FOLDER = "/run/dnsproxy"
METRICS_FORM = 'host:port such as "127.0.0.1:9153"'
DEFAULT_METRICS = ListenAddress(("tcp",), "127.0.0.1", 9153)  # CoreDNS's port for them
DEFAULT_LISTEN = (
    ListenAddress(("udp", "tcp"), "127.0.0.1", 53),
    ListenAddress(("udp", "tcp"), "::1", 53),
)
# loopback, private (RFC 1918, RFC 4193) and link-local networks: never an open resolver by accident
DEFAULT_ALLOW = tuple(
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",
        "::1/128",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fc00::/7",
        "169.254.0.0/16",
        "fe80::/10",
    )
)


def _read_workers(value: int | str, _folder: Path) -> int:
    if value == "auto":
        return len(os.sched_getaffinity(0))
    if isinstance(value, int) and 1 <= value <= MAX_WORKERS:
        return value
    raise ValueError(f'{shown(value)} is no number of processes; expected 1 to {MAX_WORKERS}, or "auto"')


def _read_admin(value: str | bool, folder: Path) -> str | Literal[False]:
    if isinstance(value, bool):
        if value:
            raise ValueError("true is no path; expected the path of a unix socket, or false")
        return False
    if not value or "\0" in value:
        raise ValueError(f"{shown(value)} is no path; expected the path of a unix socket, or false")
    path = str(folder / value)
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise ValueError(f"{shown(path)} is too long; expected at most {MAX_SOCKET_PATH} octets")
    return path


def _read_metrics_address(value: str, _folder: Path) -> ListenAddress:
    if split_scheme(value)[0] is not None:
        raise ValueError(f"{shown(value)} is a URL; expected {METRICS_FORM}")
    host, port = split_host_port(value)
    if port is None:
        raise ValueError(f"{shown(value)} has no port; expected {METRICS_FORM}")
    return ListenAddress(("tcp",), ip_text(host, METRICS_FORM), port)


def _show_metrics_address(address: ListenAddress) -> str:
    return shown(str(address).removeprefix("tcp://"))


Workers = Annotated[int, Reader((int, str), 'a number of processes or "auto"', _read_workers)]
AdminPath = Annotated[
    str | Literal[False] | None, Reader((str, bool), "the path of a unix socket, or false", _read_admin)
]

MetricsAddress = Annotated[ListenAddress, Reader((str,), METRICS_FORM, _read_metrics_address, _show_metrics_address)]


@dataclass(frozen=True)
class Metrics:
    """`[metrics]`: the numbers of `status` for Prometheus, over HTTP at /metrics."""

    listen: tuple[MetricsAddress, ...] = option((DEFAULT_METRICS,), one_or_more=True, help="where Prometheus asks")


@dataclass(frozen=True)
class Limits:
    """`[limits]`: bounds per process; what reaches one is refused and counted, or waits where nothing is lost."""

    queries: int = option(20_000, minimum=1, help="queries in flight")
    queries_per_client: int = option(10_000, minimum=1, help="queries in flight of one client address")
    tcp_connections: int = option(2_000, minimum=1, help="connections of clients")
    tcp_connections_per_client: int = option(50, minimum=1, help="connections of one client address")
    tcp_queries: int = option(200, minimum=1, help="queries in flight on one connection; then reading pauses")
    tcp_idle: Duration = option(30.0, minimum=0.001, help="idle connections close after this; also bounds one message")
    stop: Duration = option(5.0, minimum=0.0, help="what is in flight at the end gets this long")
    run_tasks: int = option(1_000, minimum=1, help="tasks that plugins run for queries")


@dataclass(frozen=True)
class ServerKeys:
    """The keys of a server beside its plugins' tables."""

    listen: tuple[ListenAddress, ...] = option(DEFAULT_LISTEN, may_repeat=True, help="where queries arrive")
    zones: tuple[Zone, ...] = option((ROOT,), help="the zones served; the most specific server on an address wins")
    order: tuple[str, ...] = option((), help="plugin names, first to last, overriding the stages")
    allow: tuple[Cidr, ...] = option(DEFAULT_ALLOW, help="networks whose queries are answered")


@dataclass(frozen=True)
class ProcessKeys:
    """The keys that stand at top level only."""

    workers: Workers = option(1, help='processes sharing the ports; "auto": one for each processor')
    admin: AdminPath = option(None, help="unix socket of `dnsproxy status`", default_text="see the manual")
    limits: Limits = option(Limits(), help="bounds of a process")
    metrics: Metrics | None = option(None, help="where Prometheus asks")


class PluginConfig(NamedTuple):
    """One plugin of a chain: its name in the file, its class, and an instance of its `Config` for each stanza."""

    name: str
    plugin: type[Any]
    stanzas: tuple[Any, ...]


@dataclass(frozen=True)
class ServerConfig:
    """One server: which queries are its own, and its chain, first to last, in `plugins`.

    `zones` are wire names, lower-cased. Stanzas that several servers share are the same objects in each.
    """

    listen: tuple[ListenAddress, ...]
    zones: tuple[bytes, ...]
    allow: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]
    order: tuple[str, ...]
    plugins: tuple[PluginConfig, ...]


@dataclass(frozen=True)
class AdminSocket:
    """Where `status` is served; when not `required` (a default) a failure to open it is only a warning."""

    path: str
    required: bool


@dataclass(frozen=True)
class Configuration:
    """A whole valid file. Relative paths in it were read from `folder`, its own."""

    file: str
    folder: Path
    servers: tuple[ServerConfig, ...]
    workers: int
    admin: AdminSocket | None
    limits: Limits
    metrics: tuple[ListenAddress, ...] = ()  # where they are served; over TCP


@dataclass(frozen=True)
class CheckContext:
    """What a plugin's `check` may know of the server that its stanzas are for."""

    listen: tuple[ListenAddress, ...]
    zones: tuple[bytes, ...]
    folder: Path

    def listens_on(self, host: str, port: int, scheme: str | None = None) -> bool:
        """Whether this server itself would get what is sent to that IP address and port (`scheme` None: over any)."""
        return any(address.covers(host, port, scheme) for address in self.listen)


def default_admin_path(environment: Mapping[str, str], is_root: bool) -> str | None:
    """Where the admin socket is when the file says nothing; None when there is no safe place."""
    candidates = admin_candidates(environment)
    if len(candidates) > 1 or is_root:
        return candidates[0]
    return None


def admin_candidates(environment: Mapping[str, str]) -> list[str]:
    """Where `status` looks for a running proxy, in this order."""
    folders: list[Path] = []
    if runtime := environment.get("RUNTIME_DIRECTORY"):
        folders.append(Path(runtime.split(":")[0]))  # systemd lists all of them
    if user := environment.get("XDG_RUNTIME_DIR"):
        folders.append(Path(user, "dnsproxy"))
    folders.append(Path(SYSTEM_ADMIN_FOLDER))
    return [str(folder / "admin.sock") for folder in dict.fromkeys(folders)]
