"""Several connections of one tap: they share a queue and its books, and none holds up the others."""

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.dnstap.destination import Destination
from tests.dnstap.outputs import offer, running
from tests.dnstap.receiver import Receiver
from tests.dnstap.waiting import until


@trio_test
async def test_all_are_made_and_used_and_each_stream_is_finished(unix: Destination, autojump_clock: MockClock) -> None:
    async with Receiver(unix).listening() as receiver:
        async with running(unix, connections=3) as output:
            await until(lambda: receiver.connections == 3)
            sent = []
            for number in range(0, 90, 10):
                sent += offer(output, 10, number)
                await receiver.wait_for(len(sent))
            assert receiver.frames == sent
            assert (output.connects, output.state) == (3, "connected")
        assert receiver.stops == 3
    assert [len(frames) for frames in receiver.by_connection] == [30, 30, 30]


@trio_test
async def test_one_that_stalls_keeps_what_its_kernel_has_and_a_frame_that_is_begun(
    unix: Destination, autojump_clock: MockClock
) -> None:
    receiver = Receiver(unix)
    receiver.stall_one()
    async with receiver.listening(), running(unix, connections=2) as output:
        await until(lambda: receiver.connections == 2)
        sent = []
        for number in range(0, 2000, 100):
            sent += offer(output, 100, number, size=5000)
            await trio.sleep(0.2)
        assert output.tap_status()["queued"] <= 1
        assert len(receiver.frames) > 1800
        assert set(receiver.frames) < set(sent)


@trio_test
async def test_one_that_is_lost_gives_its_frames_to_the_others_and_comes_back(
    unix: Destination, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    receiver = Receiver(unix)
    receiver.stall_one()
    async with receiver.listening(), running(unix, connections=2) as output:
        await until(lambda: receiver.connections == 2)
        sent = []
        for number in range(0, 500, 100):
            sent += offer(output, 100, number, size=5000)
            await trio.sleep(0.2)
        assert output.tap_status()["queued"] == 1
        receiver.drop_stalled()
        await until(lambda: output.tap_status()["queued"] == 0)
        await until(lambda: receiver.connections == 3)
        assert (output.state, output.connects) == ("connected", 3)
        assert output.last_error
    assert "down" not in caplog.text, "the tap was connected all the time"


@trio_test
async def test_a_tap_is_down_when_none_is_left_which_is_told_once(
    unix: Destination, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with running(unix, connections=4) as output:
        async with Receiver(unix).listening() as receiver:
            await until(lambda: receiver.connections == 4)
        await until(lambda: output.state == "down")
        await trio.sleep(10)
        async with Receiver(unix).listening() as receiver:
            await until(lambda: receiver.connections == 4)
    assert caplog.messages[caplog.messages.index("tap tap connected") :] == [
        "tap tap connected",
        "tap tap down: closed by the collector",
        "tap tap connected",
        "tap tap down: closed by the collector",
        "tap tap: offered=0 sent=0 queued=0 dropped=0",
    ]


@trio_test
async def test_at_the_end_all_of_them_write_what_is_left(unix: Destination, autojump_clock: MockClock) -> None:
    async with Receiver(unix).listening() as receiver:
        async with running(unix, connections=3, flush_s=3600, batch=100_000) as output:
            await until(lambda: receiver.connections == 3)
            sent = offer(output, 3000, size=300)
        assert sorted(receiver.frames) == sorted(sent)
        assert (receiver.stops, receiver.broken) == (3, [])
