"""Where a tap's messages go: addresses as operators write them, and what TLS needs besides."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import ClassVar, Final

from dnsproxy.listen_address import MAX_PORT, host_port, ip_text
from dnsproxy.pem import client_context, with_own

FORMS: Final = "unix:///path, /path, tcp://host:port, tls://host:port or file:///path"
LISTEN_FORMS: Final = "unix:///path, /path, tcp://address:port or tls://address:port"
LOCALHOST: Final = "localhost"  # no other name: asking for it may mean asking ourselves
BINDABLE: Final = "an address of this machine, 0.0.0.0 or [::] for all, or localhost"
UNIX_PATH_MAX: Final = 107  # octets; sockaddr_un has room for 108 with the zero at the end
PATH_SCHEMES: Final = ("unix", "file")
HOST_SCHEMES: Final = ("tcp", "tls")


@dataclass(frozen=True)
class Destination:
    """A collector or a file: `path` for the schemes unix and file, `host` and `port` for tcp and tls."""

    expected: ClassVar[str] = FORMS

    scheme: str
    path: str = ""
    host: str = ""
    port: int = 0

    @classmethod
    def from_toml(cls, value: str) -> Destination:
        """Read one of FORMS; ValueError says what is wrong with it."""
        scheme, rest = _split(value, FORMS)
        if scheme in PATH_SCHEMES:
            return cls(scheme, path=_path(scheme, rest, value))
        if scheme in HOST_SCHEMES:
            host, port = _host_port(rest, value)
            return cls(scheme, host=host, port=port)
        raise ValueError(f'"{scheme}://" is not known; expected {FORMS}')

    def __str__(self) -> str:
        return f"{self.scheme}://{self.path or host_port(self.host, self.port)}"


@dataclass(frozen=True)
class ListenUrl(Destination):
    """Where collectors dial in: `host` is an IP address or `localhost`; port 0 is whatever the system gives."""

    expected: ClassVar[str] = LISTEN_FORMS

    @classmethod
    def from_toml(cls, value: str) -> ListenUrl:
        """Read one of LISTEN_FORMS; ValueError says what is wrong with it."""
        scheme, rest = _split(value, LISTEN_FORMS)
        if scheme == "unix":
            return cls(scheme, path=_path(scheme, rest, value))
        if scheme in HOST_SCHEMES:
            host, port = _host_port(rest, value, first_port=0)
            return cls(scheme, host=host if host == LOCALHOST else ip_text(host, BINDABLE), port=port)
        raise ValueError(f'"{scheme}://" is not known; expected {LISTEN_FORMS}')


def _split(value: str, forms: str) -> tuple[str, str]:
    """Scheme and what follows; a bare path is a unix socket's."""
    scheme, separator, rest = value.partition("://")
    if separator:
        return scheme.lower(), rest
    if value.startswith("/"):
        return "unix", value
    raise ValueError(f'"{value}" has no scheme; expected {forms}')


def _path(scheme: str, path: str, value: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f'"{value}" is no absolute path; expected {scheme}:///path')
    if "\0" in path or path.endswith("/"):
        raise ValueError(f'"{value}" names no file; expected {scheme}:///path')
    if scheme == "unix" and len(path.encode()) > UNIX_PATH_MAX:
        raise ValueError(f'"{value}" is too long for a unix socket; expected at most {UNIX_PATH_MAX} octets')
    return path


def _host_port(text: str, value: str, first_port: int = 1) -> tuple[str, int]:
    host, separator, port = text.removesuffix("/").rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not separator or (":" in host and not bracketed):
        raise ValueError(f'"{value}" has no port; expected host:port or [address]:port')
    if not (port.isascii() and port.isdigit() and first_port <= int(port) <= MAX_PORT):
        raise ValueError(f'"{value}" has a bad port; expected a number from {first_port} to {MAX_PORT}')
    host = host[1:-1] if bracketed else host
    if not _is_host(host) or bracketed != (":" in host):
        raise ValueError(f'"{value}" has a bad host; expected a name or an IP address')
    return host, int(port)


def _is_host(host: str) -> bool:
    """Whether the resolver can be asked for it; an absolute name's last dot is fine."""
    try:
        host.removesuffix(".").encode("idna")
    except UnicodeError:
        return False
    return bool(host.strip(".")) and not any(character in host for character in " \t\r\n/@?#%\0")


@dataclass(frozen=True)
class TlsOptions:
    """How to trust a collector, and how to be known to it: names of PEM files.

    Both kinds of context take TLS 1.2 and up; OSError when a file will not do.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None
    skip_verify: bool = False

    def context(self) -> ssl.SSLContext:
        """For connections that we make: the collector is verified by the system's roots or `ca`."""
        context = client_context(self.ca, self.cert, self.key)
        if self.skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def server_context(self) -> ssl.SSLContext:
        """For collectors that dial in: with `ca`, only those whose certificate it has signed."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if self.ca:
            context.load_verify_locations(self.ca)
            context.verify_mode = ssl.CERT_REQUIRED
        return with_own(context, self.cert, self.key)
