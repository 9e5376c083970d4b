"""The receiving commands against the real tools, both ways, and with what real producers send."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.dnstap.tap_files import names, read
from tests.support import wire
from tests.support.client import exchange
from tests.support.name_server_configs import bind_config, coredns_config, dnsdist_config, section, unbound_config
from tests.support.name_servers import Nsd, name_server
from tests.support.ports import free_port
from tests.support.programs import end_program, require_program, run_program, running
from tests.tap.frames import CORPUS, environment_with, payload, payloads_in, tap, write_stream
from tests.tap.running import Running, Sender, send, wait_for_listener, wait_until

pytestmark = pytest.mark.interop

TYPE = ["-t", "protobuf:dnstap.Dnstap"]
PAYLOADS = [payload(extra=b"%d" % number) for number in range(500)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.sock"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_stream(tmp_path / "in.fstrm", PAYLOADS)


# theirs into ours


def test_fstrm_replay_is_recorded_octet_for_octet(path: Path, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.fstrm"
    with Running("record", "-u", path, "-l", "127.0.0.1:0", "-w", out) as recording:
        run_program("fstrm_replay", *TYPE, "-u", str(path), "-r", str(file))
        run_program("fstrm_replay", *TYPE, "-a", "127.0.0.1", "-p", str(recording.port()), "-r", str(file))
        assert recording.end() == 0
        assert recording.errors.count("\n") == 1
    assert read(out) == PAYLOADS * 2
    assert len(run_program("dnstap", "-q", "-r", str(out)).splitlines()) == 1000
    assert len(run_program("dnstap-read", str(out)).splitlines()) == 1000
    dumped = subprocess.run([require_program("fstrm_dump"), str(out)], check=True, capture_output=True)
    assert dumped.stderr.count(b"Data frame") == 1000


def test_dnstap_relays_to_listen_which_prints_as_it_does_itself(path: Path, tmp_path: Path) -> None:
    plain = [CORPUS / name for name in ("main.fstrm", "nostop.fstrm")]
    with Running("listen", "-u", path, "-l", "127.0.0.1:0", "-q") as listening:
        for each in plain:
            for destination in (["-U", str(path)], ["-T", f"127.0.0.1:{listening.port()}"]):
                command = [require_program("dnstap"), "-r", str(each), *destination]
                with running(command, out=tmp_path / "dnstap.log"):
                    before = len(listening.lines)
                    expected = run_with_zone("dnstap", "-q", "-r", str(each)).splitlines()
                    listening.wait_for_lines(before + len(expected))
                    assert listening.lines[before:] == expected


def run_with_zone(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, env=environment_with({}))
    return done.stdout.decode()


def test_files_that_the_tools_are_writing_are_followed(tmp_path: Path, path: Path) -> None:
    theirs = {
        "fstrm_capture": [require_program("fstrm_capture"), *TYPE, "-u", str(path), "-w", str(tmp_path / "c.fstrm")],
        "dnstap": [require_program("dnstap"), "-u", str(path), "-w", str(tmp_path / "c.fstrm")],
    }
    options = ["--from-start", "--format", "{.extra}"]
    for name, command in theirs.items():
        with (
            running(command, out=tmp_path / f"{name}.log") as program,
            Running("follow", tmp_path / "c.fstrm", *options, is_ready=False) as following,
        ):
            wait_for_listener(path)
            with Sender(path) as sender:
                sender.send(*PAYLOADS)
                following.wait_until(lambda: len(following.lines) > 300, "what does not wait for a full block")
                sender.send(*PAYLOADS[:100])
                following.wait_until(lambda: len(following.lines) > 500, "more")
            end_program(program, signal.SIGINT)
            printed = following.lines
            assert printed == [str(number % 500) for number in range(len(printed))]
        (tmp_path / "c.fstrm").unlink()
        path.unlink(missing_ok=True)


# ours into theirs


@contextmanager
def fstrm_capture(out: Path, address: Path | int) -> Iterator[None]:
    """Its output is complete at the end of the block."""
    source = ["-u", str(address)] if isinstance(address, Path) else ["-a", "127.0.0.1", "-p", str(address)]
    command = [require_program("fstrm_capture"), *TYPE, *source, "-w", str(out)]
    with running(command, out=out.with_suffix(".log")) as program:
        wait_for_listener(address)
        yield
        end_program(program, signal.SIGINT)


def test_send_replays_to_fstrm_capture(path: Path, file: Path, tmp_path: Path) -> None:
    port = free_port()
    destinations: dict[Path | int, list[str]] = {path: ["-U", str(path)], port: ["-T", f"127.0.0.1:{port}"]}
    for number, (address, destination) in enumerate(destinations.items()):
        out = tmp_path / f"out.{number}"
        with fstrm_capture(out, address):
            done = tap("send", file, *destination)
            assert (done.returncode, done.stderr) == (0, b"")
        assert out.read_bytes() == file.read_bytes()


def test_send_and_relay_reach_dnstap(path: Path, file: Path, tmp_path: Path) -> None:
    port, out = free_port(), tmp_path / "out.json"
    command = [require_program("dnstap"), "-l", f"127.0.0.1:{port}", "-j", "-w", str(out)]
    with running(command, out=tmp_path / "dnstap.log"):
        wait_for_listener(port)
        done = tap("send", file, "-T", f"127.0.0.1:{port}")
        assert (done.returncode, done.stderr) == (0, b"")
        with Running("relay", "-u", path, "-T", f"127.0.0.1:{port}") as relaying:
            send(path, PAYLOADS)
            assert relaying.end() == 0
            assert f"tcp://127.0.0.1:{port}: offered 500 sent 500 dropped 0\n" in relaying.errors
        wait_until(lambda: len(out.read_text().splitlines()) == 1000)
    types = {json.loads(line)["message"]["type"] for line in out.read_text().splitlines()}
    assert types == {"CLIENT_QUERY"}


def test_relay_multiplies_for_fstrm_capture_and_our_own(path: Path, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    with (
        fstrm_capture(theirs, tmp_path / "t.sock"),
        Running("record", "-u", tmp_path / "o.sock", "-w", ours),
        Running("relay", "-u", path, "-U", tmp_path / "t.sock", "-U", tmp_path / "o.sock") as relaying,
    ):
        send(path, PAYLOADS)
        assert relaying.end() == 0
    assert payloads_in(theirs.read_bytes()) == payloads_in(ours.read_bytes()) == PAYLOADS


# real producers


def unbound(folder: Path, port: int, socket: Path, upstream: int, *, bidirectional: str = "yes") -> str:
    messages = ("client-query", "client-response", "resolver-query", "resolver-response")
    tap = section(
        "dnstap",
        "dnstap-enable: yes",
        f'dnstap-socket-path: "{socket}"',
        f"dnstap-bidirectional: {bidirectional}",
        "dnstap-send-identity: yes",
        'dnstap-identity: "u1"',
        *(f"dnstap-log-{kind}-messages: yes" for kind in messages),
    )
    return unbound_config(folder, port, stub=f"127.0.0.1:{upstream}", more=tap)


def coredns(folder: Path, port: int, socket: Path, upstream: int) -> str:
    tap = (f"dnstap {socket} full {{", "    identity c1", "}")
    return coredns_config(f"example.org:{port}", *tap, f"forward . 127.0.0.1:{upstream}")


def dnsdist(folder: Path, port: int, socket: Path, upstream: int) -> str:
    tap = (
        f'tap = newFrameStreamUnixLogger("{socket}")',
        'addAction(AllRule(), DnstapLogAction("d1", tap))',
        'addResponseAction(AllRule(), DnstapLogResponseAction("d1", tap))',
    )
    return dnsdist_config(port, *tap, upstream=f"127.0.0.1:{upstream}")


def bind(folder: Path, port: int, socket: Path, upstream: int) -> str:
    return bind_config(
        folder,
        port,
        "forward only",
        f"forwarders {{ 127.0.0.1 port {upstream}; }}",
        "dnssec-validation no",
        "empty-zones-enable no",
        "dnstap { all; }",
        f'dnstap-output unix "{socket}"',
        'dnstap-identity "b1"',
    )


PRODUCERS: dict[str, tuple[str, Callable[..., str], str]] = {  # program, its configuration, the identity it tells
    "unbound": ("unbound", unbound, "u1"),
    "unbound, one way": ("unbound", partial(unbound, bidirectional="no"), "u1"),
    "coredns": ("coredns", coredns, "c1"),
    "dnsdist": ("dnsdist", dnsdist, "d1"),
    "named": ("named", bind, "b1"),
}


@contextmanager
def producer(name: str, folder: Path, socket: Path, upstream: int) -> Iterator[int]:
    """Its port, once it answers."""
    program, configure, _ = PRODUCERS[name]
    port = free_port()
    with name_server(program, folder, configure(folder, port, socket, upstream), port):
        yield port


SAME_FORMS = [
    *((["dnstap", form, "-r"], [form]) for form in ("-q", "-y", "-j")),
    *((["dnstap-read", form], ["--bind", form]) for form in ("-p", "-y")),
]


@pytest.mark.parametrize("name", PRODUCERS)
def test_a_real_producer_is_listened_to_recorded_and_relayed(
    name: str, authority: Nsd, path: Path, tmp_path: Path
) -> None:
    recorded, out = tmp_path / "rec" / "dns.fstrm", tmp_path / "sock" / "out.sock"
    out.parent.mkdir()
    with (
        Running("listen", "-u", out, "--json", "--no-wire") as listening,
        Running("relay", "-u", path, "-U", out, "-w", recorded, "--flush", "0s") as relaying,
    ):
        with producer(name, tmp_path, path, authority.port) as port:
            exchange(wire.query("mail.example.org"), port)
            listening.wait_until(
                lambda: "CLIENT_RESPONSE" in answers_about(listening, "mail.example.org."), "its answer"
            )
        relaying.wait_until(lambda: has_no_connection(relaying), "its end")
        assert relaying.end() == 0, relaying.errors
        assert " 0 damaged" in relaying.errors
        seen = answers_about(listening, "mail.example.org.")
    assert {"CLIENT_QUERY", "CLIENT_RESPONSE"} <= set(seen)
    assert all(json.loads(line)["identity"] == PRODUCERS[name][2] for line in listening.lines)
    assert names(recorded.parent) == ["dns.fstrm"]
    assert len(read(recorded)) == len(listening.lines)
    assert len(run_program("dnstap", "-q", "-r", str(recorded)).splitlines()) == len(listening.lines)
    for theirs, ours in SAME_FORMS:
        assert tap("read", *ours, recorded).stdout.decode() == run_with_zone(*theirs, str(recorded)), ours
    assert tap("convert", recorded, tmp_path / "dns.jsonl").returncode == 0
    assert tap("convert", tmp_path / "dns.jsonl", tmp_path / "again.fstrm").returncode == 0
    assert read(tmp_path / "again.fstrm") == read(recorded)


def has_no_connection(relaying: Running) -> bool:
    """What it tells when it is asked to."""
    relaying.send(signal.SIGUSR2)
    return " (0 now), " in relaying.errors


def answers_about(listening: Running, qname: str) -> list[str]:
    """Types of the messages about a name."""
    lines = [json.loads(line) for line in listening.lines]
    return [each["type"] for each in lines if (each["qname"] or "").lower() == qname]
