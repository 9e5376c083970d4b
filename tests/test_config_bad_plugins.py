"""Plugins whose own code fails while a configuration is read: an error of the file, and no end of the process."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pytest

from dnsproxy.config import ConfigErrors, OptionError, option, parse
from dnsproxy.plugin import Plugin, Stage
from tests.fake_plugins import found


class Word:
    """A value that cannot be read."""

    @classmethod
    def from_toml(cls, value: str) -> "Word":
        raise KeyError(value)


@dataclass(frozen=True)
class BadConfig:
    fails_in: str = option("")
    word: Word | None = option(None)

    def __post_init__(self) -> None:
        if self.fails_in == "post_init":
            raise ZeroDivisionError

    def claims(self) -> Iterator[tuple[str, str]]:
        if self.fails_in == "claims":
            raise RuntimeError
        yield from ()


class Bad(Plugin):
    """Fails."""

    stage = Stage.LOCAL
    Config = BadConfig

    @classmethod
    def check(cls, stanzas: Sequence[BadConfig], context: object) -> Iterator[OptionError]:
        if stanzas[0].fails_in == "check":
            raise AttributeError("no such thing\nat all")
        if stanzas[0].fails_in == "exit":
            sys.exit(3)
        yield from ()


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnsproxy.assemble.find_plugins", lambda: {"bad": found("bad", Bad)})


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('word = "x"', "its plugin fails: KeyError: 'x' (test_config_bad_plugins.py:"),
        ('fails_in = "post_init"', "its plugin fails: ZeroDivisionError (test_config_bad_plugins.py:"),
        ('fails_in = "claims"', "its plugin fails: RuntimeError (test_config_bad_plugins.py:"),
        ('fails_in = "check"', "its plugin fails: AttributeError: no such thing (test_config_bad_plugins.py:"),
        ('fails_in = "exit"', "its plugin fails: SystemExit: 3 (test_config_bad_plugins.py:"),
    ],
)
def test_it_is_an_error_at_its_table_beside_the_files_others(text: str, what: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        parse(f"workers = 0\n[bad]\n{text}\n", "x.toml")
    of_the_file, of_the_plugin = str(caught.value).splitlines()
    assert of_the_file.startswith("x.toml:1: [workers] ")
    assert of_the_plugin.startswith(f"x.toml:2: [bad] {what}")
    assert of_the_plugin.endswith("; expected a plugin that can be used")
