"""Finding the command, and the exit status for however it ends."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest

from dnsproxy.tap import cli
from dnsproxy.tap.errors import Failure, MissingModule, Stopped, WrongUsage
from tests.tap.frames import MAIN, tap

Captured = pytest.CaptureFixture[str]


def end_with(monkeypatch: pytest.MonkeyPatch, outcome: object) -> int:
    """The status of `read` when it returns that, or raises it."""

    def run(_options: object) -> int:
        if isinstance(outcome, BaseException):
            raise outcome
        assert isinstance(outcome, int)
        return outcome

    module = SimpleNamespace(add_options=lambda _parser: None, run=run)
    monkeypatch.setattr(cli, "import_module", lambda _name: module)
    return cli.main(["read"])


@pytest.mark.parametrize(
    ("outcome", "status", "line"),
    [
        (0, 0, ""),
        (1, 1, ""),
        (WrongUsage("such a thing"), 2, "dnsproxy tap read: such a thing\n"),
        (MissingModule("sql", "duckdb"), 2, "dnsproxy tap read: sql takes what is not installed: pip install duckdb\n"),
        (Failure("it broke"), 1, "dnsproxy tap read: it broke\n"),
        (BrokenPipeError(), 0, ""),
        (OSError(28, "No space left on device"), 1, "dnsproxy tap read: No space left on device\n"),
        (FileNotFoundError(2, "No such file", "x"), 1, "dnsproxy tap read: x: No such file\n"),
        (Stopped(15), 143, ""),
        (SystemExit(0), 0, ""),
    ],
)
def test_every_end_has_its_status(
    outcome: object, status: int, line: str, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    assert end_with(monkeypatch, outcome) == status
    assert capsys.readouterr() == ("", line)


def test_help_lists_the_commands(capsys: Captured) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {command} " in text for command in cli.COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["--nonsense"], ["Read"]])
def test_without_a_command_that_there_is_it_is_wrong_usage(arguments: list[str], capsys: Captured) -> None:
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("dnsproxy tap: ")
    assert captured.err.count("\n") == 1
    assert "listen, read, follow" in captured.err


def test_a_command_that_is_not_there_yet_says_so(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda _name: None)
    assert cli.main(["read"]) == 2
    assert capsys.readouterr().err == "dnsproxy tap read: not available yet in this version\n"


@pytest.mark.parametrize("number", cli.ENDING)
def test_signals_end_a_command_and_handlers_are_put_back(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(number)

    def run(_options: object) -> int:
        os.kill(os.getpid(), number)
        return 0

    module = SimpleNamespace(add_options=lambda _parser: None, run=run)
    monkeypatch.setattr(cli, "import_module", lambda _name: module)
    assert cli.main(["read"]) == 128 + number
    assert signal.getsignal(number) is before


def test_a_signal_that_was_ignored_stays_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:

        def run(_options: object) -> int:
            os.kill(os.getpid(), signal.SIGHUP)
            return 0

        module = SimpleNamespace(add_options=lambda _parser: None, run=run)
        monkeypatch.setattr(cli, "import_module", lambda _name: module)
        assert cli.main(["read"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_command_line_leads_here() -> None:
    done = tap("read", MAIN, "-q")
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (0, 6, b"")
    assert tap("--help").stdout.startswith(b"usage: dnsproxy tap COMMAND")
    assert tap("read", "--help").stdout.startswith(b"usage: dnsproxy tap read ")


@pytest.mark.parametrize("options", [["-q"], ["--json"], ["-q", "--types", "CQ"], ["--zone", "example.org"]])
def test_reading_loads_no_library_that_it_does_not_need(options: list[str]) -> None:
    program = (
        f"import sys\nfrom dnsproxy.cli import main\nmain(['tap', 'read', {str(MAIN)!r}, *{options!r}])\n"
        "print(*{'trio', 'google.protobuf', 'dns', 'rich', 'cryptography', 'multiprocessing'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    assert done.stdout.splitlines()[-1] == "", done.stdout
