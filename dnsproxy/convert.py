"""From TOML tables to frozen dataclasses: annotations say how each key is read, and every error is collected."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, get_type_hints

from dnsproxy.options import OptionError, OptionErrors, Reader, Rules, shown
from dnsproxy.readers import PartialList, errors_in, reader_for, suggestion, with_rules

T = TypeVar("T")
NO_RULES = Rules()


@dataclass(frozen=True)
class Key:
    """One key of a table: its name in TOML, how it is read, and its default (`dataclasses.MISSING`: required)."""

    name: str
    field: str
    reader: Reader
    rules: Rules
    default: Any

    @property
    def required(self) -> bool:
        """Whether the key must be given."""
        return self.default is dataclasses.MISSING


@dataclass
class Outcome(Generic[T]):
    """What became of a table.

    With errors, `value` is the best that could be made of the rest, for checks that look across keys and stanzas; None
    when a required key is missing.
    """

    value: T | None
    errors: list[OptionError]


def read_table(cls: type[T], table: dict[str, Any], folder: Path) -> Outcome[T]:
    """Make an instance of the dataclass `cls` from a table; relative paths in it start at `folder`."""
    keys = keys_of(cls)
    errors = [_unknown(name, value, keys) for name, value in table.items() if name not in keys]
    values: dict[str, Any] = {}
    failed = set()
    for key in keys.values():
        found = _read_key(key, table, folder, values)
        if found:
            errors += found
            failed.add(key.name)
    value, late = _construct(cls, keys, values)
    errors += [error for error in late if not _follows_from(error, failed)]
    return Outcome(value, errors)


def _read_key(key: Key, table: dict[str, Any], folder: Path, values: dict[str, Any]) -> list[OptionError]:
    if key.name not in table:
        return [OptionError(key.name, f"missing; expected {key.reader.expected}")] if key.required else []
    try:
        values[key.field] = key.reader.read(table[key.name], folder)
        _check_bounds(values[key.field], key)
    except PartialList as exc:
        if exc.good:
            values[key.field] = tuple(exc.good.values())
        return _errors_of(exc, key.name)
    except ValueError as exc:
        values.pop(key.field, None)
        return _errors_of(exc, key.name)
    return []


def _construct(cls: type[T], keys: dict[str, Key], values: dict[str, Any]) -> tuple[T | None, list[OptionError]]:
    if any(key.required and key.field not in values for key in keys.values()):
        return None, []
    try:
        return cls(**values), []
    except ValueError as exc:
        return None, errors_in(exc)


def _follows_from(error: OptionError, failed: set[str]) -> bool:
    """Whether a check stumbled over a key that is already reported, and that stood at its default meanwhile."""
    if not failed:
        return False
    words = error.message.replace('"', " ").replace("`", " ").replace(";", " ").replace(",", " ").split()
    return bool(failed.intersection(words)) or (bool(error.path) and error.path[0] in failed)


def _errors_of(exc: ValueError, name: str) -> list[OptionError]:
    return [error.below(name) for error in errors_in(exc)]


def _unknown(name: str, value: object, known: Iterable[str]) -> OptionError:
    what = "table" if is_table(value) else "key"
    return OptionError("", f"unknown {what} {shown(name)}; {suggestion(name, known)}").below(name)


def is_table(value: object) -> bool:
    """Whether it was written as a table, `[name]` or `[[name]]`."""
    return isinstance(value, dict) or (isinstance(value, list) and dict in map(type, value))


def keys_of(cls: type[Any]) -> dict[str, Key]:
    """The keys of a dataclass by their name in TOML; TypeError when an annotation cannot be read."""
    if cls not in _known_keys:
        _known_keys[cls] = _find_keys(cls)
    return _known_keys[cls]


_known_keys: dict[type[Any], dict[str, Key]] = {}


def _find_keys(cls: type[Any]) -> dict[str, Key]:
    hints = get_type_hints(cls, include_extras=True)
    keys = {}
    for field in dataclasses.fields(cls):
        name = field.name.rstrip("_")  # `from_` holds `from`
        rules = field.metadata.get("rules", NO_RULES)
        default = field.default
        if default is dataclasses.MISSING and field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        keys[name] = Key(
            name, field.name, with_rules(reader_for(hints[field.name], _table_reader), rules, default), rules, default
        )
    return keys


def _table_reader(cls: type) -> Reader:
    def parse(value: dict[str, Any], folder: Path) -> Any:
        outcome: Outcome[Any] = read_table(cls, value, folder)
        if outcome.errors:
            raise OptionErrors(outcome.errors)
        return outcome.value

    names = ", ".join(keys_of(cls))
    return Reader((dict,), f"a table with {names}", parse, _show_table)


def _show_table(value: Any) -> str:
    """As an inline table; what has no value is left out."""
    if not dataclasses.is_dataclass(value):  # no table, where there need be none
        return shown(value)
    values = {key: getattr(value, key.field) for key in keys_of(type(value)).values()}
    parts = [f"{key.name} = {(key.reader.show or shown)(each)}" for key, each in values.items() if each is not None]
    return "{ " + ", ".join(parts) + " }" if parts else "{}"


def _check_bounds(value: Any, key: Key) -> None:
    rules = key.rules
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    show = key.reader.show or shown
    if rules.minimum is not None and value < rules.minimum:
        raise ValueError(f"{show(value)} is too small; expected at least {show(rules.minimum)}")
    if rules.maximum is not None and value > rules.maximum:
        raise ValueError(f"{show(value)} is too large; expected at most {show(rules.maximum)}")
