"""Commands for complete files: each once, one at a time, in order; nothing ever waits for them but the end."""

import json
import sys
from pathlib import Path

import pytest

from dnsproxy.dnstap.rotation import Rotation
from dnsproxy.dnstap.stream_file import StreamFile
from dnsproxy.tap.hooks import Hooks
from dnsproxy.tap.recording import Recording
from tests.dnstap.tap_files import BARE, NOON, frames, names
from tests.tap.running import WITHIN_S

NOTE = """
import json, os, sys
with open(sys.argv[1], "a") as notes:
    print(json.dumps([*sys.argv[2:], os.environ["TAP_FRAMES"], os.path.exists(sys.argv[-1])]), file=notes)
"""
Told = pytest.CaptureFixture[str]


@pytest.fixture
def command(tmp_path: Path) -> str:
    """Notes its arguments, TAP_FRAMES and whether the file is there."""
    script = tmp_path / "it's a script.py"
    script.write_text(NOTE)
    return f'{sys.executable} "{script}" {tmp_path}/notes "two words" plain'


def noted(tmp_path: Path) -> list[list[object]]:
    return [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]


def complete(path: Path, *payloads: bytes) -> StreamFile:
    file = StreamFile(path)
    file.create()
    file.append(frames(*payloads))
    file.seal()
    return file


@pytest.mark.parametrize("compress", [None, "gzip"])
def test_each_complete_file_is_given_once_and_in_order(tmp_path: Path, command: str, compress: str | None) -> None:
    hooks = Hooks(command)
    rotation = Rotation(size=BARE + 15, compress=compress, always_part=True)  # type: ignore[arg-type]
    files = Recording(f"{tmp_path}/d/dns.fstrm", rotation, hooks)
    files.open(NOON)
    files.write(frames(b"1", b"2", b"3", b"4", b"5", b"6", b"7"), NOON)
    files.end()
    assert files.wait(WITHIN_S)
    hooks.wait()
    ending = ".gz" if compress else ""
    assert noted(tmp_path) == [
        ["two words", "plain", f"{tmp_path}/d/dns{number}.fstrm{ending}", frames, True]
        for number, frames in (("", "3"), (".1", "3"), (".2", "1"))
    ]


def test_a_file_is_not_removed_before_the_command_had_it(tmp_path: Path, command: str) -> None:
    hooks = Hooks(command)
    files = Recording(f"{tmp_path}/d/dns.fstrm", Rotation(size=BARE + 5, keep=1, always_part=True), hooks)
    files.open(NOON)
    files.write(frames(b"1", b"2", b"3", b"4"), NOON)
    files.end()
    assert files.wait(WITHIN_S)
    hooks.wait()
    assert [note[-1] for note in noted(tmp_path)] == [True] * 4
    files.open(NOON)
    files.write(frames(b"5"), NOON)
    files.end()
    assert files.wait(WITHIN_S)
    assert len(names(tmp_path / "d")) <= 2


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("false", "status 1"),
        ("/does/not/exist", "No such file or directory"),
        ("sh -c 'kill -TERM $$'", "ended by signal 15"),
    ],
)
def test_a_failure_is_told_and_the_next_file_is_another_one(
    tmp_path: Path, capsys: Told, command: str, text: str
) -> None:
    hooks = Hooks(command)
    for name in ("a", "b"):
        file = complete(tmp_path / name, b"x")
        hooks.take(tmp_path / name, file)
        file.close()
    hooks.wait()
    assert capsys.readouterr().err == "".join(f"--exec {command}: {text} ({tmp_path}/{name})\n" for name in "ab")


def test_a_command_that_hangs_takes_no_memory_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Told
) -> None:
    monkeypatch.setattr("dnsproxy.tap.hooks.MOST_WAITING", 2)
    gate = tmp_path / "gate"
    hooks = Hooks(f"sh -c 'until [ -e {gate} ]; do sleep 0.02; done'")
    file = complete(tmp_path / "x", b"x")
    for number in range(4):
        hooks.take(tmp_path / str(number), file)
    file.close()
    assert hooks.needs(tmp_path / "0")
    assert hooks.needs(tmp_path / "1")
    gate.touch()
    hooks.wait()
    assert not hooks.needs(tmp_path / "0")
    assert capsys.readouterr().err.count("is left out, 2 files wait") == 2


@pytest.mark.parametrize("command", ["", "  ", "'unbalanced"])
def test_what_is_no_command_is_an_error(command: str) -> None:
    with pytest.raises(ValueError):
        Hooks(command)
