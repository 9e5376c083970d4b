"""Which Python an environment gets."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CI = Path(__file__).resolve().parents[2] / ".ci"


@pytest.fixture
def interpreters(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The module, on a machine that has no Python but those that the test puts into `tmp_path`."""
    spec = importlib.util.spec_from_file_location("interpreters", CI / "interpreters.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "interpreters", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "SYSTEM", str(tmp_path / "python3"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.delenv("PYTHON", raising=False)
    return module


def put(folder: Path, **answer: Any) -> str:
    """A program that answers the probe as a Python of that kind would."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "python3"
    usual = {
        "executable": str(path),
        "version": [3, 11, 2],
        "lacks": [],
        "compiler": "",
        "headers": "",
        "seconds": 0.03,
    }
    path.write_text(f"#!/bin/sh\necho '{json.dumps(usual | answer)}'\n")
    path.chmod(0o755)
    return str(path)


def executables(found: list[Any]) -> list[str]:
    return [python.executable for python in found]


def test_the_systems_python_comes_first(interpreters: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    system, other = put(tmp_path), put(tmp_path / "other", seconds=0.028)
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    assert executables(interpreters.ranked()) == [system, other]


def test_a_much_faster_build_is_preferred(interpreters: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    unoptimised, optimised = put(tmp_path, seconds=0.05), put(tmp_path / "other")
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    assert executables(interpreters.ranked()) == [optimised, unoptimised]


def test_the_one_asked_for_comes_before_all(interpreters: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    system, asked = put(tmp_path), put(tmp_path / "asked", seconds=0.3)
    monkeypatch.setenv("PYTHON", asked)
    assert executables(interpreters.ranked()) == [asked, system]


def test_an_old_one_and_one_without_ssl_are_left_out(
    interpreters: ModuleType, tmp_path: Path, monkeypatch: Any
) -> None:
    put(tmp_path, version=[3, 10, 13])
    put(tmp_path / "other", lacks=["ssl"])
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    assert interpreters.ranked() == []


def test_one_without_ctypes_is_the_last_resort(interpreters: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    incomplete, complete = put(tmp_path, lacks=["ctypes"]), put(tmp_path / "other", seconds=0.3)
    monkeypatch.setenv("PATH", str(tmp_path / "other"))
    assert executables(interpreters.ranked()) == [complete, incomplete]


def test_a_wrapper_that_fails_is_passed_over_and_what_it_hides_is_found(
    interpreters: ModuleType, tmp_path: Path, monkeypatch: Any
) -> None:
    shim = tmp_path / "shims" / "python3"
    shim.parent.mkdir()
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    hidden = put(tmp_path / "pyenv" / "versions" / "3.12.1" / "bin", version=[3, 12, 1])
    monkeypatch.setenv("PATH", str(shim.parent))
    assert executables(interpreters.ranked()) == [hidden]


def test_one_python_with_several_names_counts_once(interpreters: ModuleType, tmp_path: Path, monkeypatch: Any) -> None:
    system = put(tmp_path)
    put(tmp_path / "wrapper", executable=system)
    monkeypatch.setenv("PATH", str(tmp_path / "wrapper"))
    assert executables(interpreters.ranked()) == [system]


def test_the_probe_answers_about_this_very_python(interpreters: ModuleType) -> None:
    python = interpreters.probe(sys.executable)
    assert python.version == sys.version_info[:3]
    assert python.lacks == ()
    assert python.seconds > 0
