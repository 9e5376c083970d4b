"""Collectors that are killed, silent, rude or slow at the end: a tap goes on, and its books balance."""

import itertools
import random
import socket

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.dnstap.destination import Destination
from dnsproxy.dnstap.framestreams import control_frame, data_frame
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.socket_output import SocketOutput
from tests.dnstap.outputs import NO_TLS, check_books, offer, running, until_state
from tests.dnstap.receiver import Receiver, unix_listener
from tests.dnstap.waiting import until


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
async def test_pauses_between_attempts_grow_from_a_tenth_of_a_second_to_two(
    unix: Destination, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried_at: list[float] = []

    async def refuse(*_: object) -> None:
        tried_at.append(trio.current_time())
        raise ConnectionRefusedError

    monkeypatch.setattr("dnsproxy.dnstap.socket_output.connect", refuse)
    async with running(unix, drain_s=0.5):
        await trio.sleep(30)
        pauses = [after - before for before, after in itertools.pairwise(tried_at)]
    for pause, longest in zip(pauses, [0.1, 0.2, 0.4, 0.8, 1.6], strict=False):
        assert longest / 2 <= pause <= longest
    assert all(0.5 <= pause <= 2 for pause in pauses[5:])
    assert len(set(pauses[5:])) > 3, "not in step with others"


@trio_test
async def test_a_connection_that_does_not_come_about_is_given_up_in_time(
    unix: Destination, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stall(*_: object) -> None:  # as a host that swallows packets, or a peer silent in the TLS handshake
        await trio.sleep_forever()

    monkeypatch.setattr("dnsproxy.dnstap.socket_output.connect", stall)
    async with running(unix, drain_s=0.5) as output:
        assert await until_state(output, "down") == pytest.approx(5, abs=0.1)
        assert output.tap_status()["last_error"] == "no connection within 5 s"


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
async def test_a_refused_tcp_connection_says_so() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with running(Destination("tcp", host="127.0.0.1", port=unused.getsockname()[1])) as output:
            await until_state(output, "down")
            assert output.tap_status()["last_error"] == "Connection refused"
