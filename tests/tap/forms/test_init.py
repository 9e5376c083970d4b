"""Which form options choose."""

import pytest

from dnsproxy.tap import forms
from dnsproxy.tap.errors import WrongUsage
from tests.tap.options import parsed


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ([], "People"),
        (["-q"], "Quiet"),
        (["-y"], "DnstapYaml"),
        (["-j"], "DnstapJson"),
        (["--bind"], "BindShort"),
        (["-p"], "BindText"),
        (["-x"], "BindHex"),
        (["-x", "-p"], "BindHex"),
        (["--bind", "-p"], "BindText"),
        (["--bind", "-y"], "BindYaml"),
        (["-y", "-p"], "BindYaml"),
        (["--json"], "JsonLines"),
        (["--querylog"], "QueryLog"),
        (["--format", "{name}"], "TemplateForm"),
        (["--format", ""], "TemplateForm"),
    ],
)
def test_options_choose_a_form(options: list[str], name: str) -> None:
    assert type(forms.chosen(parsed(*options))).__name__ == name
    assert forms.is_chosen(parsed(*options)) is bool(options)


@pytest.mark.parametrize(
    "options", [["-q", "-y"], ["-q", "-j"], ["--json", "--bind"], ["-j", "-x"], ["-q", "--format", ""]]
)
def test_two_forms_are_wrong_usage(options: list[str]) -> None:
    with pytest.raises(WrongUsage, match="different forms"):
        forms.chosen(parsed(*options))
