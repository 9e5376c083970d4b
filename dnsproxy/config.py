"""Reads a configuration file, strictly: a `Configuration`, or every error of the file at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli

from dnsproxy.assemble import assemble
from dnsproxy.config_errors import ConfigError, ConfigErrors, InFile
from dnsproxy.convert import read_table
from dnsproxy.listen_address import ListenAddress, host_port, ip_text, split_host_port, split_scheme
from dnsproxy.options import OptionError, OptionErrors, Reader, option, shown
from dnsproxy.settings import AdminSocket, CheckContext, Configuration, Limits, PluginConfig, ProcessKeys, ServerConfig
from dnsproxy.toml_lines import scan
from dnsproxy.values import (
    Cidr,
    DnsName,
    Duration,
    FilePath,
    ReadableFile,
    Size,
    Zone,
    parse_duration,
    parse_name,
    parse_network,
    parse_size,
)

__all__ = [
    "AdminSocket",
    "CheckContext",
    "Cidr",
    "ConfigError",
    "ConfigErrors",
    "Configuration",
    "DnsName",
    "Duration",
    "FilePath",
    "Limits",
    "ListenAddress",
    "OptionError",
    "OptionErrors",
    "PluginConfig",
    "ReadableFile",
    "Reader",
    "ServerConfig",
    "Size",
    "Zone",
    "admin_path",
    "host_port",
    "ip_text",
    "load",
    "option",
    "parse",
    "parse_duration",
    "parse_name",
    "parse_network",
    "parse_size",
    "read_toml",
    "shown",
    "split_host_port",
    "split_scheme",
]

NO_PORTS: Mapping[int, int] = {}
_POSITION = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


def load(file: str, ports: Mapping[int, int] = NO_PORTS) -> Configuration:
    """Read and check the configuration in `file`; ConfigErrors holds all that is wrong with it.

    `ports` replaces ports of listening addresses, for a second proxy with the same file.
    """
    return parse(read_text(file), file, ports)


def parse(text: str, file: str, ports: Mapping[int, int] = NO_PORTS) -> Configuration:
    """As `load`, for the text of `file`."""
    table = read_toml(text, file)
    if ports:
        _replace_ports(table, ports)
    return assemble(table, InFile(file, scan(text)), Path(file).absolute().parent)


def _replace_ports(table: dict[str, Any], ports: Mapping[int, int]) -> None:
    """Change `host:port` in every `listen`; what is no such list is left to be found wrong later."""
    servers = table.get("server", [])
    for server in (table, *(servers if isinstance(servers, list) else [servers])):
        listen = server.get("listen") if isinstance(server, dict) else None
        if isinstance(listen, list):
            listen[:] = [_with_port(text, ports) if isinstance(text, str) else text for text in listen]


def _with_port(text: str, ports: Mapping[int, int]) -> str:
    host, colon, port = text.rpartition(":")
    return f"{host}:{ports[int(port)]}" if colon and port.isdecimal() and int(port) in ports else text


def admin_path(file: str) -> str | None:
    """The admin socket that `file` names, whatever else is wrong with it; None when it names none.

    ConfigErrors when it cannot be read, or has `admin = false`.
    """
    text = read_text(file)
    found = {name: value for name, value in read_toml(text, file).items() if name == "admin"}
    outcome = read_table(ProcessKeys, found, Path(file).absolute().parent)
    errors = list(outcome.errors)
    admin = outcome.value.admin if outcome.value else None
    if admin is False:
        errors.append(OptionError("admin", "false: this proxy cannot be asked; expected the path of a unix socket"))
    if errors:
        in_file = InFile(file, scan(text))
        raise ConfigErrors(map(in_file.error, errors))
    return admin or None


def read_text(file: str) -> str:
    """The text of a file; ConfigErrors when it cannot be read or is not UTF-8."""
    try:
        octets = Path(file).read_bytes()
    except OSError as exc:
        raise ConfigErrors([ConfigError(file, None, "", exc.strerror or str(exc))]) from exc
    except ValueError as exc:  # a zero octet in the name
        raise ConfigErrors([ConfigError(file, None, "", str(exc))]) from exc
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = octets.count(b"\n", 0, exc.start) + 1
        raise ConfigErrors([ConfigError(file, line, "", "is not UTF-8 text; expected TOML")]) from exc


def read_toml(text: str, file: str) -> dict[str, Any]:
    """The tables of a TOML text; ConfigErrors says where its syntax ends."""
    try:
        return tomli.loads(text)
    except RecursionError as exc:
        raise ConfigErrors([ConfigError(file, 1, "", "is nested too deep")]) from exc
    except ValueError as exc:
        message = str(exc)
        position = _POSITION.search(message)
        line = int(position[1]) if position and position[1] else text.rstrip("\n").count("\n") + 1
        raise ConfigErrors([ConfigError(file, line, "", _POSITION.sub("", message))]) from exc
