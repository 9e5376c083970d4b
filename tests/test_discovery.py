"""Plugins of installed packages: found by name, imported when wanted, refused with a reason."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dnsproxy.discovery import Found, PluginError, find_plugins
from tests.support.packages import install_package

GOOD = """
from dataclasses import dataclass
from dnsproxy.plugin import Plugin, Stage

class Echo(Plugin):
    stage = Stage.LOCAL

    @dataclass(frozen=True)
    class Config:
        pass
"""
Install = Callable[[str, str, str], Found]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package with one plugin, and finds it."""

    def _install(package: str, source: str, class_name: str) -> Found:
        install_package(tmp_path / package, package, source, {"echo": class_name})
        monkeypatch.syspath_prepend(tmp_path / package)
        monkeypatch.delitem(sys.modules, package, raising=False)
        return find_plugins()["echo"]

    return _install


def test_a_third_partys_plugin_is_found_and_loaded(install: Install) -> None:
    found = install("echo_good", GOOD, "Echo")
    assert found.origin == "echo_good 1.0"
    assert found.load().__name__ == "Echo"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import nowhere_at_all", "cannot be loaded: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("1 / 0", "cannot be loaded: ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)", "cannot be loaded: SystemExit: 0"),
        ("x = 1", "cannot be loaded: AttributeError: "),
        ("class Echo: pass", "is not a subclass of dnsproxy.plugin.Plugin"),
        ("def Echo(): pass", "is not a subclass of dnsproxy.plugin.Plugin"),
        (GOOD.replace("@dataclass(frozen=True)", ""), "has no Config, or one that is not a dataclass"),
        (GOOD.replace("pass", "x: complex = 0j"), "has a Config that cannot be read: an option cannot be of type"),
        (GOOD.replace("pass", "x: 'Nowhere' = 0"), "has a Config that cannot be read: name 'Nowhere' is not defined"),
    ],
)
def test_a_broken_plugin_says_whose_it_is_and_what_is_wrong(install: Install, source: str, reason: str) -> None:
    found = install("echo_broken", source, "Echo")
    with pytest.raises(PluginError) as caught:
        found.load()
    assert str(caught.value).startswith("echo_broken 1.0")
    assert reason in str(caught.value)


def test_two_distributions_with_one_name_are_refused(install: Install) -> None:
    install("echo_one", GOOD, "Echo")
    found = install("echo_two", GOOD, "Echo")
    with pytest.raises(PluginError, match=r"several distributions .*: echo_\w+ 1.0 and echo_\w+ 1.0"):
        found.load()
