"""Tests that need a program which is not installed: skipped with its package's name, and failed in CI."""

import pytest

from tests.support.programs import require_program


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.programs.shutil.which", lambda *_, **__: None)


@pytest.mark.parametrize(
    ("program", "package"), [("kdig", "knot-dnsutils"), ("fstrm_capture", "fstrm-bin"), ("nsd", "nsd")]
)
def test_a_missing_program_is_a_skip_that_names_its_package(
    program: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"{program} is missing: install {package}"):
        require_program(program)


def test_in_ci_it_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="kdig is missing: install knot-dnsutils"):
        require_program("kdig")
