"""Names of a tap's files: a path with the time in it, and which of the files that are there have such a name."""

from __future__ import annotations

import calendar
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from dnsproxy.dnstap.stream_file import ENDINGS


def _one_of(words: Iterable[str]) -> str:
    return f"(?:{'|'.join(sorted({re.escape(word) for word in words if word}))})"


# what strftime(3) makes of a letter, as a regular expression
DIRECTIVES: Final = {
    **dict.fromkeys("YG", r"\d{4}"),
    **dict.fromkeys("CgymdHIMSUVW", r"\d\d"),
    **dict.fromkeys("uw", r"\d"),
    "j": r"\d{3}",
    "s": r"\d+",
    "F": r"\d{4}-\d\d-\d\d",
    "R": r"\d\d:\d\d",
    "T": r"\d\d:\d\d:\d\d",
    "z": r"[+-]\d{4}",
    "Z": r"[A-Za-z0-9+-]+",
    "a": _one_of(calendar.day_abbr),
    "A": _one_of(calendar.day_name),
    **dict.fromkeys("bh", _one_of(calendar.month_abbr)),
    "B": _one_of(calendar.month_name),
    "p": _one_of(time.strftime("%p", time.gmtime(hours * 3600)) for hours in (0, 12)),
    "%": "%",
}
_DIRECTIVE: Final = re.compile("(%.?)", re.DOTALL)


@dataclass(frozen=True)
class TapFile:
    """A file that has a template's name: as it is, with a number, compressed, or not complete."""

    path: Path
    base: Path  # without number and endings
    number: int  # 0: none
    state: str  # .part: not complete; .tmp: being compressed; empty: complete


class NameTemplate:
    """An absolute path with directives of strftime(3) in folders and name; ValueError says which is none.

    `root` is the folder below which all of its files are.
    """

    def __init__(self, text: str, utc: bool = False) -> None:
        self._split = time.gmtime if utc else time.localtime
        for directive in _DIRECTIVE.findall(text):
            if directive[1:] not in DIRECTIVES:
                expected = " ".join(f"%{letter}" for letter in DIRECTIVES)
                raise ValueError(f'"{directive}" is no part of a time; expected one of {expected}')
        self._text = text
        folders = PurePath(text).parts[:-1]
        fixed = next((at for at, part in enumerate(folders) if "%" in part), len(folders))
        self.root = Path(*(part.replace("%%", "%") for part in folders[:fixed]))
        self._folders = [re.compile(_pattern(part), re.ASCII) for part in folders[fixed:]]
        self.pattern = _name_pattern(PurePath(text))

    def at(self, now: float) -> Path:
        """The name of a file that begins now, in seconds since 1970; local time, or UTC."""
        moment = self._split(now)
        parts = _DIRECTIVE.split(self._text)
        return Path("".join(time.strftime(part, moment) if part[:1] == "%" else part for part in parts))

    def files(self) -> Iterator[TapFile]:
        """All that are there; those of other templates are not among them."""
        for folder in _below(self.root, self._folders):
            for name in _names(folder):
                match = self.pattern.fullmatch(name)
                if match and _is_file(folder / name):
                    base = folder / (match["stem"] + match["suffix"])
                    yield TapFile(folder / name, base, int(match["number"] or 0), match["state"] or "")

    def remove(self, file: TapFile) -> None:
        """Remove a file, and the folders that the template made if they are empty then."""
        file.path.unlink()
        folder = file.path.parent
        try:
            for _ in self._folders:
                folder.rmdir()
                folder = folder.parent
        except OSError:
            pass  # not empty

    def __repr__(self) -> str:
        return f"<NameTemplate {self._text}>"


def _pattern(part: str) -> str:
    pieces = _DIRECTIVE.split(part)
    return "".join(DIRECTIVES[piece[1:]] if piece[:1] == "%" else re.escape(piece) for piece in pieces)


def _name_pattern(path: PurePath) -> re.Pattern[str]:
    """As `stream_file.next_name` numbers names."""
    stem, suffix = _pattern(path.stem), _pattern(path.suffix)
    return re.compile(rf"(?P<stem>{stem})(?:\.(?P<number>\d{{1,9}}))?(?P<suffix>{suffix}){ENDINGS}", re.ASCII)


def _below(folder: Path, patterns: list[re.Pattern[str]]) -> Iterator[Path]:
    """The folders below that match, one level for each pattern."""
    if not patterns:
        yield folder
        return
    for name in _names(folder):
        if patterns[0].fullmatch(name):
            yield from _below(folder / name, patterns[1:])


def _names(folder: Path) -> list[str]:
    try:
        return [each.name for each in folder.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
