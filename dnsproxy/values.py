"""Value types of configuration: durations, sizes, networks, names, zones, files."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from dnsproxy.options import Reader, shown
from dnsproxy.wire import name_from_text, name_to_text

MAX_DURATION_S = 10 * 365 * 86400.0  # ten years; clocks take any number below without overflow
MAX_SIZE = 2**63 - 1
OCTET_BITS, NIBBLE_BITS = 8, 4
DURATION_FORM = 'a duration such as "500ms", "2s", "5m", "1h" or "7d"'
SIZE_FORM = 'a size such as "16MiB", or a number of bytes'

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZE_UNITS = {"B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZE_UNITS |= {"KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_QUANTITY = re.compile(r"(\d{1,20}(?:\.\d{1,9})?) ?([A-Za-z]+)", re.ASCII)


def parse_duration(text: str) -> float:
    """Seconds in `"500ms"`, `"2s"`, `"5m"`, `"1h"`, `"7d"`, `"2w"`; ValueError says what was expected."""
    match = _QUANTITY.fullmatch(text)
    if not match or match[2] not in _DURATION_UNITS:
        raise ValueError(f"{shown(text)} is not a duration; expected {DURATION_FORM}")
    seconds = float(match[1]) / 1000 if match[2] == "ms" else float(match[1]) * _DURATION_UNITS[match[2]]
    if seconds > MAX_DURATION_S:
        raise ValueError(f"{shown(text)} is too long; expected at most 10 years")
    return seconds


def parse_size(text: str) -> int:
    """Bytes in `"16MiB"`, `"64KiB"`, `"1GB"`, `"512B"`; ValueError says what was expected."""
    match = _QUANTITY.fullmatch(text)
    if not match or match[2].upper() not in _SIZE_UNITS:
        raise ValueError(f"{shown(text)} is not a size; expected {SIZE_FORM}")
    whole = match[1].isdigit()
    size = (int(match[1]) if whole else float(match[1])) * _SIZE_UNITS[match[2].upper()]
    if size > MAX_SIZE:
        raise ValueError(f"{shown(text)} is too much; expected at most 2^63-1 bytes")
    return int(size)


def show_duration(seconds: float) -> str:
    """The shortest way to write a duration that is exact to the millisecond."""
    milliseconds = round(seconds * 1000)
    if not milliseconds:
        return '"0s"'
    for unit in ("d", "h", "m", "s"):
        step = round(_DURATION_UNITS[unit] * 1000)
        if milliseconds % step == 0:
            return f'"{milliseconds // step}{unit}"'
    return f'"{milliseconds}ms"' if milliseconds < 1000 else f'"{milliseconds / 1000}s"'


def show_size(size: int) -> str:
    """The shortest exact way to write a size."""
    for unit, name in ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size and size % unit == 0:
            return f'"{size // unit}{name}"'
    return str(size)


def _read_duration(value: str | int, _folder: Path) -> float:
    if value == 0:
        return 0.0
    if isinstance(value, str):
        return parse_duration(value)
    raise ValueError(f"{value} has no unit; expected {DURATION_FORM}")


def _read_size(value: str | int, _folder: Path) -> int:
    if isinstance(value, str):
        return parse_size(value)
    if not 0 <= value <= MAX_SIZE:
        raise ValueError(f"{value} is no size; expected {SIZE_FORM}")
    return value


def parse_network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A CIDR, or an address alone as a network of one; ValueError when bits are set behind the prefix."""
    try:
        interface = ipaddress.ip_interface(text)
    except ValueError:
        raise ValueError(f'{shown(text)} is not a network; expected a CIDR such as "192.0.2.0/24"') from None
    if interface.ip != interface.network.network_address:
        raise ValueError(f'{shown(text)} has bits set behind its prefix; expected "{interface.network}"')
    return interface.network


def parse_name(text: str) -> bytes:
    """The wire form of a domain name, lower-cased; ValueError says what is wrong with it."""
    try:
        return name_from_text(text).lower()  # lengths are below 64, so only letters change
    except ValueError as exc:
        raise ValueError(f'{shown(text)} is not a domain name: {exc}; expected one such as "example.org"') from exc


def _read_path(text: str, folder: Path) -> str:
    if not text or "\0" in text:
        raise ValueError(f"{shown(text)} is not a path; expected the name of a file")
    return str(folder / text)


def _read_readable_file(text: str, folder: Path) -> str:
    path = _read_path(text, folder)
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            file.read(1)
    except OSError as exc:
        raise ValueError(f"{shown(path)}: {exc.strerror}; expected a file that can be read") from exc
    return path


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO would wait for its writer


Duration = Annotated[float, Reader((str, int), DURATION_FORM, _read_duration, show_duration)]
"""Seconds; in TOML `"500ms"`, `"2s"`, `"5m"`, `"1h"`, `"7d"`."""

Size = Annotated[int, Reader((str, int), SIZE_FORM, _read_size, show_size)]
"""Bytes; in TOML a number or `"16MiB"`."""

Cidr = Annotated[
    ipaddress.IPv4Network | ipaddress.IPv6Network,
    Reader((str,), 'a CIDR such as "192.0.2.0/24"', lambda text, _: parse_network(text), lambda net: f'"{net}"'),
]
"""A network; an address alone is a network of one."""

DnsName = Annotated[
    bytes,
    Reader((str,), "a domain name", lambda text, _: parse_name(text), lambda name: f'"{name_to_text(name)}"'),
]
"""A domain name in wire form, lower-cased."""

FilePath = Annotated[str, Reader((str,), "the name of a file", _read_path)]
"""An absolute path; in TOML relative to the folder of the configuration file."""

ReadableFile = Annotated[str, Reader((str,), "the name of a file", _read_readable_file)]
"""As `FilePath`, and the file can be opened for reading."""


@dataclass(frozen=True)
class Zone:
    """A zone as an operator writes it, a name or a CIDR: the wire names, lower-cased, that it stands for.

    A CIDR stands for its reverse zones: several when its prefix does not end on a label's boundary.
    """

    expected: ClassVar[str] = 'a domain name or a CIDR such as "10.0.0.0/8"'

    names: tuple[bytes, ...]

    @classmethod
    def from_toml(cls, value: str) -> Zone:
        """Read a name, or a CIDR: whatever has a slash in it."""
        if "/" in value:
            return cls(tuple(reverse_zones(parse_network(value))))
        return cls((parse_name(value),))

    def __str__(self) -> str:
        return ", ".join(name_to_text(name) for name in self.names)


def reverse_zones(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> list[bytes]:
    """Wire names of the zones of in-addr.arpa or ip6.arpa that make up a network (RFC 1035 section 3.5, RFC 3596)."""
    step = OCTET_BITS if network.version == 4 else NIBBLE_BITS
    labels = -(-network.prefixlen // step)
    suffix = "in-addr.arpa." if network.version == 4 else "ip6.arpa."
    zones = []
    for subnet in network.subnets(new_prefix=labels * step):
        digits = subnet.network_address.exploded
        parts = digits.split(".") if network.version == 4 else list(digits.replace(":", ""))
        zones.append(name_from_text(".".join([*reversed(parts[:labels]), suffix])))
    return zones
