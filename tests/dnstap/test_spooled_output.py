"""A tap with a spool: whatever its collector does, everything arrives, in order, and the books balance.

In real time: a test's clock would jump while a thread waits for the disk.
"""

import ssl
import time
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from trio.testing import trio_test

from dnsproxy.dnstap import spooler
from dnsproxy.dnstap.backlog import MAX_FRAME
from dnsproxy.dnstap.destination import Destination, TlsOptions
from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.dnstap.output import Output, OutputOptions
from dnsproxy.dnstap.socket_output import SocketOutput
from dnsproxy.dnstap.spool import SpoolOptions
from tests.dnstap import outputs
from tests.dnstap.outputs import NO_TLS, check_books, offer
from tests.dnstap.receiver import Receiver
from tests.dnstap.spools import append, messages_in, octets_in, opened, segments
from tests.dnstap.waiting import until

QUEUE = 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


def running(
    destination: Destination,
    folder: Path,
    tls: TlsOptions = NO_TLS,
    *,
    spool_octets: int = 1 << 20,
    **options: Any,
) -> AbstractAsyncContextManager[SocketOutput]:
    """An output with a spool that is drained at the end of the block."""
    spool = SpoolOptions(str(folder), spool_octets)
    return outputs.running(destination, tls, queue=QUEUE, spool=spool, **options)


async def until_spooled(output: Output, count: int) -> None:
    await until(lambda: output.tap_status()["spooled"] >= count)


@trio_test
async def test_an_outage_fills_the_spool_and_everything_arrives_in_order(unix: Destination, folder: Path) -> None:
    async with running(unix, folder) as output:
        sent = offer(output, 1000)
        assert output.tap_status()["queued"] == 1000
        await until_spooled(output, 1000)
        sent += offer(output, 10, 1000)
        async with Receiver(unix).listening() as receiver:
            for number in range(1010, 2000, 10):
                sent += offer(output, 10, number)
                await trio.sleep(0.001)
            await receiver.wait_for(2000)
            assert receiver.frames == sent
            await until(lambda: not messages_in(folder))
            sent += offer(output, 5, 2000)
            await receiver.wait_for(2005)
        status = check_books(output)
        assert (status["offered"], status["sent"], status["connects"]) == (2005, 2005, 1)
    assert octets_in(folder) == 0


@trio_test
async def test_an_outage_that_the_queue_bridges_leaves_the_disk_alone(unix: Destination, folder: Path) -> None:
    async with running(unix, folder) as output:
        sent = offer(output, QUEUE - 1)
        async with Receiver(unix).listening() as receiver:
            await receiver.wait_for(QUEUE - 1)
            assert receiver.frames == sent
            assert messages_in(folder) == []


@trio_test
async def test_a_stalled_collector_fills_the_spool_and_stays_connected(unix: Destination, folder: Path) -> None:
    async with Receiver(unix).listening() as receiver, running(unix, folder) as output:
        receiver.reading = trio.Event()
        sent = []
        for number in range(0, 3000, 100):
            sent += offer(output, 100, number, size=200)
            await trio.sleep(0.001)
        await until(lambda: len(messages_in(folder)) > 1000)
        receiver.reading.set()
        await receiver.wait_for(3000)
        assert receiver.frames == sent
        assert (output.connects, receiver.connections) == (1, 1)


@trio_test
async def test_a_connection_that_is_lost_while_the_spool_is_sent_costs_what_its_kernel_had_and_no_more(
    unix: Destination, folder: Path
) -> None:
    arrived = []
    async with running(unix, folder, spool_octets=1 << 24) as output:
        sent = offer(output, 20_000, size=100)
        await until_spooled(output, 20_000)
        for _ in range(3):
            async with Receiver(unix).listening() as receiver:
                await until(lambda: receiver.frames)
                check_books(output)
            arrived += receiver.frames
            await until(lambda: output.state == "down")
            check_books(output)
        assert output.tap_status()["spooled"] > 0
        async with Receiver(unix).listening() as receiver:
            await until(lambda: output.tap_status()["queued"] == 0)
            await until(lambda: receiver.frames and receiver.frames[-1] == sent[-1])
        arrived += receiver.frames
    assert len(set(arrived)) == len(arrived)
    assert arrived == sorted(arrived, key=lambda payload: int(payload.split()[0]))
    assert output.tap_status()["sent"] == 20_000 >= len(arrived) > 18_000


@trio_test
async def test_what_is_left_at_the_end_is_delivered_after_the_next_start(unix: Destination, folder: Path) -> None:
    async with running(unix, folder) as output:
        sent = offer(output, 10)
        await until(lambda: output.state == "down")
    status = output.tap_status()
    assert (status["offered"], status["queued"], sum(status["dropped"].values())) == (10, 10, 0)
    await trio.sleep(0.2)
    async with running(unix, folder) as output:
        status = output.tap_status()
        assert (status["offered"], status["queued"], status["spooled"]) == (10, 10, 10)
        assert 0.2 <= status["oldest_queued_s"] < 60
        sent += offer(output, 5, 10)
        async with Receiver(unix).listening() as receiver:
            await receiver.wait_for(15)
            assert receiver.frames == sent


@trio_test
async def test_a_frame_that_was_begun_at_the_end_is_the_first_after_the_next_start(
    unix: Destination, folder: Path
) -> None:
    async with Receiver(unix).listening() as receiver:
        async with running(unix, folder, drain_s=0.1, spool_octets=1 << 24) as output:
            await until(lambda: output.state == "connected")
            receiver.reading = trio.Event()
            sent = offer(output, 100, size=90_000)
            await until_spooled(output, 90)
        taken = output.tap_status()["sent"]
        assert (output.tap_status()["queued"], 0 < taken < 10) == (100 - taken, True)
        assert sorted(messages_in(folder)) == sorted(sent[taken:])
    async with Receiver(unix).listening() as receiver, running(unix, folder, spool_octets=1 << 24):
        await receiver.wait_for(100 - taken)
        assert receiver.frames == sent[taken:]


@trio_test
async def test_an_output_that_is_cancelled_keeps_what_it_held(unix: Destination, folder: Path) -> None:
    async with trio.open_nursery() as nursery:
        spool = SpoolOptions(str(folder))
        output = SocketOutput(OutputOptions("tap", unix, NO_TLS, QUEUE, 1 << 20, spool=spool))
        await nursery.start(output.run)
        sent = offer(output, 3)
        nursery.cancel_scope.cancel()
    assert messages_in(folder) == sent
    assert check_books(output)["queued"] == 3


@pytest.mark.parametrize("overflow", ["newest", "oldest"])
@trio_test
async def test_a_full_spool_gives_up_the_end_that_was_chosen(
    unix: Destination, folder: Path, overflow: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(unix, folder, spool_octets=64 << 10, overflow=overflow) as output:
        sent = []
        for number in range(0, 3000, 50):
            sent += offer(output, 50, number, size=100)
            await trio.sleep(0.002)
            assert octets_in(folder) <= 64 << 10
        await until(lambda: output.tap_status()["dropped"]["spool_full"] > 0)
        await trio.sleep(0.3)
        status = check_books(output)
        kept = status["queued"]
        assert (status["offered"], kept + status["dropped"]["spool_full"]) == (3000, 3000)
        async with Receiver(unix).listening() as receiver:
            await receiver.wait_for(kept)
            first = receiver.frames[0] == sent[0]
            last = receiver.frames[-1] == sent[-1]
            assert (first, last) == ((True, False) if overflow == "newest" else (False, True))
            offer(output, 5, 3000)
            await receiver.wait_for(kept + 5)
        assert check_books(output)["dropped"] == status["dropped"]
    lines = [line for line in caplog.messages if "dropped" in line]
    assert lines[0].startswith("tap tap dropped ")
    assert "spool_full" in lines[0]


@trio_test
async def test_where_there_can_be_no_spool_the_queue_does_what_it_can_and_goes_on_when_there_can(
    unix: Destination, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "there").write_text("in the way")
    async with running(unix, tmp_path / "there" / "spool") as output:
        sent = offer(output, 100)
        await until(lambda: output.tap_status()["queued"] == QUEUE)
        (tmp_path / "there").unlink()
        await until_spooled(output, QUEUE)
        offer(output, 30, 200)
        async with Receiver(unix).listening() as receiver:
            await receiver.wait_for(QUEUE + 30)
            assert receiver.frames[:QUEUE] == sent[:QUEUE]
        assert check_books(output)["dropped"]["queue_full"] + check_books(output)["dropped"]["spool_full"] == 80
    told = [line for line in caplog.messages if "spool" in line and "dropped" not in line]
    assert told == ["tap tap cannot spool: Not a directory"]


@trio_test
async def test_what_is_damaged_is_passed_over(
    unix: Destination, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spool, _ = opened(folder)
    append(spool, [data_frame(b"%d" % number) for number in range(10)])
    spool.close()
    (path,) = segments(folder)
    path.write_bytes(path.read_bytes()[:57] + b"\xff" * 100)
    async with Receiver(unix).listening() as receiver, running(unix, folder) as output:
        sent = offer(output, 3)
        await until(lambda: receiver.frames[-3:] == sent)
        assert check_books(output)["offered"] == 6
    assert "is damaged at octet" in caplog.text


@trio_test
async def test_two_outputs_may_follow_one_another_on_a_folder(
    unix: Destination, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooler, "ADOPT_S", 0.05)
    async with running(unix, folder) as before:
        sent = offer(before, 100)
        await until_spooled(before, 100)
        async with running(unix, folder) as after:
            await trio.sleep(0.1)
            assert after.tap_status()["queued"] == 0
            await before.drain(1)
            await until(lambda: after.tap_status()["spooled"] == 100)
            async with Receiver(unix).listening() as receiver:
                await receiver.wait_for(100)
                assert receiver.frames == sent


@trio_test
async def test_several_connections_share_a_spool(unix: Destination, folder: Path) -> None:
    async with running(unix, folder, connections=3) as output:
        sent = offer(output, 2000, size=50)
        await until_spooled(output, 2000)
        async with Receiver(unix).listening() as receiver:
            await until(lambda: receiver.connections == 3)
            sent += offer(output, 100, 2000)
            await receiver.wait_for(2100)
            assert sorted(receiver.frames) == sorted(sent)


@trio_test
async def test_a_connection_that_stalls_leaves_the_spool_to_the_others(unix: Destination, folder: Path) -> None:
    async with running(unix, folder, connections=2, drain_s=0.1) as output:
        sent = offer(output, 4000, size=200)
        await until_spooled(output, 4000)
        receiver = Receiver(unix)
        receiver.stall_one()
        async with receiver.listening():
            await until(lambda: output.tap_status()["queued"] <= 1)
            assert (receiver.stalled, output.connects) == (1, 2)
            await until(lambda: sent[-1] in receiver.frames)
            assert receiver.frames == sorted(receiver.frames, key=sent.index)
            in_kernel = 4000 - len(receiver.frames)
            assert 0 < in_kernel < 1000


@trio_test
async def test_a_spool_is_sent_over_tls(folder: Path, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    spool, _ = opened(folder, 1 << 24)
    payloads = [b"%d " % number * (1 + number % 200) for number in range(3000)]
    payloads[1000:1000] = [bytes(MAX_FRAME - 4)]
    append(spool, [data_frame(payload) for payload in payloads])
    spool.close()
    async with Receiver(Destination("tcp", host="127.0.0.1"), context).listening() as receiver:
        receiver.reading = trio.Event()
        destination = Destination("tls", host="127.0.0.1", port=receiver.destination.port)
        tls = TlsOptions(ca=str(tmp_path / "ca.pem"))
        async with running(destination, folder, tls, spool_octets=1 << 24) as output:
            receiver.reading.set()
            await receiver.wait_for(len(payloads))
            assert receiver.frames == payloads
            payloads += offer(output, 5)
            await receiver.wait_for(len(payloads))
        assert (receiver.frames, receiver.stops, receiver.broken) == (payloads, 1, [])


@trio_test
async def test_the_oldest_message_is_as_old_as_it_is_wherever_it_waits(unix: Destination, folder: Path) -> None:
    began = time.monotonic()
    async with running(unix, folder) as output:
        offer(output, 10)
        await trio.sleep(0.5)
        offer(output, 1000, 10)
        await until_spooled(output, 1000)
        age_s = output.tap_status()["oldest_queued_s"]
        assert 0.5 <= age_s <= time.monotonic() - began + 0.01
    async with running(unix, folder) as output:
        assert age_s <= output.tap_status()["oldest_queued_s"] <= time.monotonic() - began + 1.1
