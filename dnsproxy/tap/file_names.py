"""FILE of `follow`: the name of a file, a recorder's template or a glob; which files have such a name now."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dnsproxy.dnstap.rotation_compress import ENDING, TEMPORARY
from dnsproxy.dnstap.rotation_names import NameTemplate
from dnsproxy.dnstap.stream_file import PART

_GLOB: Final = re.compile(r"[*?\[]")
PACKED: Final = tuple(ENDING.values())


class FileNames:
    """`present()` are the files that there are, without those that are being made of others.

    A plain name stands for itself, for what a recorder calls `.part` at first, and for its numbered files: those that
    come later, or are not complete.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._template: NameTemplate | None = None
        self._is_plain = False
        if os.path.lexists(text) or not _GLOB.search(text):
            self._template = _template(text)
            self._is_plain = self._template is None
        if self._is_plain:
            self._template = NameTemplate(str(Path(text).absolute()).replace("%", "%%"))

    def present(self) -> dict[Path, os.stat_result]:
        """What the system says of each; a file that is called by two names is there once."""
        found: dict[Path, os.stat_result] = {}
        seen = set()
        for path in self._paths():
            try:
                status = path.stat()
            except OSError:
                continue
            identity = (status.st_dev, status.st_ino)
            if stat.S_ISREG(status.st_mode) and identity not in seen and path.suffix != TEMPORARY:
                seen.add(identity)
                found[path] = status
        return found

    def means_at_first(self, path: Path) -> bool:
        """Whether a file that is there from the beginning is meant."""
        return not self._is_plain or path.suffix == PART or path == Path(self.text).absolute()

    def shown(self, path: Path) -> str:
        """How a file is called on standard error: as it is given where it is."""
        return self.text if self._is_plain and path == Path(self.text).absolute() else str(path)

    def _paths(self) -> Iterator[Path]:
        if self._template is not None:
            return (file.path for file in self._template.files())
        return (Path(each) for pattern in (self.text, self.text + PART) for each in glob.iglob(pattern))  # noqa: PTH207

    def __repr__(self) -> str:
        return f"<FileNames {self.text}>"


def stream_name(path: Path) -> str:
    """What a file is called in all its states: not complete, complete, compressed."""
    name = str(path).removesuffix(PART)
    for ending in PACKED:
        name = name.removesuffix(ending)
    return name


def is_packed(path: Path) -> bool:
    """Whether it is called as compressed files are."""
    return path.name.endswith(PACKED)


def _template(text: str) -> NameTemplate | None:
    """None for a name without directives, and for one in which a percent sign is no part of a time."""
    if "%" not in text or os.path.lexists(text):
        return None
    try:
        return NameTemplate(str(Path(text).absolute()))
    except ValueError:
        return None
