"""Workers at the start: how many, at which addresses, and what is said when they cannot."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.client import exchange, exchange_tcp
from tests.support.packages import install_package
from tests.support.ports import free_port, ipv6_is_here
from tests.support.proxy import Proxy
from tests.support.toml import forward
from tests.support.upstream import HostileUpstream
from tests.support.workers import TWO, WWW, workers


@pytest.mark.parametrize("shares", [False, True], ids=["alone", "shared"])
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM], ids=["udp", "tcp"])
def test_a_taken_port_is_one_line_with_address_and_port(
    tmp_path: Path, upstream: HostileUpstream, kind: socket.SocketKind, shares: bool
) -> None:
    proxy = Proxy(tmp_path, TWO + forward(upstream))
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shares)
        taken.bind(("127.0.0.1", proxy.port))
        if kind == socket.SOCK_STREAM:
            taken.listen()
        proxy.launch()
        assert proxy.wait() == 1
    assert f"127.0.0.1:{proxy.port}" in proxy.log
    assert proxy.log.count("\n") == 1


UNABLE = """
import dataclasses

from dnsproxy.plugin import Plugin


class Unable(Plugin):
    @dataclasses.dataclass(frozen=True)
    class Config:
        pass

    def bind(self, plugins, server):
        raise OSError("the moon is full")
"""


def test_when_no_worker_can_start_the_reason_is_one_line_and_the_status_1(
    tmp_path: Path, upstream: HostileUpstream
) -> None:
    environment = install_package(tmp_path / "site", "unable", UNABLE, {"unable": "Unable"})
    proxy = Proxy(tmp_path, f"{TWO}[unable]\n{forward(upstream)}", environment=environment)
    proxy.launch()
    assert proxy.wait() == 1
    assert proxy.log == "dnsproxy: plugin unable cannot start: the moon is full\n"


def test_auto_is_a_worker_for_each_processor_that_may_be_used(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    proxy = start_proxy('workers = "auto"\n' + forward(upstream))
    assert proxy.status()["workers"] == len(os.sched_getaffinity(0))
    first = min(os.sched_getaffinity(0))
    pinned = start_proxy('workers = "auto"\n' + forward(upstream), prefix=["taskset", "--cpu-list", str(first)])
    assert pinned.status()["workers"] == 1
    assert workers(pinned) == []


def test_addresses_of_both_families_and_all_of_the_machines(start_proxy: StartProxy, upstream: HostileUpstream) -> None:
    if not ipv6_is_here():
        pytest.skip("IPv6 is missing")
    port = free_port()
    proxy = start_proxy(TWO + forward(upstream), port=port, listen=[f"0.0.0.0:{port}", f"[::]:{port}"])
    for host in ("127.0.0.1", "127.0.0.2", "::1"):
        assert wire.rcode(exchange(WWW, port, host=host)) == 0
        assert wire.rcode(exchange_tcp(WWW, port, host=host)) == 0
    assert len(proxy.status()["listeners"]) == 4


def test_any_port_is_the_same_one_for_all_workers_and_protocols(
    start_proxy: StartProxy, upstream: HostileUpstream
) -> None:
    proxy = start_proxy(TWO + forward(upstream), listen=["127.0.0.1:0"])
    port = int(proxy.wait_for_log(r"ready: listening on udp://127\.0\.0\.1:(\d+), tcp://127\.0\.0\.1:\1\n")[1])
    assert wire.rcode(exchange(WWW, port)) == 0
    assert wire.rcode(exchange_tcp(WWW, port)) == 0


def test_a_folder_with_modules_of_our_names_is_not_imported_from(tmp_path: Path, upstream: HostileUpstream) -> None:
    (tmp_path / "trio.py").write_text("raise SystemExit('imported from the current folder')")
    proxy = Proxy(tmp_path, TWO + forward(upstream))
    command = [str(Path(sys.executable).with_name("dnsproxy")), "--config", str(proxy.config)]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    log = ""
    while "ready" not in log and (line := process.stderr.readline()):
        log += line
    process.terminate()
    log += process.communicate()[1]
    assert (process.returncode, "ready" in log) == (0, True), log
