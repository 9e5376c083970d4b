"""Taps that collectors dial: each has its own queue and pays for nobody else, and the books are sums over all."""

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.dnstap import reception
from dnsproxy.dnstap.destination import Destination, ListenUrl, TlsOptions
from dnsproxy.dnstap.framestreams import DNSTAP, ControlType, control_frame, data_frame
from dnsproxy.dnstap.listening_output import ListeningOutput
from dnsproxy.dnstap.listening_socket import ListenError
from dnsproxy.dnstap.listening_tap import ListeningTap, lease_key
from dnsproxy.dnstap.output import OutputOptions
from tests.dnstap.dialer import Dialer, address, dial
from tests.dnstap.waiting import until

READY = control_frame(ControlType.READY, DNSTAP)


def options(where: Destination, queue: int = 10_000, name: str = "tap") -> OutputOptions:
    return OutputOptions(name, where, TlsOptions(), queue, 1 << 26, listening=True)


@pytest.fixture
def unix(tmp_path: Path) -> Destination:
    return ListenUrl("unix", path=str(tmp_path / "tap.sock"))


@asynccontextmanager
async def running(made: OutputOptions, *, drain_s: float = 5.0) -> AsyncIterator[ListeningOutput]:
    """A tap that is drained at the end of the block."""
    output = ListeningOutput(made)
    async with trio.open_nursery() as nursery:
        await nursery.start(output.run)
        yield output
        check_books(output)
        await output.drain(drain_s)
    check_books(output)
    assert output.tap_status()["queued"] == 0


def check_books(output: ListeningTap) -> None:
    status = output.tap_status()
    assert status["offered"] == status["sent"] + status["queued"] + sum(status["dropped"].values())


def offer(output: ListeningTap, count: int, octets: int = 9) -> list[bytes]:
    payloads = [b"frame %d" % number + bytes(octets) for number in range(count)]
    for payload in payloads:
        output.offer(data_frame(payload))
    return payloads


@trio_test
async def test_every_collector_gets_what_is_offered_from_its_start_on(
    unix: Destination, autojump_clock: MockClock
) -> None:
    async with running(options(unix)) as output, Dialer(unix).connected() as first:
        sent = offer(output, 3)
        async with Dialer(unix).connected() as second:
            sent += offer(output, 2)
            await first.wait_for(5)
            await second.wait_for(2)
            status = output.tap_status()
        await output.drain(5)
    assert (first.frames, second.frames) == (sent, sent[3:])
    assert (first.stops, first.broken) == (1, [])
    assert status == {
        "name": "tap",
        "socket": str(unix),
        "state": "listening",
        "offered": 7,
        "sent": 7,
        "queued": 0,
        "dropped": {"queue_full": 0, "spool_full": 0, "oversize": 0, "shutdown": 0, "disconnected": 0},
        "bytes": sum(len(data_frame(payload)) for payload in sent + sent[3:]),
        "oldest_queued_s": 0.0,
        "spooled": 0,
        "stalled": False,
        "connects": 2,
        "last_error": None,
        "collectors": 2,
    }
    assert output.tap_status()["state"] == "closed"


@trio_test
async def test_without_collectors_nothing_is_offered(unix: Destination) -> None:
    async with running(options(unix)) as output:
        offer(output, 10)
        output.lose(3)
        assert output.tap_status()["offered"] == 0
        assert output.tap_status()["state"] == "listening"


@trio_test
async def test_nothing_is_missed_between_start_and_the_first_frame(unix: Destination) -> None:
    """What a collector causes once it has its START comes to it."""
    async with running(options(unix)) as output, await dial(unix) as stream:
        assert await stream.receive_some() == READY
        await stream.send_all(control_frame(ControlType.ACCEPT, DNSTAP))
        assert await stream.receive_some() == control_frame(ControlType.START, DNSTAP)
        output.offer(data_frame(b"first"))
        assert await stream.receive_some() == data_frame(b"first")


@trio_test
async def test_a_stalled_collector_fills_its_own_queue_and_nobody_elses(
    unix: Destination, autojump_clock: MockClock
) -> None:
    async with running(options(unix, queue=100), drain_s=1) as output:
        async with Dialer(unix).connected() as stalled, Dialer(unix).connected() as well:
            stalled.reading = trio.Event()
            sent = []
            for _ in range(100):
                sent += offer(output, 50, octets=2000)
                await well.wait_for(len(sent))
            status = output.tap_status()
            assert well.frames == sent
            assert status["queued"] == 100
            assert status["dropped"]["queue_full"] == 2 * len(sent) - status["sent"] - 100 > 1000
            assert output.tap_status()["state"] == "listening"
            began = trio.current_time()
            await output.drain(1)
            assert trio.current_time() - began == pytest.approx(1, abs=0.1)
            assert well.stops == 1
        assert output.tap_status()["dropped"]["shutdown"] == 100


@trio_test
async def test_what_a_collector_did_not_get_when_it_left_is_counted_and_the_others_go_on(
    unix: Destination, autojump_clock: MockClock
) -> None:
    async with running(options(unix)) as output, Dialer(unix).connected() as stays:
        async with Dialer(unix).connected() as leaves:
            leaves.reading = trio.Event()
            offer(output, 500, octets=2000)
            await stays.wait_for(500)
            leaves.kill()
        await until(lambda: output.tap_status()["collectors"] == 1)
        status = output.tap_status()
        assert (status["offered"], status["queued"]) == (1000, 0)
        assert status["dropped"]["disconnected"] == 1000 - status["sent"] > 0
        assert status["last_error"] in ("closed by the collector", "Broken pipe", "Connection reset by peer")
        offer(output, 1)
        await stays.wait_for(501)
        assert output.tap_status()["offered"] == 1001


@trio_test
async def test_a_collector_that_comes_again_begins_anew_and_numbers_go_on(
    unix: Destination, autojump_clock: MockClock
) -> None:
    async with running(options(unix)) as output:
        for _ in range(20):
            async with Dialer(unix).connected() as dialer:
                offer(output, 5)
                await dialer.wait_for(5)
            await until(lambda: not output.tap_status()["collectors"])
            offer(output, 5)
        status = output.tap_status()
        assert (status["offered"], status["sent"], status["connects"]) == (100, 100, 20)


@trio_test
async def test_a_collector_that_never_answers_is_left_after_five_seconds_and_delays_nobody(
    unix: Destination, autojump_clock: MockClock
) -> None:
    async with running(options(unix)) as output:
        silent = Dialer(unix)
        silent.silent = True
        async with silent.dialling():
            began = trio.current_time()
            async with Dialer(unix).connected() as dialer:
                assert trio.current_time() - began < 0.5
                offer(output, 1)
                await dialer.wait_for(1)
            await silent.gone.wait()
            assert trio.current_time() - began == pytest.approx(5, abs=0.2)
        assert not silent.started
        assert output.tap_status()["last_error"] == "no ACCEPT within 5 s"
        assert output.tap_status()["offered"] == 1


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "frame of 1195725856 octets"),
        (control_frame(ControlType.ACCEPT, b"other"), "the receiver takes 'other'"),
        (control_frame(ControlType.START, DNSTAP), "START when READY was said"),
        (data_frame(b"hello"), "frame of 5 octets"),
        (b"\0\0\0\0\0\0\xff\xff", "control frame of 65535 octets"),
        (b"", "closed before ACCEPT"),
    ],
)
@trio_test
async def test_whoever_speaks_something_else_is_left_at_once(
    unix: Destination, octets: bytes, error: str, autojump_clock: MockClock
) -> None:
    async with running(options(unix)) as output:
        async with await dial(unix) as stream:
            assert await stream.receive_some() == READY
            if octets:
                await stream.send_all(octets)
                assert [part async for part in stream] == []
        await until(lambda: output.tap_status()["last_error"])
        assert output.tap_status()["last_error"] == error
        assert (output.tap_status()["connects"], output.tap_status()["offered"]) == (0, 0)


@trio_test
async def test_a_collector_that_sends_on_and_on_is_left(unix: Destination, autojump_clock: MockClock) -> None:
    async with running(options(unix)) as output, await dial(unix) as stream:
        await stream.send_all(control_frame(ControlType.ACCEPT, DNSTAP))
        await until(lambda: output.tap_status()["collectors"])
        await stream.send_all(data_frame(b"what is this?"))
        await until(lambda: not output.tap_status()["collectors"])
        assert output.tap_status()["last_error"] == "frame of 13 octets"


@trio_test
async def test_a_collector_that_talks_without_end_is_left_and_keeps_nobody_from_their_turn(unix: Destination) -> None:
    async with running(options(unix)) as output, await dial(unix) as chatterer, Dialer(unix).connected() as other:
        await chatterer.send_all(control_frame(ControlType.ACCEPT, DNSTAP) + control_frame(99) * 1000)
        await until(lambda: output.tap_status()["collectors"] == 2)
        offer(output, 1)
        await other.wait_for(1)
        await chatterer.send_all(control_frame(99) * 5000)
        await until(lambda: output.tap_status()["collectors"] == 1)
        assert output.tap_status()["last_error"] == "the receiver said more than 65536 octets"


@trio_test
async def test_who_waits_in_a_handshake_makes_room_for_others(unix: Destination, autojump_clock: MockClock) -> None:
    async with running(options(unix)) as output, trio.open_nursery() as nursery:
        idlers = [await dial(unix) for _ in range(reception.NEWCOMERS_MAX + 30)]
        async with Dialer(unix).connected() as dialer:
            offer(output, 1)
            await dialer.wait_for(1)
            assert output.tap_status()["last_error"] == "too slow while others wait"
        for stream in idlers:
            nursery.start_soon(stream.aclose)


@trio_test
async def test_no_more_collectors_than_there_is_room_for_are_let_in(
    unix: Destination, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reception, "COLLECTORS_MAX", 2)
    async with running(options(unix)) as output:
        async with Dialer(unix).connected() as first, Dialer(unix).connected():
            third = Dialer(unix)
            async with third.dialling():
                await third.gone.wait()
            assert output.tap_status()["last_error"] == "there are 2 collectors"
            offer(output, 1)
            await first.wait_for(1)
        await until(lambda: not output.tap_status()["collectors"])
        async with Dialer(unix).connected():
            assert output.tap_status()["collectors"] == 1


@trio_test
async def test_refusals_are_logged_once_in_a_while(
    unix: Destination, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(options(unix)) as output:
        for pause_s in [0] * 50 + [61]:
            await trio.sleep(pause_s)
            async with await dial(unix) as stream:
                assert await stream.receive_some() == READY
        await until(lambda: output.tap_status()["last_error"])
    lines = [message for message in caplog.messages if "does not take" in message]
    assert len(lines) == 2
    assert lines[0] == "tap tap does not take #1: closed before ACCEPT"


@trio_test
async def test_coming_and_going_are_a_line_each_and_the_end_is_one_for_all(
    unix: Destination, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(options(unix)) as output:
        for _ in range(2):
            async with Dialer(unix).connected() as dialer:
                offer(output, 1)
                await dialer.wait_for(1)
            await until(lambda: not output.tap_status()["collectors"])
    assert caplog.messages == [
        "tap tap (#1) connected",
        "tap tap (#1) gone: closed by the collector",
        "tap tap (#2) connected",
        "tap tap (#2) gone: closed by the collector",
        "tap tap: offered=2 sent=2 queued=0 dropped=0",
    ]


@trio_test
async def test_a_cancelled_tap_counts_what_it_held_and_listens_no_more(unix: Destination) -> None:
    output = ListeningOutput(options(unix))
    async with trio.open_nursery() as nursery:
        await nursery.start(output.run)
        async with Dialer(unix).connected() as dialer:
            dialer.reading = trio.Event()
            offer(output, 3)
            nursery.cancel_scope.cancel()
    check_books(output)
    assert (output.tap_status()["state"], output.tap_status()["offered"]) == ("closed", 3)
    with pytest.raises(FileNotFoundError):
        await dial(unix)


# where it listens


@trio_test
async def test_port_zero_is_whatever_the_system_gives_and_shows_in_the_status() -> None:
    async with running(options(ListenUrl.from_toml("tcp://127.0.0.1:0"))) as output:
        where = address(output.tap_status())
        assert where.port
        async with Dialer(where).connected() as dialer:
            sent = offer(output, 3000)
            await dialer.wait_for(3000)
            assert dialer.frames == sent
    with socket.socket() as sock:
        assert sock.connect_ex((where.host, where.port)) != 0


def test_an_output_that_never_ran_lets_go_of_its_address(unix: Destination) -> None:
    output = ListeningOutput(options(unix))
    assert Path(unix.path).is_socket()
    output.close()
    assert not Path(unix.path).exists()


def test_a_taken_address_is_an_error_that_names_it(unix: Destination) -> None:
    first = ListeningOutput(options(unix))
    with pytest.raises(ListenError, match=f"cannot listen on {unix}: another process listens on it"):
        ListeningOutput(options(unix))
    first.close()


def test_a_tap_is_the_same_one_by_its_address_alone() -> None:
    where = ListenUrl.from_toml("tcp://127.0.0.1:6000")
    assert lease_key(options(where)) == lease_key(options(where, queue=3, name="other"))
    anywhere = replace(where, port=0)
    assert lease_key(options(anywhere, name="one")) != lease_key(options(anywhere, name="other"))
    assert lease_key(options(anywhere)) == lease_key(options(anywhere, queue=3))


# another configuration


@trio_test
async def test_another_configuration_keeps_the_collectors_and_is_for_those_to_come(
    unix: Destination, autojump_clock: MockClock
) -> None:
    async with running(options(unix), drain_s=1) as output, Dialer(unix).connected() as old:
        output.configure(options(unix, queue=10, name="other"))
        async with Dialer(unix).connected() as new:
            offer(output, 600)
            await old.wait_for(600)
            await new.wait_for(10)
            status = output.tap_status()
    assert (status["name"], status["sent"], status["dropped"]["queue_full"]) == ("other", 610, 590)
