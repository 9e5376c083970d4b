"""conf/reference.toml has every option there is, with its true default, and none that there is not."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from dnsproxy.convert import Key, keys_of
from dnsproxy.settings import Limits, Metrics, ProcessKeys, ServerKeys
from tests.support.documents import ROOT

REFERENCE = ROOT / "conf" / "reference.toml"
PYPROJECT = ROOT / "pyproject.toml"
ADMIN_DEFAULT = (
    "admin.sock in $RUNTIME_DIRECTORY (systemd), else in $XDG_RUNTIME_DIR/dnsproxy, else, for root, in /run/dnsproxy, "
    "else none"
)

_HEADER = re.compile(r"#?\[+(\w+)\]+$")
_KEY = re.compile(r"(#?)(\w+) = (.*)$")


@dataclass(frozen=True)
class Option:
    """A line of the reference: an option, on or off, below its comment."""

    table: str
    key: str
    is_on: bool
    value: Any
    comment: str


def options() -> Iterator[Option]:
    """Every option in the file, the lines that are commented out too."""
    table, comment = "", ""
    lines = iter(REFERENCE.read_text().splitlines())
    for line in lines:
        if header := _HEADER.match(line):
            table = header[1]
        elif match := _KEY.match(line):
            yield Option(table, match[2], not match[1], _value(match[3], lines), comment)
        comment = comment + line[1:] if line.startswith("# ") else ""


def _value(text: str, lines: Iterator[str]) -> Any:
    """The value that begins with this text, and goes on as long as TOML is not satisfied."""
    while True:
        try:
            return tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            text += "\n" + next(lines)


def known() -> dict[tuple[str, str], Key]:
    """Every option of the core and the built-in plugins, by the table in which the reference has it."""
    points = tomllib.loads(PYPROJECT.read_text())["project"]["entry-points"]["dnsproxy.plugins"]
    plugins = {name: EntryPoint(name, value, "dnsproxy.plugins").load() for name, value in points.items()}
    tables: dict[str, type[Any]] = {name: plugin.Config for name, plugin in plugins.items()}
    found = {(table, name): key for table, cls in tables.items() for name, key in keys_of(cls).items()}
    found |= {("limits", name): key for name, key in keys_of(Limits).items()}
    found |= {("metrics", name): key for name, key in keys_of(Metrics).items()}
    found |= {("", name): key for cls in (ProcessKeys, ServerKeys) for name, key in keys_of(cls).items()}
    found["server", "zones"] = found.pop(("", "zones"))  # of a block only
    del found["", "limits"], found["", "metrics"]
    return found


OPTIONS = list(options())
KNOWN = known()


def name_of(option: Option) -> str:
    return f"{option.table}.{option.key}".lstrip(".")


def test_every_option_is_in_the_reference_once_and_no_other() -> None:
    assert sorted((option.table, option.key) for option in OPTIONS) == sorted(KNOWN)


@pytest.mark.parametrize("option", OPTIONS, ids=name_of)
def test_its_default_is_the_true_one(option: Option) -> None:
    key = KNOWN[option.table, option.key]
    if key.required or key.default is None:
        assert type(option.value) in key.reader.kinds
        assert f"{_stated(key)}." in option.comment
    else:
        assert key.reader.read(option.value, Path("/")) == key.default


def _stated(key: Key) -> str:
    """What the comment must say of a key that has no fixed default."""
    if key.required:
        return "Required"
    if key.name == "admin":
        return f"Default: {ADMIN_DEFAULT}"  # `dnsproxy plugins` does not show it: nothing shorter would do
    return f"Default: {key.rules.default_text or 'none'}"


@pytest.mark.parametrize("option", OPTIONS, ids=name_of)
def test_it_says_what_the_option_is_for(option: Option) -> None:
    words = option.comment.replace("Required.", "").partition("Default:")[0].split()
    assert len(words) >= 4


def test_an_option_is_off_only_where_it_must_be() -> None:
    off = [option for option in OPTIONS if not option.is_on]
    assert [name_of(one) for one in off if KNOWN[one.table, one.key].default is not None] == ["server.zones"]
