"""How an environment is made: with whichever Python can, told in one line, and not twice."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.ci.test_interpreters import CI, interpreters, put

__all__ = ["interpreters"]

# What stands for `python -m venv FOLDER`, and for pip in what that has made; all else is the probe's question.
ACTS = """
last() { for word; do :; done; echo "$word"; }
make() { /bin/mkdir -p "$1/bin" && /bin/cp "$0" "$1/bin/python" && /bin/cp "$0" "$1/bin/dnsproxy"; }
case "$*" in
    "-m venv --without-pip"*) make "$(last "$@")"; exit ;;
    "-m venv"*) [ $has_ensurepip = 1 ] || exit 1; make "$(last "$@")"; : >"$(last "$@")/pip"; exit ;;
    "-m pip --python"*) [ $has_pip = 1 ] || exit 1; : >"$(/usr/bin/dirname "$4")/../pip"; exit ;;
    "-m pip"*) [ -e "$(/usr/bin/dirname "$0")/../pip" ]; exit ;;
    "-m virtualenv"*) exit 1 ;;
    --version) echo "dnsproxy 0.1.0 ($build, Python 3.11.2)"; exit ;;
esac
"""


def put_acting(
    folder: Path, *, has_ensurepip: bool = True, has_pip: bool = False, build: str = "compiled", **answer: object
) -> str:
    """A program that makes environments as a Python of that kind would, or does not."""
    path = Path(put(folder, **answer))
    first, rest = path.read_text().split("\n", 1)
    settings = f"has_ensurepip={has_ensurepip:d} has_pip={has_pip:d} build={build}"
    path.write_text(f"{first}\n{settings}\n{ACTS}{rest}")
    return str(path)


@pytest.fixture
def environment(interpreters: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, in a checkout of its own."""
    spec = importlib.util.spec_from_file_location("environment", CI / "environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "environment", module)
    spec.loader.exec_module(module)
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").write_text((CI.parent / "pyproject.toml").read_text())
    (checkout / "hook.py").touch()
    monkeypatch.setattr(module, "ROOT", checkout)
    monkeypatch.setattr(module, "HOOK", checkout / "hook.py")
    monkeypatch.delenv("DNSPROXY_COMPILE", raising=False)
    return module


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_the_first_that_can_make_an_environment_is_taken(
    environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    system, other = put_acting(tmp_path, has_ensurepip=False), put_acting(tmp_path / "other", seconds=0.04)
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    assert environment.main("run") == 0
    lines = said(capsys)
    assert any(system in line and "trying the next one" in line for line in lines)
    assert lines[-1].startswith(f"setup: .venv runs {other}")
    assert lines[-1].endswith("; dnsproxy 0.1.0 (compiled, Python 3.11.2)")


def test_one_without_ensurepip_may_get_pip_from_another(
    environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    system = put_acting(tmp_path, has_ensurepip=False)
    put_acting(tmp_path / "other", has_pip=True, seconds=0.04)
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    assert environment.main("run") == 0
    assert said(capsys)[-1].startswith(f"setup: .venv runs {system}")


@pytest.mark.parametrize(
    ("lacking", "why"),
    [
        ({"headers": "/no/Python.h"}, "/no/Python.h is missing (on Debian: apt-get install python3-dev)"),
        ({"compiler": ""}, "no C compiler here"),
    ],
)
def test_without_headers_or_a_compiler_it_is_interpreted_and_says_why(
    environment: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], lacking: Any, why: str
) -> None:
    put_acting(tmp_path, build="interpreted", **({"compiler": "/usr/bin/cc", "headers": __file__} | lacking))
    assert environment.main("run") == 0
    line = said(capsys)[-1]
    assert "(interpreted, " in line
    assert line.endswith(why)


def test_progress_is_shown_and_a_second_run_does_nothing(
    environment: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_acting(tmp_path)
    assert environment.main("run") == 0
    making, installing, summary = said(capsys)
    assert making.startswith("setup: making .venv with ")
    assert installing.startswith("setup: installing dnsproxy ")
    monkeypatch.setattr(environment.subprocess, "run", lambda *_, **__: pytest.fail("nothing is to be run"))
    assert environment.main("run") == 0
    assert said(capsys) == [f"{summary} (up to date)"]


def test_a_source_that_changes_is_installed_again_in_the_same_environment(
    environment: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put_acting(tmp_path)
    source = environment.ROOT / "dnsproxy" / "new.py"
    source.parent.mkdir()
    source.write_text("1")
    assert environment.main("run") == 0
    said(capsys)
    source.write_text("22")
    assert environment.main("run") == 0
    assert [line.split()[1] for line in said(capsys)] == ["installing", ".venv"]


def test_without_any_python_that_can_it_says_what_to_install(
    environment: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    system = put_acting(tmp_path, has_ensurepip=False)
    assert environment.main("run") == 1
    assert system in said(capsys)[-1]
    assert not (environment.ROOT / ".venv" / environment.STAMP).exists()
