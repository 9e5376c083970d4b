"""Descriptions of the installed plugins for the terminal, made from their `Config` classes."""

from __future__ import annotations

import sys
from typing import Any

from dnsproxy.convert import Key, keys_of
from dnsproxy.discovery import Found, PluginError
from dnsproxy.options import shown
from dnsproxy.settings import Configuration, PluginConfig, ServerConfig
from dnsproxy.text_table import aligned
from dnsproxy.wire import name_to_text


def overview(plugins: dict[str, Found]) -> list[str]:
    """A line for each plugin: name, stage, where it comes from, what it is for."""
    if not plugins:
        return ["no plugins are installed"]
    return aligned([("NAME", "STAGE", "FROM", "WHAT FOR"), *(_row(found) for found in plugins.values())])


def _row(found: Found) -> tuple[str, str, str, str]:
    try:
        plugin = found.load()
    except PluginError as exc:
        return found.name, "broken", found.origin, str(exc)
    return found.name, _stage(plugin), found.origin, _purpose(plugin)


def description(found: Found) -> list[str]:
    """Everything about one plugin; PluginError when it is broken."""
    plugin = found.load()
    table = f"[[{found.name}]], several allowed" if plugin.many else f"[{found.name}]"
    lines = [
        f"{found.name}: {_purpose(plugin)}",
        f"stage: {_stage(plugin)}",
        f"from: {found.origin} ({found.entries[0].value})",
        f"table: {table}",
    ]
    keys = keys_of(plugin.Config)
    if not keys:
        return [*lines, "options: none"]
    return [*lines, "options, with their defaults:", *(line for key in keys.values() for line in _option(key))]


def _option(key: Key) -> list[str]:
    return [f"  {_with_default(key)}", *(f"      {text}" for text in (key.rules.help, key.reader.expected) if text)]


def _with_default(key: Key) -> str:
    """`policy = "random"`, as the file would have it, or in words."""
    if key.required:
        return f"{key.name} (required)"
    if key.rules.default_text:
        return f"{key.name} (default: {key.rules.default_text})"
    if key.default is None:
        return f"{key.name} (default: none)"
    return f"{key.name} = {(key.reader.show or shown)(key.default)}"


def summary(configuration: Configuration) -> list[str]:
    """A line for each server: where it listens, for which zones, and its chain, first to last."""
    return [_server(server) for server in configuration.servers]


def _server(server: ServerConfig) -> str:
    listen = ", ".join(map(str, server.listen))
    zones = ", ".join(map(name_to_text, server.zones))
    chain = " -> ".join(_link(link) for link in server.plugins) or "no plugins, every query is REFUSED"
    return f"{listen} for {zones}: {chain}"


def _link(link: PluginConfig) -> str:
    return link.name if len(link.stanzas) == 1 else f"{link.name} ({len(link.stanzas)})"


def _stage(plugin: type[Any]) -> str:
    return str(plugin.stage.name).lower() if hasattr(plugin.stage, "name") else str(plugin.stage)


def _purpose(plugin: type[Any]) -> str:
    module = sys.modules.get(plugin.__module__)
    text = (module and module.__doc__) or plugin.__doc__ or ""
    return text.strip().partition("\n")[0]
