"""What docs/tap.md shows of reports and conversions is what comes; the migration page names every option there is."""

import re
import runpy
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.support.documents import ROOT, blocks
from tests.support.programs import require_program
from tests.tap.frames import CORPUS, WITHIN_S, tap

PAGE = ROOT / "docs" / "tap.md"
MIGRATION = ROOT / "docs" / "tap-migration.md"
PICTURES = ROOT / "docs" / "pictures"
COMMANDS = ("convert", "stats", "sql", "diff")
SHOWN = [
    block.text for block in blocks(PAGE) if block.text.startswith(tuple(f"$ dnsproxy tap {each} " for each in COMMANDS))
]
PROGRAMS = {
    "dnstap": (["-h"], r"^  (-\w)\b"),
    "fstrm_capture": (["-h"], r"^\[(-\w|--\w+)[ \]]"),
    "dnstap-read": (["-h"], r"^\t(-\w)\b"),
}


@pytest.mark.parametrize("shown", SHOWN, ids=lambda text: text.split()[3])
def test_what_is_shown_is_what_comes(shown: str, tmp_path: Path) -> None:
    for path in CORPUS.glob("*.fstrm"):
        shutil.copy(path, tmp_path)
    printed = ""
    for line in shown.splitlines():
        if line.startswith("$ "):
            done = tap(*shlex.split(line.removeprefix("$ dnsproxy tap ")), cwd=tmp_path)
            printed += f"{line}\n{(done.stdout + done.stderr).decode()}"
    assert printed.rstrip() == shown.rstrip()


def test_every_one_of_them_is_shown() -> None:
    assert {shown.split()[3] for shown in SHOWN} == set(COMMANDS)


@pytest.mark.interop
@pytest.mark.parametrize("program", PROGRAMS)
def test_the_migration_page_names_every_option_of_the_program(program: str) -> None:
    arguments, pattern = PROGRAMS[program]
    done = subprocess.run([require_program(program), *arguments], capture_output=True, timeout=WITHIN_S)
    options = re.findall(pattern, (done.stdout + done.stderr).decode(), re.MULTILINE)
    assert len(options) >= 4
    text = MIGRATION.read_text()
    section = text[text.index(f"\n## {program}\n") :].partition("\n## ")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("|")]
    named = {word for row in rows for word in re.findall(r"(?<![\w-])--?\w+", row)}
    assert set(options) - named - {"-h"} == set()


def test_the_pictures_are_what_the_script_beside_them_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")  # which the script sets: here it is put back
    try:
        runpy.run_path(str(PICTURES / "draw.py"))["main"](tmp_path)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert (tmp_path / "tap-stats.svg").read_text() == (PICTURES / "tap-stats.svg").read_text()
    assert "dnsproxy" in (tmp_path / "tap-top.svg").read_text()  # rich draws it, each version a little otherwise


@pytest.mark.parametrize("name", ["tap-stats.svg", "tap-top.svg"])
def test_pictures_are_small_and_fetch_nothing(name: str) -> None:
    text = (PICTURES / name).read_text()
    assert len(text) < 60_000
    assert "url(http" not in text
    assert "@font-face" not in text
