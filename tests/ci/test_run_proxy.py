"""What `make run` says before it becomes the proxy."""

import importlib.util
import os
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def run_proxy() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_proxy", ROOT / ".ci" / "run_proxy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def hints(run_proxy: ModuleType, text: str, port: str = "5300") -> str:
    return "\n".join(run_proxy.what_to_type(tomllib.loads(text), port))


def test_the_quickstart_is_explained(run_proxy: ModuleType) -> None:
    text = hints(run_proxy, (ROOT / "conf" / "quickstart.toml").read_text())
    assert "dig @127.0.0.1 -p 5300 www.example.test" in text
    assert re.search(r"dnsproxy tap read /tmp/dnsproxy-quickstart/dns(\.\d+)?\.fstrm ", text)
    assert "dnsproxy tap listen -u /tmp/dnsproxy-quickstart/dnstap.sock " in text
    assert re.search(r"dnstap -r /tmp/dnsproxy-quickstart/dns(\.\d+)?\.fstrm -q", text)
    assert "dnstap -u /tmp/dnsproxy-quickstart/dnstap.sock -q" in text


def test_the_file_to_read_is_the_one_that_this_start_will_write(run_proxy: ModuleType, tmp_path: Path) -> None:
    config = f'dnstap = [{{socket = "file://{tmp_path}/dns.fstrm"}}]'
    assert f"dnsproxy tap read {tmp_path}/dns.fstrm " in hints(run_proxy, config)
    (tmp_path / "dns.fstrm").touch()
    assert f"dnsproxy tap read {tmp_path}/dns.1.fstrm " in hints(run_proxy, config)


def test_the_program_is_named_as_one_types_it_here(run_proxy: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    config = 'dnstap = [{socket = "/run/a b.sock"}]'
    monkeypatch.chdir(Path(sys.executable).parent)
    assert "  dnsproxy tap listen -u '/run/a b.sock' " in hints(run_proxy, config)
    monkeypatch.chdir("/")
    program = Path(sys.executable).with_name("dnsproxy").relative_to("/")
    assert f"  {program} tap listen -u " in hints(run_proxy, config)


def test_the_port_asked_for_is_the_one_to_dig(run_proxy: ModuleType) -> None:
    assert "-p 5400 " in hints(run_proxy, 'listen = ["127.0.0.1:5300"]', port="5400")


def test_a_port_other_than_the_quickstarts_stays(run_proxy: ModuleType) -> None:
    assert "dig @::1 -p 5353 " in hints(run_proxy, 'listen = ["udp://[::1]:5353"]', port="5400")


def test_a_tap_over_tcp_is_listened_for(run_proxy: ModuleType) -> None:
    text = hints(run_proxy, 'listen = ["127.0.0.1:53"]\ndnstap = [{socket = "tcp://127.0.0.1:6000"}]')
    assert "dnsproxy tap listen -l 127.0.0.1:6000 " in text


def test_a_folder_of_somebody_else_is_told_of_once(
    run_proxy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = f'dnstap = [{{socket = "file://{tmp_path}/new/dns.fstrm"}}, {{socket = "unix://{tmp_path}/dns.sock"}}]'
    note = f"You may not write into {tmp_path}: "
    assert note not in hints(run_proxy, config)
    monkeypatch.setattr("os.access", lambda path, mode: mode == os.F_OK or path != tmp_path)
    assert hints(run_proxy, config).count(note) == 1


def test_a_folder_that_cannot_be_looked_into_is_no_hindrance(
    run_proxy: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    config = 'dnstap = [{socket = "file:///tmp/of-another/dns.fstrm"}]'
    monkeypatch.setattr("os.stat", deny)
    assert "tap read /tmp/of-another/dns.fstrm " in hints(run_proxy, config)


@pytest.mark.parametrize("text", ["", "listen = 5", "dnstap = 1", "server = [1]", "[[server]]\nlisten = []"])
def test_a_file_that_makes_no_sense_is_left_to_the_proxy(run_proxy: ModuleType, text: str) -> None:
    assert hints(run_proxy, text) == ""
