"""docs/tap.md shows what comes."""

import re
import shlex
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from dnsproxy.tap.cli import COMMANDS, PACKAGE
from dnsproxy.tap.common import FILTERS, Parser
from dnsproxy.tap.damage import KINDS
from dnsproxy.tap.forms.json_lines import KEYS
from tests.support.documents import ROOT, blocks
from tests.tap.frames import CORPUS, tap

PAGE = ROOT / "docs" / "tap.md"
SHOWN = [
    block.text for block in blocks(PAGE) if block.text.startswith("$ dnsproxy tap read ") and "fstrm\n" in block.text
]


@pytest.mark.parametrize("shown", [text for text in SHOWN if text.count("\n") > 1])
def test_what_is_shown_is_what_comes(shown: str, tmp_path: Path) -> None:
    command, _, expected = shown.partition("\n")
    for path in CORPUS.glob("*.fstrm"):
        shutil.copy(path, tmp_path)
    done = tap(*shlex.split(command.removeprefix("$ dnsproxy tap ")), cwd=tmp_path)
    assert (done.stdout + done.stderr).decode().rstrip() == expected.rstrip()


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_and_option_is_explained(command: str) -> None:
    parser = Parser(command, "")
    import_module(f"{PACKAGE}.{command}").add_options(parser)
    text = PAGE.read_text()
    options = [
        option for action in parser._actions for option in action.option_strings if option not in {"-h", "--help"}
    ]
    assert [option for option in options if not re.search(rf"`{option}[ `]", text)] == []
    assert f"`{command} " in text


def test_every_filter_key_and_kind_of_damage_is_explained() -> None:
    text = PAGE.read_text()
    options = [option for option, _, _ in FILTERS]
    assert [word for word in (*options, *KEYS, *KINDS) if f"`{word}" not in text] == []
