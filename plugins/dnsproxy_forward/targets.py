"""What may stand in `to`: addresses, host names, URLs, and files in the format of resolv.conf."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from dnsproxy.config import host_port, split_host_port, split_scheme

DEFAULT_PORTS: Final = {"udp": 53, "tcp": 53, "tls": 853, "https": 443, "quic": 853, "h3": 443}
HTTP: Final = ("https", "h3")
NAMED: Final = ("tls", "quic")  # those that may say %name of the certificate
DNS_PORT: Final = 53
DEFAULT_PATH: Final = "/dns-query"  # RFC 8484 section 4.1.1 has it in every example
MAX_NAMESERVERS_LINE = 1024  # characters of a line of resolv.conf that are looked at


@dataclass(frozen=True)
class Target:
    """One element of `to`. Exactly one of `host` (an IP address, perhaps with %zone, or a name) and `file` is set.

    `path` is that of https:// and h3://, `server_name` what stands behind % in tls:// and quic://.
    """

    expected: ClassVar[str] = (
        'an upstream such as "192.0.2.1", "[2001:db8::1]:53", "tcp://…", "tls://192.0.2.1%name" or "https://name/path"'
    )

    scheme: str | None
    host: str
    port: int
    file: str = ""
    path: str = ""
    server_name: str = ""

    @classmethod
    def from_toml(cls, value: str) -> Target:
        """Read an element of `to`; ValueError says what is wrong with it."""
        scheme, rest = split_scheme(value)
        if scheme is not None and scheme not in DEFAULT_PORTS:
            raise ValueError(f'"{scheme}://" is not spoken by this version; expected {_spoken()}, or none')
        if scheme is None and "/" in rest:
            return cls(None, "", DNS_PORT, rest)
        path = server_name = ""
        if scheme in HTTP:
            rest, path = _cut_path(rest, value)
        rest = rest.removesuffix("/")
        if scheme in NAMED:
            rest, server_name = _cut_name(rest, value)
        host, port = _split(rest)
        if not _is_ip(host):
            _check_name(host, value)
        if port == 0:
            raise ValueError(f'"{value}" has port 0; expected a port that can be asked')
        default = DEFAULT_PORTS[scheme] if scheme else DNS_PORT
        return cls(scheme, host, default if port is None else port, "", path, server_name)

    @property
    def is_address(self) -> bool:
        """Whether there is nothing to look up."""
        return not self.file and _is_ip(self.host)

    @property
    def authority(self) -> str:
        """What HTTP requests name: `host`, or `host:port`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS["https"] else host_port(self.host, self.port)

    def __str__(self) -> str:
        if self.file:
            return self.file
        if not self.server_name:
            text = host_port(self.host, self.port)
        elif ":" in self.host:
            text = f"[{self.host}]%{self.server_name}:{self.port}"
        else:
            text = f"{self.host}%{self.server_name}:{self.port}"
        return f"{self.scheme}://{text}{self.path}" if self.scheme else text


def _spoken() -> str:
    *most, last = (f"{scheme}://" for scheme in DEFAULT_PORTS)
    return f"{', '.join(most)} or {last}"


def _cut_path(text: str, whole: str) -> tuple[str, str]:
    """(authority, path) of what follows `https://`."""
    authority, slash, path = text.partition("/")
    path = slash + path or DEFAULT_PATH
    if any(ord(letter) <= 32 or ord(letter) >= 127 or letter == "#" for letter in path):
        raise ValueError(f'"{whole}" has a bad path; expected printable ASCII without blanks')
    if "@" in authority:
        raise ValueError(f'"{whole}" has a user name; expected https://name/path')
    return authority, path


def _cut_name(text: str, whole: str) -> tuple[str, str]:
    """(host with port, name of the certificate) of `IP[%name][:port]`; a zone of IPv6 stands inside brackets."""
    bracket = text.find("]")
    at = text.find("%", bracket + 1)
    if at < 0 or (bracket < 0 and text.count(":") > 1 and _is_ip(text)):
        return text, ""
    name, colon, port = text[at + 1 :].partition(":")
    host = text[:at]
    if ":" in host and bracket < 0:
        host = f"[{host}]"
    if not _is_ip(host.strip("[]")):
        raise ValueError(f'"{whole}" has %{name} behind a name; expected it behind an IP address')
    _check_name(name, whole)
    return host + colon + port, name


def _split(text: str) -> tuple[str, int | None]:
    if _is_ip(text):  # an IPv6 address without brackets has no port
        return text, None
    return split_host_port(text)


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _check_name(host: str, value: str) -> None:
    labels = host.removesuffix(".").split(".")
    good = all(label and len(label) <= 63 and label.replace("-", "").replace("_", "").isalnum() for label in labels)
    if not good or not host.isascii() or labels[-1].isdigit():
        raise ValueError(f'"{value}" is neither an IP address nor a host name; expected {Target.expected}')


def read_nameservers(path: str) -> list[str]:
    """The addresses in a file in the format of resolv.conf; OSError when it cannot be read."""
    return nameservers(Path(path).read_text("utf-8", "replace"))


def nameservers(text: str) -> list[str]:
    """The addresses of the `nameserver` lines of a resolv.conf, in order; anything else is passed over."""
    found = []
    for line in text.splitlines():
        words = line[:MAX_NAMESERVERS_LINE].split()
        if len(words) >= 2 and words[0] == "nameserver" and _is_ip(words[1]):
            found.append(words[1])
    return list(dict.fromkeys(found))
