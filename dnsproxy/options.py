"""How a `Config` dataclass describes its keys, and how it says what is wrong with their values."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_INTEGER = 2**63 - 1  # TOML promises no more
MAX_SHOWN = 60  # characters of a value that an error repeats


class OptionError(ValueError):
    """What is wrong with one option; the loader of the configuration adds file, line and the stanza's path.

    `key` is the TOML key (`"cert"`, `"anonymize.ipv4"`, or `""` for the stanza itself), `message` reads "what is wrong;
    what was expected", `index` is the bad element of a list, `line` the line inside a multi-line string (from 0), and
    `stanza` says in `check` which of the stanzas is meant.
    """

    def __init__(
        self, key: str, message: str, index: int | None = None, line: int | None = None, *, stanza: int = 0
    ) -> None:
        super().__init__(message)
        self.path: tuple[str | int, ...] = tuple(part.rstrip("_") for part in key.split(".")) if key else ()
        self.index = index
        self.message = message
        self.line = line
        self.stanza = stanza

    def below(self, *parts: str | int) -> OptionError:
        """The same error seen from a table that holds this one at `parts`."""
        outer = OptionError("", self.message, self.index, self.line, stanza=self.stanza)
        outer.path = parts + self.path
        return outer

    def in_element(self, index: int) -> OptionError:
        """The same error seen from the list whose element `index` it is about."""
        if self.path or self.index is not None:
            return self.below(index)
        return OptionError("", self.message, index, self.line, stanza=self.stanza)

    @property
    def place(self) -> tuple[str | int, ...]:
        """The path down to the bad element, where there is one."""
        return self.path if self.index is None else (*self.path, self.index)


class OptionErrors(ValueError):
    """Several `OptionError`s found together."""

    def __init__(self, errors: Iterable[OptionError]) -> None:
        self.errors = tuple(errors)
        super().__init__("; ".join(error.message for error in self.errors))


def option(
    default: Any = dataclasses.MISSING,
    *,
    help: str = "",  # noqa: A002  the word that argparse made the usual one
    minimum: float | None = None,
    maximum: float | None = None,
    one_or_more: bool = False,
    may_be_empty: bool | None = None,
    may_repeat: bool = False,
    default_text: str = "",
) -> Any:
    """One key of a `Config` dataclass; without `default` the key is required. Fields become keyword-only.

    `minimum` and `maximum` bound numbers, durations and sizes. For lists, whose elements are hashable: `one_or_more`
    takes a bare value as a list of one, `may_be_empty` says whether `[]` will do (by default only where it is the
    default), `may_repeat` allows an element twice. `default_text` is shown for a default that is computed later.
    """
    rules = Rules(help, minimum, maximum, one_or_more, may_be_empty, may_repeat, default_text)
    return dataclasses.field(default=default, kw_only=True, metadata={"rules": rules})


@dataclass(frozen=True)
class Rules:
    """What `option()` says about a key beside its type and default."""

    help: str = ""
    minimum: float | None = None
    maximum: float | None = None
    one_or_more: bool = False
    may_be_empty: bool | None = None
    may_repeat: bool = False
    default_text: str = ""


@dataclass(frozen=True)
class Reader:
    """How a TOML value becomes one of ours: put one into `Annotated[type, Reader(…)]` to make a value type.

    `kinds` are the types of TOML values it takes (bool is not int), `parse(value, folder)` raises ValueError,
    OptionError or OptionErrors, `folder` being that of the configuration file, and `show` writes a value as TOML.
    """

    kinds: tuple[type, ...]
    expected: str
    parse: Callable[[Any, Path], Any]
    show: Callable[[Any], str] | None = None

    def read(self, value: object, folder: Path) -> Any:
        """The value, or ValueError: "what is wrong; what was expected"."""
        if type(value) not in self.kinds:
            raise ValueError(f"{described(value)}; expected {self.expected}")
        return self.parse(value, folder)


def shown(value: object) -> str:
    """A value as TOML would have it, cut to what fits an error line."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, str):
        text = '"' + value.translate(_ESCAPES) + '"'
    elif isinstance(value, list | tuple | dict):
        text = "{…}" if isinstance(value, dict) else "[…]" if value else "[]"
    elif isinstance(value, int) and abs(value) > MAX_INTEGER:
        text = f"{value:#x}"  # decimals of a huge number are refused by Python
    else:
        text = str(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean "NXDOMAIN"? ` to stand before what is expected; empty when no known word is close."""
    folded = {each.casefold(): each for each in known}
    close = difflib.get_close_matches(word.casefold(), folded, 1)
    return f"did you mean {shown(folded[close[0]])}? " if close else ""


_ESCAPES = {code: f"\\u{code:04x}" for code in (*range(32), *range(127, 160))}
_ESCAPES |= {ord('"'): '\\"', ord("\\"): "\\\\", ord("\n"): "\\n", ord("\t"): "\\t", ord("\r"): "\\r"}
_KIND_NAMES: dict[type, str] = {str: "a string", int: "a number", float: "a number", list: "a list", dict: "a table"}


def described(value: object) -> str:
    """`5 is a number`, `"x" is a string`, `a table`: how errors name a value of the wrong kind."""
    if isinstance(value, bool):
        return f"{shown(value)} is a boolean"
    kind = _KIND_NAMES.get(type(value), "a date or time")
    return f"is {kind}" if isinstance(value, dict | list) else f"{shown(value)} is {kind}"
