"""Finds plugins: whatever installed packages register in the entry-point group `dnsproxy.plugins`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from dnsproxy.convert import keys_of
from dnsproxy.errors import words_of

GROUP = "dnsproxy.plugins"


class PluginError(Exception):
    """A plugin is registered but cannot be used; the text says by whom and why."""


@dataclass(frozen=True)
class Found:
    """A registered plugin, not imported yet."""

    name: str
    entries: tuple[EntryPoint, ...]

    @property
    def origin(self) -> str:
        """The distributions that register it, `dnsproxy-tap 0.1.0`."""
        return " and ".join(dict.fromkeys(_distribution(entry) for entry in self.entries))

    def load(self) -> type[Any]:
        """Import the plugin's class; PluginError when that fails or what comes is no plugin."""
        if len(self.entries) > 1:
            raise PluginError(f"several distributions register a plugin of this name: {self.origin}")
        try:
            plugin = self.entries[0].load()
        except (Exception, SystemExit) as exc:  # a third party's module can raise anything while it is imported
            raise PluginError(f"{self.origin} cannot be loaded: {in_short(exc)}") from exc
        fault = _fault_of(plugin)
        if fault:
            raise PluginError(f"{self.origin}: {self.entries[0].value} {fault}")
        return plugin  # type: ignore[no-any-return]  # checked just now


def find_plugins() -> dict[str, Found]:
    """All registered plugins by name, in alphabetical order; none is imported."""
    by_name: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for entry in entry_points(group=GROUP):
        # an editable installation may be seen twice, by its metadata in two places
        by_name.setdefault(entry.name, {})[(entry.value, _project(entry))] = entry
    return {name: Found(name, tuple(by_name[name].values())) for name in sorted(by_name)}


def _fault_of(plugin: object) -> str:
    """Why this cannot be a plugin; "" when it can."""
    from dnsproxy.plugin import Plugin  # here, for it brings trio, which `--version` has no use for

    if not (isinstance(plugin, type) and issubclass(plugin, Plugin)):
        return "is not a subclass of dnsproxy.plugin.Plugin"
    stage: object = plugin.stage
    if not isinstance(stage, int):
        return f"has the stage {stage!r}, which is neither a Stage nor a number"
    config = getattr(plugin, "Config", None)
    if not (isinstance(config, type) and dataclasses.is_dataclass(config)):
        return "has no Config, or one that is not a dataclass"
    try:
        keys_of(config)
    except (TypeError, NameError) as exc:
        return f"has a Config that cannot be read: {exc}"
    return ""


def _project(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else ""


def _distribution(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown distribution"


def in_short(exc: BaseException) -> str:
    """The kind of an exception and the first line of what it says."""
    lines = words_of(exc).splitlines()
    return f"{type(exc).__name__}: {lines[0]}" if lines else type(exc).__name__
