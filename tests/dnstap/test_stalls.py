"""A tap that is not well says so, before anybody misses its messages: when it stalls, and when it goes on."""

import logging

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.dnstap.destination import Destination
from dnsproxy.dnstap.framestreams import data_frame
from tests.dnstap.outputs import running
from tests.dnstap.receiver import Receiver
from tests.dnstap.waiting import until


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [line for line in caplog.messages if "stalled" in line or "goes on" in line]


@trio_test
async def test_a_collector_that_takes_nothing_for_long_is_a_stall_and_told_once(
    unix: Destination, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with Receiver(unix).listening() as receiver, running(unix) as output:
        await until(lambda: output.state == "connected")
        receiver.reading = trio.Event()
        for _ in range(1000):
            output.offer(data_frame(bytes(1000)))
        await trio.sleep(28)
        assert (output.tap_status()["stalled"], told(caplog)) == (False, [])
        await trio.sleep(5)
        queued = output.tap_status()["queued"]
        assert (output.tap_status()["stalled"], output.tap_status()["state"]) == (True, "connected")
        await trio.sleep(100)
        (line,) = told(caplog)
        assert line in {f"tap tap stalled: {queued} queued, none accepted for {seconds} s" for seconds in (30, 31)}
        receiver.reading.set()
        await until(lambda: output.tap_status()["queued"] == 0)
        await trio.sleep(2)
        assert not output.tap_status()["stalled"]
    assert len(told(caplog)) == 2
    assert told(caplog)[1].startswith("tap tap goes on, after 13")


@trio_test
async def test_an_outage_is_a_stall_too_if_there_is_something_to_send(
    unix: Destination, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(unix, stall_s=5) as output:
        await trio.sleep(60)
        assert (output.tap_status()["state"], output.tap_status()["stalled"]) == ("down", False)
        output.offer(data_frame(b"x"))
        await trio.sleep(7)
        assert output.tap_status()["stalled"]
    assert [line.split(":")[0] for line in told(caplog)] == ["tap tap stalled"]


@trio_test
async def test_a_tap_that_has_nothing_to_send_or_sends_it_slowly_does_not_stall(
    unix: Destination, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with Receiver(unix).listening() as receiver, running(unix, stall_s=5) as output:
        for _ in range(10):
            await trio.sleep(20)
            output.offer(data_frame(b"x"))
        receiver.reading = trio.Event()
        for _ in range(20):
            for _ in range(20):
                output.offer(data_frame(bytes(50_000)))
            await trio.sleep(4)
            sent = output.tap_status()["sent"]
            assert output.tap_status()["queued"] > 0
            receiver.reading.set()
            await until(lambda sent=sent: output.tap_status()["sent"] > sent)  # type: ignore[misc]
            receiver.reading = trio.Event()
    assert told(caplog) == []
