"""The command: what it prints where, and its exit statuses."""

import importlib
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dnsproxy
from dnsproxy import admin
from dnsproxy.cli import main
from tests.fake_plugins import fake_plugins, fakes

pytestmark = pytest.mark.usefixtures("fakes")
__all__ = ["fakes"]

GOOD = (
    'listen = ["127.0.0.1:5300"]\n[[dnstap]]\nsocket = "/a"\n[[dnstap]]\nsocket = "/b"\n[forward]\nto = ["192.0.2.1"]\n'
)
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A valid configuration."""
    path = tmp_path / "x.toml"
    path.write_text(GOOD)
    return path


def status_of(*arguments: str) -> int:
    """The exit status, however the command ends."""
    try:
        return main(arguments)
    except SystemExit as exc:
        return int(exc.code or 0)


def test_the_version_says_which_build_this_is(capsys: Captured) -> None:
    assert status_of("--version") == 0
    out = capsys.readouterr().out
    assert out.startswith(f"dnsproxy {dnsproxy.__version__} (")
    assert ("compiled" in out) is dnsproxy.COMPILED
    assert ("interpreted" in out) is not dnsproxy.COMPILED


def test_help_names_the_commands(capsys: Captured) -> None:
    assert status_of("--help") == 0
    out = capsys.readouterr().out
    assert all(word in out for word in ("--config", "--check", "status", "plugins", "tap"))


@pytest.mark.parametrize(
    "arguments", [(), ("--nonsense",), ("nonsense",), ("--check",), ("--config",), ("status", "extra"), ("--conf", "x")]
)
def test_wrong_usage_is_status_2_and_says_how(arguments: tuple[str, ...], capsys: Captured) -> None:
    assert status_of(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "usage: dnsproxy" in captured.err


def test_check_prints_ok_and_the_chain(file: Path, capsys: Captured) -> None:
    assert status_of("--config", str(file), "--check") == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [f"{file}: ok", "127.0.0.1:5300 for .: dnstap (2) -> forward"]
    assert captured.err == ""


def test_errors_of_the_file_are_status_2_on_standard_error_at_start_too(file: Path, capsys: Captured) -> None:
    file.write_text('workers = "x"\nnonsense = 1\n')
    for arguments in (["--check"], []):
        assert status_of("--config", str(file), *arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert [line.partition("]")[0] for line in captured.err.splitlines()] == [
            f"{file}:1: [workers",
            f"{file}:2: [nonsense",
        ]


def test_a_file_that_is_missing_is_status_2(capsys: Captured) -> None:
    assert status_of("--config", "no/such.toml") == 2
    assert capsys.readouterr().err == "no/such.toml: No such file or directory\n"


def test_starting_hands_the_configuration_to_the_server(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server: Any = importlib.import_module("dnsproxy.server")
    started: list[Any] = []

    def run(configuration: Any, load: Any) -> int:
        started.extend((configuration, load()))
        return 0

    monkeypatch.setattr(server, "run", run)
    assert status_of("--config", str(file), "--replace-port", "5300:5400") == 0
    for configuration in started:  # at the start, and again at a reload
        assert [str(address) for address in configuration.servers[0].listen] == ["127.0.0.1:5400"]


def test_a_hangup_that_comes_before_the_server_heeds_it_is_ignored(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server: Any = importlib.import_module("dnsproxy.server")
    monkeypatch.setattr(server, "run", lambda *_: int(signal.getsignal(signal.SIGHUP) != signal.SIG_IGN))
    assert status_of("--config", str(file)) == 0


@pytest.mark.parametrize("pair", ["5300", "a:b", "1:99999", ":", "1:2:3"])
def test_replace_port_takes_two_ports(pair: str, capsys: Captured) -> None:
    assert status_of("--config", "x", "--replace-port", pair) == 2
    assert "two ports" in capsys.readouterr().err


def test_tap_has_commands_and_options_of_its_own(capsys: Captured) -> None:
    assert status_of("tap", "--help") == 0
    assert capsys.readouterr().out.startswith("usage: dnsproxy tap COMMAND")
    assert status_of("tap", "read", "--config", "x") == 2
    assert capsys.readouterr().err.startswith("dnsproxy tap read: ")
    assert status_of("tap") == 2
    assert capsys.readouterr().err.startswith("dnsproxy tap: ")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """`dnsproxy plugins` sees the fakes."""
    monkeypatch.setattr("dnsproxy.discovery.find_plugins", fake_plugins)


@pytest.mark.usefixtures("installed")
def test_plugins_are_listed_with_stage_and_origin_and_broken_ones_with_the_reason(capsys: Captured) -> None:
    assert status_of("plugins") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "STAGE", "FROM", "WHAT", "FOR"]
    assert [line.split()[:2] for line in lines[1:]] == [
        ["broken", "broken"],
        ["cache", "cache"],
        ["dnstap", "observe"],
        ["forward", "forward"],
        ["records", "local"],
    ]
    assert "ModuleNotFoundError" in lines[1]


@pytest.mark.usefixtures("installed")
def test_one_plugin_is_shown_with_options_and_defaults(capsys: Captured) -> None:
    assert status_of("plugins", "forward") == 0
    out = capsys.readouterr().out
    for line in ("to (required)", 'from = ["."]', 'timeout = "2s"', "max_attempts (default: twice the upstreams)"):
        assert f"\n  {line}\n" in out
    assert "[[forward]]" in out


@pytest.mark.usefixtures("installed")
def test_a_plugin_that_is_not_there_or_broken_is_an_error(capsys: Captured) -> None:
    assert status_of("plugins", "froward") == 2
    assert capsys.readouterr().err == 'dnsproxy: no plugin "froward" is installed; did you mean "forward"?\n'
    assert status_of("plugins", "broken") == 1
    assert "ModuleNotFoundError" in capsys.readouterr().err


STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "compiled": False,
    "uptime_s": 12.3,
    "workers": 1,
    "listeners": [],
    "taps": [{"name": "/a", "state": "down", "last_error": "gone"}],
    "upstreams": [],
    "plugins": {},
}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    """The admin socket of a proxy with a tap that is down."""
    with admin.open_listener(str(tmp_path / "s")) as listening:
        listening.settimeout(10)

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                assert json.loads(connection.recv(100)) == {"command": "status"}
                connection.sendall(json.dumps(STATUS).encode())

        thread = threading.Thread(target=answer)
        thread.start()
        yield tmp_path / "s"
        thread.join()


def test_status_prints_tables(running: Path, capsys: Captured) -> None:
    assert status_of("status", "--admin", str(running)) == 0
    assert "dnsproxy 0.1.0, interpreted, up 12.3 s, 1 worker" in capsys.readouterr().out


def test_status_prints_json(running: Path, capsys: Captured) -> None:
    assert status_of("status", "--admin", str(running), "--json") == 0
    assert json.loads(capsys.readouterr().out) == STATUS


def test_status_check_is_1_when_something_is_down(running: Path, capsys: Captured) -> None:
    assert status_of("status", "--admin", str(running), "--check") == 1
    assert capsys.readouterr().out == "tap /a is down: gone\n"


@pytest.mark.parametrize("before", [True, False])
def test_status_finds_the_socket_by_the_configuration(running: Path, tmp_path: Path, before: bool) -> None:
    file = tmp_path / "x.toml"
    file.write_text('admin = "s"')
    option = ("--config", str(file))
    assert status_of(*(*option, "status") if before else ("status", *option)) == 0


def test_status_finds_the_socket_where_the_proxy_puts_it(
    running: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.rename(tmp_path / "admin.sock")
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    assert status_of("status") == 0


def test_status_without_a_proxy_is_1_and_one_line(tmp_path: Path, capsys: Captured) -> None:
    assert status_of("status", "--admin", str(tmp_path / "none")) == 1
    line = capsys.readouterr().err
    assert line == f"dnsproxy: no running proxy answers ({tmp_path}/none: No such file or directory)\n"


def test_status_of_a_configuration_without_admin_socket_is_2(tmp_path: Path, capsys: Captured) -> None:
    file = tmp_path / "x.toml"
    file.write_text("admin = false")
    assert status_of("status", "--config", str(file)) == 2
    assert capsys.readouterr().err.startswith(f"{file}:1: [admin] false")
    assert status_of("status", "--config", str(tmp_path / "none")) == 2


def test_the_module_can_be_run_and_a_closed_pipe_is_no_traceback() -> None:
    command = [sys.executable, "-m", "dnsproxy", "plugins"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as stderr:
        assert stderr.read() == b""
    assert process.wait(timeout=20) in (0, 1)


def test_the_command_line_alone_imports_neither_trio_nor_dnspython() -> None:
    program = "import sys, dnsproxy.cli; dnsproxy.cli.main(['tap']); sys.exit(bool({'trio', 'dns'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], stderr=subprocess.DEVNULL, timeout=20).returncode == 0
