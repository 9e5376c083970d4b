"""Taps' ways out: what is offered arrives in order, over connections that come and go."""

import pytest
import trio
from trio.testing import MockClock, trio_test, wait_all_tasks_blocked

from dnsproxy.dnstap.destination import Destination
from dnsproxy.dnstap.framestreams import data_frame
from tests.dnstap.outputs import TCP, offer, running, until_state
from tests.dnstap.receiver import Receiver


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
async def test_the_oldest_message_is_no_older_than_it_looks_while_messages_trickle_in(
    unix: Destination, autojump_clock: MockClock
) -> None:
    async with Receiver(unix).listening() as receiver, running(unix, flush_s=0.1) as output:
        await until_state(output, "connected")
        for number in range(150):
            offer(output, 1, number)
            assert output.tap_status()["oldest_queued_s"] < 0.2
            await trio.sleep(0.02)
        await receiver.wait_for(150)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost."])
@trio_test
async def test_collectors_are_reached_over_tcp_by_address_and_by_name(host: str) -> None:
    async with Receiver(TCP).listening() as receiver:
        async with running(Destination("tcp", host=host, port=receiver.destination.port)) as output:
            sent = offer(output, 3000)
            await receiver.wait_for(3000)
        assert receiver.frames == sent
        assert receiver.stops == 1
