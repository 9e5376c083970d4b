"""Outputs alone, without a proxy before them, against `dnstap`, `fstrm_capture` and `dnstap-read`."""

import json
import re
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import dns.message
import dns.rrset
import pytest
import trio
from trio.testing import trio_test

from dnsproxy.address import Address
from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.events import Event, Route
from dnsproxy.dnstap.file_output import FileOutput
from dnsproxy.dnstap.framestreams import Reader
from dnsproxy.dnstap.output import Output, OutputOptions
from dnsproxy.dnstap.schema import MessageType
from dnsproxy.dnstap.sink import FrameForm, Sink
from dnsproxy.dnstap.socket_output import SocketOutput
from tests.dnstap.waiting import until
from tests.support.ports import free_port
from tests.support.programs import end_program, require_program, run_program, running

pytestmark = pytest.mark.interop

SETTLE_S, SETTLE_TRIES = 0.15, 20
ARRIVED_NS = 1_700_000_000_123_456_789
SENT_NS, REPLIED_NS, ANSWERED_NS = ARRIVED_NS + 1_000_000, ARRIVED_NS + 2_000_000, ARRIVED_NS + 3_000_000
QUERY = dns.message.make_query("www.example.org", "A", id=4711)
RESPONSE = dns.message.make_response(QUERY)
RESPONSE.answer.append(dns.rrset.from_text("www.example.org.", 300, "IN", "A", "192.0.2.10"))


def exchange(hosts: tuple[str, str, str], protocol: str) -> list[Event]:
    """The four messages of one query: from a client, by the proxy, to an upstream."""
    client, proxy, upstream = hosts
    asked, answered = QUERY.to_wire(), RESPONSE.to_wire()
    near = Route.of(protocol, Address.of(client, 40212), Address.of(proxy, 53))
    far = Route.of("UDP", Address.of(proxy, 50000), Address.of(upstream, 5353))
    return [
        Event(MessageType.CLIENT_QUERY, None, near, ARRIVED_NS, asked),
        Event(MessageType.FORWARDER_QUERY, None, far, SENT_NS, asked, zone=b"\7example\3org\0"),
        Event(MessageType.FORWARDER_RESPONSE, None, far, SENT_NS, None, REPLIED_NS, answered, b"\7example\3org\0"),
        Event(MessageType.CLIENT_RESPONSE, None, near, ARRIVED_NS, None, ANSWERED_NS, answered),
    ]


IPV4 = exchange(("192.0.2.7", "192.0.2.53", "192.0.2.1"), "UDP")
IPV6 = exchange(("2001:db8::7", "2001:db8::53", "2001:db8::1"), "TCP")


def offer(output: Output, events: list[Event], times: int = 1) -> None:
    sink = Sink(FrameForm(full=True, identity="edge-1", version="edge 1.2"), (output.offer,))
    for _ in range(times):
        for event in events:
            sink.take(event)


@asynccontextmanager
async def output_to(destination: Destination) -> AsyncIterator[Output]:
    kind = FileOutput if destination.scheme == "file" else SocketOutput
    output = kind(OutputOptions("tap", destination, TlsOptions(), 100_000, 1 << 26))
    async with trio.open_nursery() as nursery:
        await nursery.start(output.run)
        yield output
        await output.drain(10)
    status = output.tap_status()
    assert status["offered"] == status["sent"] + sum(status["dropped"].values())


@contextmanager
def dnstap_program(destination: Destination, form: str, out: Path) -> Iterator[Path]:
    """The real `dnstap`; what it wrote is complete at the end of the block."""
    place = ["-u", destination.path] if destination.path else ["-l", f"{destination.host}:{destination.port}"]
    command = [require_program("dnstap"), *place, form, "-w", str(out)]
    with running(command, out=out.with_suffix(".log")):
        yield out
        wait_until_settled(out)


def wait_until_settled(out: Path) -> None:
    """Until `dnstap`, which writes in a routine of its own, has had time to write what it has read."""
    size = -1
    for _ in range(SETTLE_TRIES):
        time.sleep(SETTLE_S)
        now = out.stat().st_size if out.exists() else 0
        if now and now == size:
            return
        size = now


async def send(destination: Destination, events: list[Event]) -> None:
    async with output_to(destination) as output:
        offer(output, events)
        await until(lambda: output.tap_status()["sent"] == len(events))


@pytest.fixture(params=["unix", "tcp"])
def destination(request: pytest.FixtureRequest, tmp_path: Path) -> Destination:
    if request.param == "unix":
        return Destination("unix", path=str(tmp_path / "tap.sock"))
    return Destination("tcp", host="127.0.0.1", port=free_port())


@trio_test
async def test_dnstap_prints_a_line_for_each_message(destination: Destination, tmp_path: Path) -> None:
    with dnstap_program(destination, "-q", tmp_path / "quiet.txt") as out:
        await send(destination, IPV4 + IPV6)
    lines = [line.split(" ", 1)[1] for line in out.read_text().splitlines()]
    answered, asked = len(RESPONSE.to_wire()), len(QUERY.to_wire())
    assert lines == [
        f'{type} {address} {protocol} {answered if type[1] == "R" else asked}b "www.example.org." IN A'
        for client, upstream, near in [("192.0.2.7", "192.0.2.1", "UDP"), ("2001:db8::7", "2001:db8::1", "TCP")]
        for type, address, protocol in [
            ("CQ", client, near),
            ("FQ", upstream, "UDP"),
            ("FR", upstream, "UDP"),
            ("CR", client, near),
        ]
    ]


@trio_test
async def test_dnstap_reads_every_field_as_yaml(destination: Destination, tmp_path: Path) -> None:
    with dnstap_program(destination, "-y", tmp_path / "out.yaml") as out:
        await send(destination, IPV6)
    documents = out.read_text().split("---\n")[:-1]
    for document, event in zip(documents, IPV6, strict=True):
        fields = dict(re.findall(r"^ *(\w+): (.+)$", document, re.MULTILINE))
        assert (fields["identity"], fields["version"]) == ('"edge-1"', '"edge 1.2"')
        assert fields["type"] == MessageType(event.type).name
        assert fields["socket_family"] == "INET6"
        assert fields["query_port"] == str(event.route.query_port)
        assert fields["response_port"] == str(event.route.response_port)
        assert ("query_zone" in fields) == (event.zone is not None)


@trio_test
async def test_dnstap_reads_every_time_as_json(destination: Destination, tmp_path: Path) -> None:
    with dnstap_program(destination, "-j", tmp_path / "out.json") as out:
        await send(destination, IPV4)
    messages = [json.loads(line)["message"] for line in out.read_text().splitlines()]
    asked, sent = "2023-11-14T22:13:20.123456789Z", "2023-11-14T22:13:20.124456789Z"
    replied, answered = "2023-11-14T22:13:20.125456789Z", "2023-11-14T22:13:20.126456789Z"
    times = [(one.get("query_time"), one.get("response_time")) for one in messages]
    assert times == [(asked, None), (sent, None), (sent, replied), (asked, answered)]
    assert "status: NOERROR" in messages[3]["response_message"]


@trio_test
async def test_dnstap_read_prints_what_fstrm_capture_recorded(tmp_path: Path) -> None:
    destination, recorded = Destination("unix", path=str(tmp_path / "tap.sock")), tmp_path / "recorded.fstrm"
    with fstrm_capture(destination, recorded):
        await send(destination, IPV4 + IPV6)
    check_dnstap_read(recorded)


@trio_test
async def test_dnstap_read_prints_what_a_file_tap_wrote(tmp_path: Path) -> None:
    written = tmp_path / "written.fstrm"
    await send(Destination("file", path=str(written)), IPV4 + IPV6)
    check_dnstap_read(written)
    assert len(run_program("dnstap", "-q", "-r", str(written)).splitlines()) == 8


@trio_test
async def test_a_file_tap_is_readable_while_it_is_being_written(tmp_path: Path) -> None:
    written = tmp_path / "written.fstrm"
    async with output_to(Destination("file", path=str(written))) as output:
        offer(output, IPV4)
        await until(lambda: output.tap_status()["sent"] == 4)
        assert len(run_program("dnstap-read", str(written)).splitlines()) == 4


def check_dnstap_read(file: Path) -> None:
    lines = run_program("dnstap-read", str(file)).splitlines()
    ends = [re.split(r" ", line, maxsplit=2)[2] for line in lines]
    answered, asked = len(RESPONSE.to_wire()), len(QUERY.to_wire())
    assert ends[:4] == [
        f"CQ 192.0.2.7:40212 -> 192.0.2.53:53 UDP {asked}b www.example.org/IN/A",
        f"FQ 192.0.2.53:50000 -> 192.0.2.1:5353 UDP {asked}b www.example.org/IN/A",
        f"FR 192.0.2.53:50000 <- 192.0.2.1:5353 UDP {answered}b www.example.org/IN/A",
        f"CR 192.0.2.7:40212 <- 192.0.2.53:53 UDP {answered}b www.example.org/IN/A",
    ]
    assert ends[4] == f"CQ 2001:db8::7:40212 -> 2001:db8::53:53 TCP {asked}b www.example.org/IN/A"
    assert len(ends) == 8


@contextmanager
def fstrm_capture(destination: Destination, out: Path, *, end: signal.Signals = signal.SIGINT) -> Iterator[None]:
    command = [require_program("fstrm_capture"), "-t", "protobuf:dnstap.Dnstap", "-u", destination.path, "-w", str(out)]
    with running(command, out=out.with_suffix(".log"), end=end) as process:
        yield
        end_program(process, end)


@trio_test
async def test_killed_and_restarted_under_load_the_books_balance_to_the_message(tmp_path: Path) -> None:
    destination = Destination("unix", path=str(tmp_path / "tap.sock"))
    async with output_to(destination) as output:
        offered = 0
        for number in range(3):
            with fstrm_capture(destination, tmp_path / f"{number}.fstrm", end=signal.SIGKILL):
                offered += await offer_until_connected_again(output)
            offer(output, IPV4, times=100)
            offered += 400
            check_books(output, offered)
        before = output.tap_status()
        assert before["queued"] >= 400, "what came while nobody listened was kept"
        with fstrm_capture(destination, tmp_path / "last.fstrm"):
            await output.drain(10)
        check_books(output, offered)
        assert output.tap_status()["sent"] == offered
        assert frames_in(tmp_path / "last.fstrm") == before["queued"]


async def offer_until_connected_again(output: Output) -> int:
    """Offers without pause until a new connection has taken some of it; how many."""
    offered, connects, sent = 0, output.connects, output.tap_status()["sent"]
    while output.connects == connects or output.tap_status()["sent"] < sent + 2000:
        offer(output, IPV4, times=100)
        offered += 400
        await trio.sleep(0.01)
    return offered


def check_books(output: Output, offered: int) -> None:
    status = output.tap_status()
    assert status["offered"] == status["sent"] + status["queued"] + sum(status["dropped"].values()) == offered


def frames_in(file: Path) -> int:
    return sum(isinstance(event, bytes) for event in Reader().receive_data(file.read_bytes()))
