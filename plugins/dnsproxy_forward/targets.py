"""What may stand in `to`: addresses, host names, and files in the format of resolv.conf."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dnsproxy.config import host_port, split_host_port, split_scheme

SCHEMES = ("udp", "tcp")
DNS_PORT = 53
MAX_NAMESERVERS_LINE = 1024  # characters of a line of resolv.conf that are looked at


@dataclass(frozen=True)
class Target:
    """One element of `to`. Exactly one of `host` (an IP address or a name) and `file` is set."""

    expected: ClassVar[str] = 'an address such as "192.0.2.1", "192.0.2.1:53", "[2001:db8::1]:53" or "udp://…"'

    scheme: str | None
    host: str
    port: int
    file: str = ""

    @classmethod
    def from_toml(cls, value: str) -> Target:
        """Read an element of `to`; ValueError says what is wrong with it."""
        scheme, rest = split_scheme(value)
        if scheme is not None and scheme not in SCHEMES:
            raise ValueError(f'"{scheme}://" is not spoken by this version; expected udp:// or tcp://, or none')
        if scheme is None and "/" in rest:
            return cls(None, "", DNS_PORT, rest)
        host, port = _split(rest.removesuffix("/"))
        if not _is_ip(host):
            _check_name(host, value)
        if port == 0:
            raise ValueError(f'"{value}" has port 0; expected a port that can be asked')
        return cls(scheme, host, DNS_PORT if port is None else port)

    @property
    def is_address(self) -> bool:
        """Whether there is nothing to look up."""
        return not self.file and _is_ip(self.host)

    def __str__(self) -> str:
        if self.file:
            return self.file
        text = host_port(self.host, self.port)
        return f"{self.scheme}://{text}" if self.scheme else text


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
