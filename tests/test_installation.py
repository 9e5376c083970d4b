"""What `pip install .` puts on a machine, and the configurations that come with it."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from tests.support.proxy import run_dnsproxy

ROOT = Path(__file__).resolve().parents[1]
DISTRIBUTION = "dnsproxy-tap"


def test_the_build_under_test_is_the_one_that_was_meant() -> None:
    version = run_dnsproxy("--version").stdout
    meant = os.environ.get("DNSPROXY_TEST_BUILD", "interpreted")
    assert version.startswith(f"dnsproxy {metadata.version(DISTRIBUTION)} ")
    assert [word for word in ("compiled", "interpreted") if word in version] == [meant]


def test_the_console_script_is_the_same_program() -> None:
    script = Path(sys.executable).with_name("dnsproxy")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == run_dnsproxy("--version").stdout


def test_nothing_but_our_own_packages_is_installed() -> None:
    files = metadata.files(DISTRIBUTION) or []
    roots = {file.parts[0] for file in files if file.parts[0] != ".."}
    strangers = {root for root in roots if not root.startswith(("dnsproxy", "_dnsproxy", "__pycache__"))}
    assert strangers - {root for root in roots if root.endswith(".so")} == set()


def test_type_checkers_of_third_parties_find_our_types() -> None:
    files = metadata.files(DISTRIBUTION) or []
    if any(file.suffix == ".pth" for file in files):
        assert (ROOT / "dnsproxy" / "py.typed").exists()
    else:
        assert any(file.as_posix() == "dnsproxy/py.typed" for file in files)


@pytest.mark.parametrize("name", ["dnstap", "forward", "records"])
def test_the_plugins_of_the_project_are_found_as_anybodys_would_be(name: str) -> None:
    (point,) = metadata.entry_points(group="dnsproxy.plugins", name=name)
    assert point.value.partition(":")[0] == f"dnsproxy_{name}"
    assert isinstance(point.load(), type)


@pytest.mark.parametrize("path", sorted((ROOT / "conf").rglob("*.toml")), ids=lambda path: path.name)
def test_every_configuration_that_comes_with_the_project_is_valid(path: Path) -> None:
    done = run_dnsproxy("--config", str(path), "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{path}: ok" in done.stdout
