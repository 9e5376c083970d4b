"""What taps' options do, read back from the real programs on sockets: `dnstap`, `fstrm_capture`, `dnstap-read`."""

import contextlib
import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import StartProxy
from tests.support import wire
from tests.support.bridge import bridge
from tests.support.client import exchange
from tests.support.collector import Collector, tcp_address, unix_address, wait_until
from tests.support.framestreams import START, FrameBuffer
from tests.support.load import ask_many
from tests.support.name_servers import Nsd
from tests.support.ports import free_port
from tests.support.programs import end_program, require_program, run_program, running, wait_for_path
from tests.support.tap_files import read_file
from tests.support.toml import dnstap, forward, listening

pytestmark = pytest.mark.interop

CLIENT = "127.9.7.77"


def answering(authority: Nsd) -> str:
    return forward(authority, timeout="2s", deadline="4s")


@contextlib.contextmanager
def dnstap_program(address: str, form: str, out: Path) -> Iterator[Path]:
    """The real `dnstap`, receiving there; its output is complete at the end of the block."""
    kind, _, place = address.partition("://")
    command = [require_program("dnstap"), "-u" if kind == "unix" else "-l", place, form, "-w", str(out)]
    with running(command, out=out.with_suffix(".log")):
        if kind == "unix":
            wait_for_path(Path(place))
        yield out


@contextlib.contextmanager
def fstrm_capture(address: str, out: Path) -> Iterator[None]:
    kind, _, place = address.partition("://")
    host, _, port = place.partition(":")
    where = ["-u", place] if kind == "unix" else ["-a", host, "-p", port]
    command = [require_program("fstrm_capture"), "-t", "protobuf:dnstap.Dnstap", *where, "-w", str(out)]
    with running(command, out=out.with_suffix(".log")) as process:
        if kind == "unix":
            wait_for_path(Path(place))
        yield
        end_program(process, signal.SIGINT)


def printed(start_proxy: StartProxy, authority: Nsd, folder: Path, form: str, **keys: object) -> str:
    """What `dnstap` with this form prints of one query through a tap with these keys."""
    address = unix_address(folder, "form.sock")
    with dnstap_program(address, form, folder / "out.txt") as out:
        proxy = start_proxy(dnstap(to=address, name="main", **keys) + answering(authority))
        query = wire.query("www.example.org", options=[wire.ecs(CLIENT, 32), (wire.COOKIE, b"8 octets")])
        exchange(query, proxy.port, source=CLIENT)
        proxy.wait_for_tap("main", lambda now: now["offered"] and not now["queued"], "all is sent")
        proxy.stop()
        complete = r"^---$" if form == "-y" else "\n"
        wait_until(lambda: out.exists() and bool(re.search(complete, out.read_text(), re.MULTILINE)), "output")
    return out.read_text()


def test_quiet_lines_show_the_types_that_were_selected(start_proxy: StartProxy, authority: Nsd, tmp_path: Path) -> None:
    text = printed(start_proxy, authority, tmp_path, "-q", types=["forwarder query", "client response"])
    assert [line.split()[1] for line in text.splitlines()] == ["FQ", "CR"]


def test_yaml_shows_masked_addresses_and_subnets(start_proxy: StartProxy, authority: Nsd, tmp_path: Path) -> None:
    text = printed(start_proxy, authority, tmp_path, "-y", types=["client query"], anonymize={"ipv4": 24, "ipv6": 56})
    assert "query_address: 127.9.7.0\n" in text
    assert "parse failed" not in text
    assert "127.9.7.77" not in text
    assert re.search(r"SUBNET: 127\.9\.7\.0/", text)


def test_yaml_shows_neither_subnet_nor_cookie_nor_name_when_they_are_taken_out(
    start_proxy: StartProxy, authority: Nsd, tmp_path: Path
) -> None:
    text = printed(start_proxy, authority, tmp_path, "-y", strip=["ecs", "cookie"], qname="drop")
    assert len(re.findall("^---$", text, re.MULTILINE)) == 4
    assert "parse failed" not in text
    for word in ("SUBNET", "COOKIE", "www.example"):
        assert word not in text
    assert re.search(r";\.\s+IN\s+A", text)


def test_json_shows_queries_in_responses(start_proxy: StartProxy, authority: Nsd, tmp_path: Path) -> None:
    text = printed(start_proxy, authority, tmp_path, "-j", types=["client response"], responses_with_queries=True)
    (message,) = [json.loads(line)["message"] for line in text.splitlines()]
    assert message["type"] == "CLIENT_RESPONSE"
    assert ";www.example.org." in message["query_message"]
    assert "status: NOERROR" in message["response_message"]


def test_json_shows_a_hashed_name_that_is_a_name(start_proxy: StartProxy, authority: Nsd, tmp_path: Path) -> None:
    text = printed(start_proxy, authority, tmp_path, "-j", types=["client"], qname="hash", compat=True)
    names = [re.findall(r";(\S+)\\tIN\\t A", line)[0] for line in text.splitlines()]
    assert len(names) == 2
    assert names[0] == names[1] != "www.example.org."


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_fstrm_capture_records_all_that_several_connections_bring(
    start_proxy: StartProxy, authority: Nsd, tmp_path: Path, transport: str
) -> None:
    address = tcp_address() if transport == "tcp" else unix_address(tmp_path, "many.sock")
    recorded = tmp_path / "many.fstrm"
    with fstrm_capture(address, recorded):
        proxy = start_proxy(dnstap(to=address, name="main", connections=3) + answering(authority))
        proxy.wait_for_tap("main", lambda now: now["connects"] == 3, "three connections")
        ask_many(proxy.port, 100, "wild", qtype="TXT")
        proxy.stop()
    assert len(run_program("dnstap-read", str(recorded)).splitlines()) == 400


def test_fstrm_capture_through_restarts_gets_what_the_spool_kept(
    start_proxy: StartProxy, authority: Nsd, tmp_path: Path
) -> None:
    address = unix_address(tmp_path, "spooled.sock")
    tap = dnstap(to=address, name="main", queue=20, spool=str(tmp_path / "spool"))
    proxy = start_proxy(tap + answering(authority))
    recorded = [tmp_path / f"{number}.fstrm" for number in range(3)]
    for number, out in enumerate(recorded):
        ask_many(proxy.port, 100, f"{number}.wild", qtype="TXT")
        with fstrm_capture(address, out):
            proxy.wait_for_tap("main", lambda now: now["state"] == "connected" and not now["queued"], "all is sent")
            if number == 2:
                proxy.stop()
    assert proxy.tap_lines["main"] == {"offered": 1200, "sent": 1200, "queued": 0, "dropped": 0}
    assert sum(len(run_program("dnstap-read", str(out)).splitlines()) for out in recorded) == 1200


@pytest.mark.parametrize("workers", [1, 2])
def test_a_tap_that_listens_serves_programs_that_listen_through_a_wire_between_them(
    start_proxy: StartProxy, authority: Nsd, tmp_path: Path, workers: int
) -> None:
    ours, theirs = unix_address(tmp_path, "ours.sock"), unix_address(tmp_path, "theirs.sock")
    recorded = tmp_path / "listened.fstrm"
    with fstrm_capture(theirs, recorded):
        tap = f"workers = {workers}\n" + listening(at=ours, name="main")
        proxy = start_proxy(tap + answering(authority))
        with bridge(ours, theirs):
            wait_until(lambda: ask_and_look(proxy.port, lambda: proxy.tap("main")["sent"]) > 0, "the first is sent")
            proxy.wait_for_tap("main", lambda now: not now["queued"], "all is sent")
            before = proxy.tap("main")["sent"]
            ask_many(proxy.port, 50, "wild", qtype="TXT")
            proxy.wait_for_tap("main", lambda now: now["sent"] == before + 200, "all is sent")
            proxy.stop()
    assert len(run_program("dnstap-read", str(recorded)).splitlines()) == before + 200


def ask_and_look(port: int, look: Callable[[], int]) -> int:
    exchange(wire.query("www.example.org"), port)
    return look()


def test_dnstap_on_a_tcp_port_shows_a_sample_that_is_whole(
    start_proxy: StartProxy, authority: Nsd, tmp_path: Path
) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    with dnstap_program(address, "-q", tmp_path / "sample.txt") as out:
        tap = dnstap(to=address, name="main", sample=0.5, always=["errors"])
        proxy = start_proxy(tap + answering(authority))
        proxy.wait_for_tap("main", lambda now: now["state"] == "connected", "connected")
        ask_many(proxy.port, 100, "wild", qtype="TXT")
        sent = proxy.wait_for_tap("main", lambda now: not now["queued"], "all is sent")["sent"]
        proxy.stop()
        wait_until(lambda: len(out.read_text().splitlines()) == sent, "output")
    names = [line.split('"')[1] for line in out.read_text().splitlines()]
    assert 4 * 25 < sent < 4 * 75
    assert {names.count(name) for name in names} == {4}


def test_a_reader_as_lenient_as_unbounds_gets_the_same_from_a_connection_and_a_file(
    start_proxy: StartProxy, authority: Nsd, tmp_path: Path
) -> None:
    with Collector(unix_address(tmp_path, "lenient.sock"), lingers=True) as lenient:
        path = tmp_path / "tap.fstrm"
        taps = dnstap(to=lenient, name="socket") + dnstap(to=f"file://{path}", name="file")
        proxy = start_proxy(taps + answering(authority))
        ask_many(proxy.port, 25, "wild", qtype="TXT")
        lenient.wait_for(100)
        proxy.stop()
    assert FrameBuffer().feed(path.read_bytes())[0][0] == START
    assert [one.frame for one in read_file(path).messages] == [one.frame for one in lenient.messages]
