"""Real collectors: `dnstap`, `fstrm_capture` and `dnstap-read` understand what the proxy sends."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.client import answers, exchange, exchange_tcp, udp_socket
from tests.support.collector import wait_until
from tests.support.name_servers import Nsd
from tests.support.ports import free_port
from tests.support.programs import end_program, require_program, run_program, running, wait_for_path
from tests.support.proxy import Proxy, books, tap_balances
from tests.support.toml import dnstap, forward

pytestmark = pytest.mark.interop

QUIET_LINE = r'\d\d:\d\d:\d\d\.\d{6} (CQ|FQ|FR|CR) 127\.0\.0\.1 (UDP|TCP) \d+b "www\.example\.org\." IN A'


@contextmanager
def dnstap_program(address: str, form: str, out: Path) -> Iterator[Path]:
    """The real `dnstap`, receiving on a unix socket or a TCP port; its output is complete at the end of the block."""
    kind, _, place = address.partition("://")
    command = [require_program("dnstap"), "-u" if kind == "unix" else "-l", place, form, "-w", str(out)]
    with running(command, out=out.with_suffix(".log")):
        yield out


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_dnstap_shows_the_four_types_in_order(
    start_proxy: StartProxy, authority: Nsd, tmp_path: Path, transport: str
) -> None:
    address = f"unix://{tmp_path}/q.sock" if transport == "unix" else f"tcp://127.0.0.1:{free_port()}"
    with dnstap_program(address, "-q", tmp_path / "quiet.txt") as out:
        proxy = start_proxy(dnstap(to=address) + forward(authority))
        exchange(wire.query("www.example.org"), proxy.port)
        exchange_tcp(wire.query("www.example.org"), proxy.port)
        proxy.wait_for_status(lambda now: now["taps"][0]["sent"] == 8, "all is sent")
        proxy.stop()
    lines = [re.fullmatch(QUIET_LINE, line) for line in out.read_text().splitlines()]
    found = [(line[1], line[2]) for line in lines if line]
    assert found == [(type, protocol) for protocol in ("UDP", "TCP") for type in ("CQ", "FQ", "FR", "CR")]


def test_dnstap_shows_yaml(start_proxy: StartProxy, authority: Nsd, tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/y.sock"
    with dnstap_program(address, "-y", tmp_path / "out.yaml") as out:
        proxy = start_proxy(dnstap(to=address, identity="edge-1", version="edge 1.2") + forward(authority))
        exchange(wire.query("mail.example.org"), proxy.port)
        proxy.stop()
    documents = out.read_text().split("---\n")[:-1]
    types = [re.findall(r"^  type: (\w+)$", one, re.MULTILINE) for one in documents]
    assert types == [["CLIENT_QUERY"], ["FORWARDER_QUERY"], ["FORWARDER_RESPONSE"], ["CLIENT_RESPONSE"]]
    for one in documents:
        assert 'identity: "edge-1"' in one
        assert 'version: "edge 1.2"' in one
        assert "socket_family: INET\n" in one
        assert "socket_protocol: UDP\n" in one
        assert "parse failed" not in one
    assert f"response_port: {authority.port}\n" in documents[1]
    assert 'query_zone: "."' in documents[1]
    assert re.search(r"mail\.example\.org\.\s+300\s+IN\s+A\s+192\.0\.2\.25", documents[3])


def test_dnstap_shows_json(start_proxy: StartProxy, authority: Nsd, tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/j.sock"
    with dnstap_program(address, "-j", tmp_path / "out.json") as out:
        proxy = start_proxy(dnstap(to=address) + forward(authority))
        exchange(wire.query("www.example.org"), proxy.port)
        proxy.stop()
    messages = [json.loads(line)["message"] for line in out.read_text().splitlines()]
    assert [one["type"] for one in messages] == [
        "CLIENT_QUERY",
        "FORWARDER_QUERY",
        "FORWARDER_RESPONSE",
        "CLIENT_RESPONSE",
    ]
    cq, fq, fr, cr = messages
    assert (cq["query_time"], fq["query_time"]) == (cr["query_time"], fr["query_time"])
    assert cq["response_port"] == proxy.port
    assert "status: NOERROR" in cr["response_message"]


@contextmanager
def fstrm_capture(socket: Path, out: Path) -> Iterator[None]:
    command = [require_program("fstrm_capture"), "-t", "protobuf:dnstap.Dnstap", "-u", str(socket), "-w", str(out)]
    with running(command, out=out.with_suffix(".log")) as process:
        wait_for_path(socket)
        yield
        end_program(process, signal.SIGINT)


def test_fstrm_capture_records_what_dnstap_read_prints(start_proxy: StartProxy, authority: Nsd, tmp_path: Path) -> None:
    socket, recorded = tmp_path / "c.sock", tmp_path / "c.fstrm"
    with fstrm_capture(socket, recorded):
        proxy = start_proxy(dnstap(to=str(socket)) + forward(authority))
        for name in ("www", "mail", "nowhere"):
            exchange(wire.query(f"{name}.example.org"), proxy.port)
        proxy.stop()
    lines = run_program("dnstap-read", str(recorded)).splitlines()
    assert [line.split()[2] for line in lines] == ["CQ", "FQ", "FR", "CR"] * 3
    assert [line.split()[4] for line in lines] == ["->", "->", "<-", "<-"] * 3
    assert all(line.split()[6] == "UDP" for line in lines)
    assert lines[0].endswith("www.example.org/IN/A")
    assert f"-> 127.0.0.1:{authority.port} UDP" in lines[1]
    assert "NXDOMAIN" in run_program("dnstap-read", "-p", str(recorded))


def test_a_file_tap_is_read_by_dnstap_read_and_dnstap(start_proxy: StartProxy, authority: Nsd, tmp_path: Path) -> None:
    path = tmp_path / "tap.fstrm"
    proxy = start_proxy(dnstap(to=f"file://{path}") + forward(authority))
    exchange(wire.query("www.example.org"), proxy.port)
    proxy.stop()
    assert len(run_program("dnstap-read", str(path)).splitlines()) == 4
    assert len(run_program("dnstap", "-r", str(path), "-q").splitlines()) == 4


def test_through_kills_and_restarts_of_fstrm_capture_the_counts_balance(
    start_proxy: StartProxy, authority: Nsd, tmp_path: Path
) -> None:
    socket = tmp_path / "k.sock"
    proxy = start_proxy(dnstap(to=str(socket), name="capture") + forward(authority, timeout="2s", deadline="4s"))
    asked = 0
    for number in range(3):
        with fstrm_capture(socket, tmp_path / f"{number}.fstrm"):
            proxy.wait_for_status(lambda now: now["taps"][0]["state"] == "connected", "connected")
            asked += load(proxy, 400)
        asked += load(proxy, 100)
        check_books(proxy, asked)
    with fstrm_capture(socket, tmp_path / "last.fstrm"):
        proxy.wait_for_status(lambda now: now["taps"][0]["queued"] == 0, "the queue is empty")
        check_books(proxy, asked)
        proxy.stop()
    counts = proxy.tap_lines["capture"]
    assert counts == {"offered": 4 * asked, "sent": 4 * asked, "queued": 0, "dropped": 0}
    last = len(run_program("dnstap-read", str(tmp_path / "last.fstrm")).splitlines())
    assert last >= 400, "what was asked while nobody listened arrived in the end"


def test_through_a_hard_kill_of_dnstap_under_load_the_counts_balance(
    start_proxy: StartProxy, authority: Nsd, tmp_path: Path
) -> None:
    address = f"unix://{tmp_path}/h.sock"
    proxy = start_proxy(dnstap(to=address, name="hard") + forward(authority, timeout="2s", deadline="4s"))
    out = [tmp_path / "first.txt", tmp_path / "second.txt"]
    command = [require_program("dnstap"), "-u", f"{tmp_path}/h.sock", "-q", "-w"]
    with running([*command, str(out[0])], out=tmp_path / "first.log", end=signal.SIGKILL):
        proxy.wait_for_status(lambda now: now["taps"][0]["state"] == "connected", "connected")
        asked = load(proxy, 500)
    (tmp_path / "h.sock").unlink(missing_ok=True)
    asked += load(proxy, 500)
    check_books(proxy, asked)
    with running([*command, str(out[1])], out=tmp_path / "second.log"):
        proxy.wait_for_status(lambda now: now["taps"][0]["queued"] == 0, "the queue is empty")
        check_books(proxy, asked)
        proxy.stop()
    assert proxy.tap_lines["hard"] == {"offered": 4 * asked, "sent": 4 * asked, "queued": 0, "dropped": 0}
    wait_until(
        lambda: len(out[1].read_text().splitlines()) >= 4 * 500, "the second has what the first did not live to see"
    )


def load(proxy: Proxy, count: int) -> int:
    """So many queries, fifty in flight at a time, each answered."""
    with udp_socket(proxy.port) as client:
        for start in range(0, count, 50):
            for id in range(start, start + 50):
                client.send(wire.query(f"q{id}.wild.example.org", "TXT", id=id))
            assert len(answers(client, 50)) == 50
    return count


def check_books(proxy: Proxy, asked: int) -> None:
    status = proxy.status()
    offered, tapped = books(status)
    assert offered == tapped == 4 * asked
    assert tap_balances(status["taps"][0])
