"""What `convert` writes as other programs read it, and what they write as `convert` does."""

import subprocess
from pathlib import Path

import pytest

from tests.support.programs import require_program, run_program, running
from tests.tap.commands.in_process import Captured, run
from tests.tap.dialogue import Dialogue
from tests.tap.frames import MAIN, corpus_payloads, payload, write_stream
from tests.tap.running import wait_for_listener

pytestmark = pytest.mark.interop

NAMES = ("main.fstrm", "main.jsonl", "main.parquet")


@pytest.mark.parametrize("name", NAMES)
def test_converted_files_are_the_same_to_dnstap_and_dnstap_read(name: str, tmp_path: Path, capfd: Captured) -> None:
    there, back = tmp_path / f"there-{name}", tmp_path / "back.fstrm"
    assert run(capfd, "convert", MAIN, there).status == 0
    assert run(capfd, "convert", there, back).status == 0
    for program, option in (("dnstap", "-j"), ("dnstap", "-q")):
        assert run_program(program, option, "-r", str(back)) == run_program(program, option, "-r", str(MAIN))
    assert run_program("dnstap-read", "-p", str(back)) == run_program("dnstap-read", "-p", str(MAIN))


def test_a_repaired_file_is_whole_to_fstrm_dump(tmp_path: Path, capfd: Captured) -> None:
    bad, good = tmp_path / "bad.fstrm", tmp_path / "good.fstrm"
    bad.write_bytes(MAIN.read_bytes()[:-40])
    assert run(capfd, "convert", bad, good).status == 1
    command = [require_program("fstrm_dump"), str(good)]
    shown = subprocess.run(command, check=True, capture_output=True).stderr
    assert (shown.count(b"Data frame"), shown.count(b"FSTRM_CONTROL_STOP")) == (5, 1)


def test_tcpdump_reads_a_capture_with_right_checksums_and_all_that_is_in_the_messages(
    tmp_path: Path, capfd: Captured
) -> None:
    source = write_stream(
        tmp_path / "dns.fstrm",
        [*(frame.payload for frame in Dialogue("www.example.org", "AAAA", id=4711).whole(0, 20)), V6_QUERY],
    )
    assert run(capfd, "convert", source, tmp_path / "dns.pcap").status == 0
    command = ["-nvv", "-tt", "--nano", "-r", str(tmp_path / "dns.pcap")]
    shown = " ".join(run_program("tcpdump", *command).split())
    assert shown.count("[udp sum ok]") == 5
    assert "bad" not in shown
    assert "1700000000.000000000 IP " in shown
    assert "192.0.2.7.40000 > 192.0.2.1.53: [udp sum ok] 4711+ AAAA? www.example.org." in shown
    assert "2001:db8::7.40000 > 2001:db8::53.53: [udp sum ok] 4660+" in shown


V6_QUERY = payload("CLIENT_QUERY", query_address="2001:db8::7", response_address="2001:db8::53", socket_family=2)


def test_what_tcpdump_writes_is_read(tmp_path: Path, capfd: Captured) -> None:
    source = write_stream(tmp_path / "dns.fstrm", corpus_payloads())
    run(capfd, "convert", source, tmp_path / "ours.pcap")
    run_program("tcpdump", "-n", "-r", str(tmp_path / "ours.pcap"), "-w", str(tmp_path / "theirs.pcap"))
    ours, theirs = (
        run(capfd, "convert", tmp_path / name, "-", "--to", "jsonl").lines for name in ("ours.pcap", "theirs.pcap")
    )
    assert len(ours) == len(theirs)


@pytest.mark.parametrize("program", ["dnstap", "fstrm_capture"])
def test_a_collector_of_another_kind_is_alive_to_check(program: str, tmp_path: Path, capfd: Captured) -> None:
    path = tmp_path / "tap.sock"
    options = ["-t", "protobuf:dnstap.Dnstap"] if program == "fstrm_capture" else []
    command = [require_program(program), *options, "-u", str(path), "-w", str(tmp_path / "dns.fstrm")]
    with running(command, out=tmp_path / "log"):
        wait_for_listener(path)
        done = run(capfd, "check", f"unix://{path}")
    assert (done.status, done.out.partition(" in ")[0]) == (0, f"unix://{path}: READY to FINISH")
