"""What a plugin's numbers are called in Prometheus."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

if TYPE_CHECKING:
    from dnsproxy.settings import Configuration

_NAME = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True)
class Metric:
    """A metric: the sum of those numbers of a plugin's `status()` that `keys` name.

    A `name` that ends in `_total` says that it only grows until the process ends. ValueError when it is none.
    """

    name: str
    help: str
    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a metric; expected small letters, digits and underscores")

    @property
    def is_counter(self) -> bool:
        """Whether it only grows."""
        return self.name.endswith("_total")

    def value(self, status: Mapping[str, Any]) -> float:
        """The sum, of what there is."""
        return sum(filter(is_number, map(status.get, self.keys)))


PluginMetrics = Mapping[str, Sequence[Metric]]  # by the plugin's name in the file


def plugin_metrics(configuration: Configuration) -> PluginMetrics:
    """What the configured plugins call their numbers."""
    links = (link for server in configuration.servers for link in server.plugins)
    return {link.name: link.plugin.metrics for link in links}


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value of a status counts or measures something."""
    return isinstance(value, int | float) and not isinstance(value, bool)
