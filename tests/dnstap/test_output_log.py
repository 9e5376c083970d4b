"""What a tap logs of its way out: drops once an episode, and each change of its state."""

import logging

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.dnstap.destination import Destination
from tests.dnstap.outputs import offer, running, until_state
from tests.dnstap.receiver import Receiver


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
