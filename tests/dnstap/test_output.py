"""Taps' ways out: connections that come and go, collectors that stall or are rude, and books that balance."""

import logging
import random
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from trio.testing import MockClock, trio_test, wait_all_tasks_blocked

from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.framestreams import control_frame, data_frame
from dnsproxy.dnstap.output import Output, OutputOptions
from dnsproxy.dnstap.socket_output import SocketOutput
from tests.dnstap.receiver import Receiver, unix_listener
from tests.dnstap.waiting import until

TCP = Destination("tcp", host="127.0.0.1")
NO_TLS = TlsOptions()


@pytest.fixture
def unix(tmp_path: Path) -> Destination:
    return Destination("unix", path=str(tmp_path / "tap.sock"))


@asynccontextmanager
async def running(
    destination: Destination, tls: TlsOptions = NO_TLS, *, queue: int = 10_000, drain_s: float = 5.0, **options: Any
) -> AsyncIterator[SocketOutput]:
    """An output that is drained at the end of the block."""
    output = SocketOutput(OutputOptions("tap", destination, tls, queue, 1 << 26, **options))
    async with trio.open_nursery() as nursery:
        await nursery.start(output.run)
        yield output
        await output.drain(drain_s)
    check_books(output)


def check_books(output: Output) -> None:
    status = output.tap_status()
    assert status["offered"] == status["sent"] + status["queued"] + sum(status["dropped"].values())


def offer(output: Output, count: int, start: int = 0) -> list[bytes]:
    payloads = [b"frame %d" % number for number in range(start, start + count)]
    for payload in payloads:
        output.offer(data_frame(payload))
    return payloads


async def until_state(output: Output, state: str) -> float:
    """How long it took."""
    return await until(lambda: output.state == state)


@trio_test
async def test_what_is_offered_arrives_in_order_and_the_stream_is_finished(
    unix: Destination, autojump_clock: MockClock
) -> None:
    async with Receiver(unix).listening() as receiver:
        async with running(unix) as output:
            sent = offer(output, 5)
            await receiver.wait_for(5)
            status = output.tap_status()
        assert receiver.frames == sent
        assert (receiver.stops, receiver.broken) == (1, [])
    assert status == {
        "name": "tap",
        "socket": str(unix),
        "state": "connected",
        "offered": 5,
        "sent": 5,
        "queued": 0,
        "dropped": {"queue_full": 0, "spool_full": 0, "oversize": 0, "shutdown": 0, "disconnected": 0},
        "bytes": sum(len(data_frame(payload)) for payload in sent),
        "connects": 1,
        "last_error": None,
        "oldest_queued_s": 0.0,
        "spooled": 0,
        "stalled": False,
    }
    assert output.tap_status()["state"] == "closed"


@pytest.mark.parametrize("flush_s", [0.0, 0.1, 2.0])
@trio_test
async def test_a_message_waits_for_others_no_longer_than_it_should(
    unix: Destination, flush_s: float, autojump_clock: MockClock
) -> None:
    async with Receiver(unix).listening() as receiver, running(unix, flush_s=flush_s) as output:
        await until_state(output, "connected")
        for number in range(1, 4):
            await trio.sleep(10)
            began = trio.current_time()
            offer(output, 1)
            await receiver.wait_for(number)
            assert trio.current_time() - began == pytest.approx(flush_s, abs=0.05)


@trio_test
async def test_messages_may_come_from_outside_every_task(unix: Destination, autojump_clock: MockClock) -> None:
    pending: list[bytes] = []

    class Hook(trio.abc.Instrument):
        def before_io_wait(self, timeout: float) -> None:
            while pending:
                output.offer(pending.pop())
                trio.lowlevel.current_trio_token().run_sync_soon(lambda: None)

    hook = Hook()
    async with Receiver(unix).listening() as receiver, running(unix) as output:
        await until_state(output, "connected")
        trio.lowlevel.add_instrument(hook)
        for number in range(3):
            pending.append(data_frame(b"%d" % number))
            await receiver.wait_for(number + 1)
        trio.lowlevel.remove_instrument(hook)


@trio_test
async def test_many_messages_do_not_wait_at_all(unix: Destination) -> None:
    async with Receiver(unix).listening() as receiver, running(unix, queue=100, flush_s=3600) as output:
        await until_state(output, "connected")
        await wait_all_tasks_blocked()
        offer(output, 49)
        await wait_all_tasks_blocked()
        assert receiver.frames == []
        offer(output, 1)
        await receiver.wait_for(50)


@trio_test
async def test_a_collector_that_comes_up_later_is_found_within_two_seconds_and_gets_everything(
    unix: Destination, autojump_clock: MockClock
) -> None:
    async with running(unix) as output:
        sent = offer(output, 100)
        await until_state(output, "down")
        await trio.sleep(60)
        status = output.tap_status()
        assert (status["queued"], status["last_error"]) == (100, "No such file or directory")
        assert status["oldest_queued_s"] == pytest.approx(60, abs=1)
        async with Receiver(unix).listening() as receiver:
            assert await until_state(output, "connected") < 2
            await receiver.wait_for(100)
        assert receiver.frames == sent


@trio_test
async def test_a_close_by_the_collector_shows_without_traffic(unix: Destination, autojump_clock: MockClock) -> None:
    async with running(unix) as output:
        async with Receiver(unix).listening():
            await until_state(output, "connected")
        await until_state(output, "down")
        assert output.tap_status()["last_error"] == "closed by the collector"
        async with Receiver(unix).listening():
            await until_state(output, "connected")
            assert output.tap_status()["connects"] == 2


@trio_test
async def test_a_stalled_collector_stays_connected_and_gets_the_rest_when_it_reads_on(
    unix: Destination, autojump_clock: MockClock
) -> None:
    async with Receiver(unix).listening() as receiver, running(unix, queue=500) as output:
        await until_state(output, "connected")
        receiver.reading = trio.Event()
        for number in range(20):
            for _ in range(100):
                output.offer(data_frame(b"%d " % number * 300))
            await trio.sleep(1)
        status = output.tap_status()
        assert (status["state"], status["queued"]) == ("connected", 500)
        assert status["dropped"]["queue_full"] == 2000 - 500 - status["sent"] > 0
        assert status["oldest_queued_s"] > 5
        receiver.reading.set()
        await receiver.wait_for(status["sent"] + 500)


@trio_test
async def test_through_kills_under_load_the_books_balance_and_a_partly_written_frame_is_sent_again(
    unix: Destination, autojump_clock: MockClock
) -> None:
    sizes = [random.Random(number).randrange(1, 5000) for number in range(400)]
    receivers = []
    async with running(unix) as output:
        for number in range(5):
            receiver = Receiver(unix)
            async with receiver.listening():
                await until_state(output, "connected")
                receiver.reading = trio.Event()
                for size in sizes:
                    output.offer(data_frame(bytes(size)))
                    check_books(output)
                await trio.sleep(0.2)
                check_books(output)
                assert output.tap_status()["queued"] > 0, "the kernel's buffers hold less"
                if number < 4:
                    receiver.reading.set()
                    await receiver.wait_for(1)
            receivers.append(receiver)
            check_books(output)
        async with Receiver(unix).listening() as last:
            await until_state(output, "connected")
            await until(lambda: output.tap_status()["queued"] == 0)
    receivers.append(last)
    received = sum(len(receiver.frames) for receiver in receivers)
    status = output.tap_status()
    assert (status["offered"], status["sent"], sum(status["dropped"].values())) == (2000, 2000, 0)
    assert received <= 2000, "what was lost in the kernel of a killed collector was sent all the same"
    assert last.frames


@trio_test
async def test_a_receiver_that_never_accepts_is_left_and_tried_again(
    unix: Destination, autojump_clock: MockClock
) -> None:
    receiver = Receiver(unix)
    receiver.silent = True
    async with receiver.listening(), running(unix, drain_s=0.5) as output:
        assert await until_state(output, "down") == pytest.approx(5, abs=0.1)
        assert output.tap_status()["last_error"] == "no ACCEPT within 5 s"
        await trio.sleep(20)
        assert receiver.connections == 5
        receiver.silent = False
        assert await until_state(output, "connected") < 7


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "frame of 1213486160 octets"),
        (control_frame(1, b"other"), "the receiver takes 'other'"),
        (b"", "closed before ACCEPT"),
    ],
)
@trio_test
async def test_a_peer_that_speaks_something_else_is_an_error_in_the_status(
    unix: Destination, answer: bytes, error: str, autojump_clock: MockClock
) -> None:
    async def answer_wrongly(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        if answer:
            await stream.send_all(answer)
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, answer_wrongly, [unix_listener(unix.path)])
        async with running(unix) as output:
            await until_state(output, "down")
            assert output.tap_status()["last_error"] == error
        nursery.cancel_scope.cancel()


@trio_test
async def test_what_cannot_be_delivered_at_the_end_is_counted(unix: Destination, autojump_clock: MockClock) -> None:
    async with running(unix) as output:
        offer(output, 7)
        await until_state(output, "down")
        began = trio.current_time()
    assert trio.current_time() - began < 1, "nobody listens: waiting for the deadline helps nobody"
    offer(output, 1)
    status = output.tap_status()
    assert (status["state"], status["offered"], status["dropped"]["shutdown"]) == ("closed", 8, 8)


@trio_test
async def test_a_stalled_collector_delays_the_end_no_longer_than_the_deadline(
    unix: Destination, autojump_clock: MockClock
) -> None:
    receiver = Receiver(unix)
    async with receiver.listening():
        async with running(unix, drain_s=3) as output:
            await until_state(output, "connected")
            receiver.reading = trio.Event()
            for _ in range(1000):
                output.offer(data_frame(bytes(2000)))
            await trio.sleep(1)
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(3, abs=0.1)
        status = output.tap_status()
        assert status["sent"] > 0
        assert status["dropped"]["shutdown"] == 1000 - status["sent"] > 0


@trio_test
async def test_a_receiver_that_never_finishes_is_left_after_two_seconds(
    unix: Destination, autojump_clock: MockClock
) -> None:
    receiver = Receiver(unix)
    async with receiver.listening():
        async with running(unix) as output:
            offer(output, 3)
            await receiver.wait_for(3)
            receiver.silent = True
            began = trio.current_time()
        assert trio.current_time() - began == pytest.approx(2, abs=0.1)
        assert receiver.stops == 1


@trio_test
async def test_an_output_that_is_cancelled_counts_what_it_held(unix: Destination) -> None:
    output = SocketOutput(OutputOptions("tap", unix, NO_TLS, 10, 1 << 20))
    async with trio.open_nursery() as nursery:
        await nursery.start(output.run)
        offer(output, 3)
        nursery.cancel_scope.cancel()
    assert output.tap_status()["dropped"]["shutdown"] == 3


@trio_test
async def test_drops_are_logged_once_per_episode_with_count_reason_and_duration(
    unix: Destination, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(unix, queue=10) as output:
        await until_state(output, "down")
        for _ in range(3):
            offer(output, 20)
            await trio.sleep(0.2)
        await trio.sleep(10)
        offer(output, 5)
        await trio.sleep(10)
    lines = [record.getMessage() for record in caplog.records if " dropped " in record.getMessage()]
    assert lines[0].startswith("tap tap dropped 50 messages in 0.4 s (50 queue_full)")
    assert lines[1] == "tap tap dropped 5 messages in 0.0 s (5 queue_full)"
    assert lines[2] == "tap tap dropped 10 messages in 0.0 s (10 shutdown)"
    assert len(lines) == 3


@trio_test
async def test_drops_of_a_connected_tap_are_logged_though_nothing_happens_any_more(
    unix: Destination, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with Receiver(unix).listening() as receiver, running(unix, queue=10) as output:
        await until_state(output, "connected")
        offer(output, 15)
        await receiver.wait_for(10)
        await trio.sleep(3)
        assert "tap tap dropped 5 messages in 0.0 s (5 queue_full)" in caplog.messages


@trio_test
async def test_each_change_of_state_is_logged_once(
    unix: Destination, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(unix) as output:
        await trio.sleep(20)
        async with Receiver(unix).listening() as receiver:
            offer(output, 1)
            await receiver.wait_for(1)
        await trio.sleep(20)
    assert caplog.messages == [
        "tap tap down: No such file or directory",
        "tap tap connected",
        "tap tap down: closed by the collector",
        "tap tap: offered=1 sent=1 queued=0 dropped=0",
    ]


@trio_test
async def test_a_refused_tcp_connection_says_so() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with running(Destination("tcp", host="127.0.0.1", port=unused.getsockname()[1])) as output:
            await until_state(output, "down")
            assert output.tap_status()["last_error"] == "Connection refused"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@trio_test
async def test_collectors_are_reached_over_tcp_by_address_and_by_name(host: str) -> None:
    async with Receiver(TCP).listening() as receiver:
        async with running(Destination("tcp", host=host, port=receiver.destination.port)) as output:
            sent = offer(output, 3000)
            await receiver.wait_for(3000)
        assert receiver.frames == sent
        assert receiver.stops == 1


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def server_context(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def tls_to(receiver: Receiver, host: str = "127.0.0.1") -> Destination:
    return Destination("tls", host=host, port=receiver.destination.port)


@pytest.mark.parametrize(
    ("certified", "host", "server_name"),
    [
        ("127.0.0.1", "127.0.0.1", None),
        ("localhost", "localhost", None),
        ("tap.example.org", "127.0.0.1", "tap.example.org"),
    ],
)
@trio_test
async def test_a_verified_collector_gets_everything_over_tls(
    authority: trustme.CA, ca: str, certified: str, host: str, server_name: str | None
) -> None:
    async with Receiver(TCP, server_context(authority, certified)).listening() as receiver:
        async with running(tls_to(receiver, host), TlsOptions(ca=ca, server_name=server_name)) as output:
            payloads = [bytes([number % 256]) * 2000 for number in range(2000)]
            for payload in payloads:
                output.offer(data_frame(payload))
            await receiver.wait_for(len(payloads))
        assert receiver.frames == payloads
        assert (receiver.stops, receiver.broken) == (1, [])


@pytest.mark.parametrize(
    ("certified", "trusted", "error"),
    [
        ("other.example.org", True, "IP address mismatch"),
        ("127.0.0.1", False, "unable to get local issuer certificate"),
    ],
)
@trio_test
async def test_a_collector_that_cannot_be_verified_gets_nothing(
    authority: trustme.CA, ca: str, certified: str, trusted: bool, error: str
) -> None:
    async with Receiver(TCP, server_context(authority, certified)).listening() as receiver:
        async with running(tls_to(receiver), TlsOptions(ca=ca if trusted else None)) as output:
            offer(output, 1)
            await until_state(output, "down")
            assert error in output.tap_status()["last_error"]
        assert receiver.frames == []


@trio_test
async def test_skip_verify_takes_any_certificate_and_warns(
    authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    context = server_context(authority, "other.example.org")
    async with Receiver(TCP, context).listening() as receiver:
        async with running(tls_to(receiver), TlsOptions(skip_verify=True)) as output:
            offer(output, 1)
            await receiver.wait_for(1)
        assert receiver.stops == 1
    assert "tap tap does not verify its collector: skip_verify is on" in caplog.messages


@trio_test
async def test_a_collector_may_ask_for_our_certificate(authority: trustme.CA, ca: str, tmp_path: Path) -> None:
    context = server_context(authority, "127.0.0.1")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    ours = authority.issue_cert("proxy.example.org")
    ours.private_key_pem.write_to_path(tmp_path / "key.pem")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    async with Receiver(TCP, context).listening() as receiver:
        tls = TlsOptions(ca=ca, cert=str(tmp_path / "cert.pem"), key=str(tmp_path / "key.pem"))
        async with running(tls_to(receiver), tls) as output:
            offer(output, 1)
            await receiver.wait_for(1)
