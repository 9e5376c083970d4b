"""What bounds a client's connection: time for it and for each message, queries in flight, answers not read."""

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.listeners.tcp import OUT_BOUND
from dnsproxy.stream import framed
from tests.dnstap.waiting import until
from tests.listeners.tcp_world import IDLE_S, listening
from tests.support.offline import query

# time


@trio_test
async def test_an_idle_connection_is_closed_in_time_and_not_before(autojump_clock: MockClock) -> None:
    async with listening() as world:
        never, once = await world.connect(), await world.connect()
        began = trio.current_time()
        assert await never.receive() == ""
        assert trio.current_time() - began == pytest.approx(IDLE_S, abs=0.1)
        once = await world.connect()
        await trio.sleep(IDLE_S * 0.9)
        assert await once.ask("now.example.org") == "now.example.org"
        began = trio.current_time()
        assert await once.receive() == ""
        assert trio.current_time() - began == pytest.approx(IDLE_S, abs=0.1)


@trio_test
async def test_idleness_begins_with_the_last_answer_not_with_the_last_query(autojump_clock: MockClock) -> None:
    async with listening(tcp_idle=4.0) as world:
        client = await world.connect()
        await client.send("later.example.org")
        await trio.sleep(3.5)
        await world.finish("later.example.org")
        assert await client.receive() == "later.example.org"
        began = trio.current_time()
        assert await client.receive() == ""
        assert trio.current_time() - began == pytest.approx(4.0, abs=0.1)


@trio_test
async def test_a_query_in_flight_keeps_its_connection_open(autojump_clock: MockClock) -> None:
    async with listening(tcp_idle=1.0) as world:
        client = await world.connect()
        await client.send("later.example.org")
        await trio.sleep(4)
        await world.finish("later.example.org")
        assert await client.receive() == "later.example.org"


@trio_test
async def test_a_message_that_takes_too_long_ends_the_connection_after_what_is_owed(autojump_clock: MockClock) -> None:
    async with listening(tcp_idle=2.0) as world:
        client = await world.connect()
        await client.send("later.example.org")
        await trio.sleep(1)
        began = trio.current_time()
        octets = framed(query("now.example.org"))
        for part in (octets[:5], octets[5:10], octets[10:15]):
            await client.stream.send_all(part)
            await trio.sleep(0.8)
        await world.finish("later.example.org")
        assert await client.receive() == "later.example.org"
        assert await client.receive() == ""
        assert trio.current_time() - began == pytest.approx(2.4, abs=0.1)


@trio_test
async def test_a_message_has_that_time_from_its_own_first_octet_on(autojump_clock: MockClock) -> None:
    async with listening(tcp_idle=3.0) as world:
        client = await world.connect()
        octets = framed(query("now.example.org"))
        await trio.sleep(2)
        await client.stream.send_all(octets[:5])
        await trio.sleep(2)
        await client.stream.send_all(octets[5:])
        assert await client.receive() == "now.example.org"


@trio_test
async def test_answers_that_leave_meanwhile_give_a_slow_message_no_more_time(autojump_clock: MockClock) -> None:
    async with listening(tcp_idle=2.0) as world:
        client = await world.connect()
        names = [f"later{number}.example.org" for number in range(3)]
        await client.send(*names)
        await client.stream.send_all(framed(query("now.example.org"))[:5])
        began = trio.current_time()
        for name in names:
            await trio.sleep(0.9)
            await world.finish(name)
            assert await client.receive() == name
        assert await client.receive() in ("", "reset")
        assert trio.current_time() - began == pytest.approx(2.7, abs=0.1)


@trio_test
async def test_the_time_in_which_nothing_is_read_is_not_the_messages(autojump_clock: MockClock) -> None:
    async with listening(tcp_idle=2.0, tcp_queries=1) as world:
        client = await world.connect()
        octets = framed(query("now.example.org"))
        await client.stream.send_all(framed(query("later.example.org")) + octets[:5])
        await trio.sleep(3)
        await client.stream.send_all(octets[5:])
        await world.finish("later.example.org")
        assert [await client.receive(), await client.receive()] == ["later.example.org", "now.example.org"]


# bounds


@trio_test
async def test_no_more_queries_are_in_flight_than_allowed_and_none_is_refused(autojump_clock: MockClock) -> None:
    async with listening(tcp_queries=5) as world:
        client = await world.connect()
        names = [f"later{number}.example.org" for number in range(50)]
        await client.send(*names)
        received: list[str] = []
        while len(received) < 50:
            await until(lambda: len(world.script.waiting) == 5)
            await world.finish()
            received += [await client.receive() for _ in range(5)]
        assert sorted(received) == sorted(names)
        assert world.script.at_most == 5


@trio_test
async def test_a_client_that_does_not_read_is_given_up_and_holds_nobody_up(autojump_clock: MockClock) -> None:
    async with listening() as world:
        lazy, busy = await world.connect(), await world.connect()
        await lazy.send(*(f"big{number}.example.org" for number in range(150)))
        await until(lambda: any(len(one.out) > OUT_BOUND for one in world.listener.connections))
        assert await busy.ask("now.example.org") == "now.example.org"
        assert max(len(one.out) for one in world.listener.connections) < OUT_BOUND + 70_000
        await trio.sleep(IDLE_S / 2)
        assert await busy.ask("now.example.org") == "now.example.org"
        await trio.sleep(IDLE_S / 2 + 1)
        assert len(world.listener.connections) == 1


@trio_test
async def test_a_client_that_reads_slowly_gets_everything_in_the_end(patient_clock: MockClock) -> None:
    async with listening() as world:
        client = await world.connect()
        names = [f"big{number}.example.org" for number in range(150)]
        await client.send(*names)
        await until(lambda: any(len(one.out) > OUT_BOUND for one in world.listener.connections))
        received = [await client.receive() for _ in names]
        assert received == names


@trio_test
async def test_a_client_that_never_reads_its_few_answers_is_given_up_too(autojump_clock: MockClock) -> None:
    async with listening(tcp_queries=3) as world:
        client = await world.connect()
        for number in range(100):
            await client.send(f"big{number}.example.org")
            await trio.sleep(0.01)
            if any(one.out for one in world.listener.connections):
                break
        assert any(0 < len(one.out) < OUT_BOUND for one in world.listener.connections)
        await trio.sleep(IDLE_S * 1.1)
        assert not world.listener.connections


@pytest.mark.parametrize("how", ["reset", "close"])
@trio_test
async def test_a_client_that_leaves_with_answers_and_queries_outstanding_leaves_nothing_behind(
    how: str, autojump_clock: MockClock
) -> None:
    async with listening(tcp_queries=4) as world:
        client = await world.connect()
        await client.send(*(f"big{number}.example.org" for number in range(150)))
        await until(lambda: any(len(one.out) > OUT_BOUND for one in world.listener.connections))
        if how == "reset":
            client.reset()
        else:
            client.stream.socket.close()
        await trio.sleep(1)
        assert not world.listener.connections
        assert world.intake.in_flight == 0


@trio_test
async def test_a_client_that_leaves_before_its_answer_does_no_harm(autojump_clock: MockClock) -> None:
    async with listening() as world:
        client = await world.connect()
        await client.send("later.example.org")
        await until(lambda: world.script.waiting)
        client.reset()
        await trio.sleep(1)
        assert not world.listener.connections
        await world.finish("later.example.org")
        assert world.listener.responses == 1


@trio_test
async def test_connections_are_bounded_in_all_and_for_each_client(autojump_clock: MockClock) -> None:
    async with listening(tcp_connections_per_client=2) as world:
        kept = [await world.connect() for _ in range(2)]
        refused = await world.connect()
        assert await refused.receive() in ("", "reset")
        assert await kept[1].ask("now.example.org") == "now.example.org"
        assert world.intake.refused["tcp_connections_per_client"] == 1
        kept[0].stream.socket.close()
        await until(lambda: len(world.listener.connections) == 1)
        assert await (await world.connect()).ask("now.example.org") == "now.example.org"
    async with listening(tcp_connections=1) as world:
        await (await world.connect()).ask("now.example.org")
        assert await (await world.connect()).receive() in ("", "reset")
        assert world.intake.refused["tcp_connections"] == 1
