"""Errors of a configuration file, each with its file, line and key."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from dnsproxy.options import OptionError, shown
from dnsproxy.toml_lines import KeyPath, Lines

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class ConfigError:
    """One thing that is wrong, for the operator: `FILE:LINE: [key.path] what is wrong; what was expected`."""

    file: str
    line: int | None  # None: the file cannot be read at all
    path: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: [{self.path}] {self.message}" if self.path else f"{place}: {self.message}"


class ConfigErrors(Exception):
    """Everything that is wrong with a file, in the order of its lines; as text one line each."""

    def __init__(self, errors: Iterable[ConfigError]) -> None:
        self.errors = sorted(dict.fromkeys(errors), key=lambda error: error.line or 0)
        super().__init__("\n".join(map(str, self.errors)))


@dataclass(frozen=True)
class InFile:
    """Finds the file's lines for errors and stanzas."""

    file: str
    lines: Lines

    def error(self, error: OptionError) -> ConfigError:
        """The error, its path being from the top of the file; a list's element goes by its list and its own line."""
        return ConfigError(self.file, self.lines.line(error.place, error.line), path_text(error.path), error.message)

    def line(self, path: KeyPath) -> int:
        """The line of a key or table."""
        return self.lines.line(path)


def path_text(path: KeyPath) -> str:
    """`server[0].forward[1].to`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE_KEY.fullmatch(part) else shown(part))
    return text
