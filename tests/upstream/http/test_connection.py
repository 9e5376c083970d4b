"""DoH connections are kept, replaced, refused and lost, and every exchange ends."""

import ssl
import struct
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.upstream.options import IDLE_S, TlsOptions
from dnsproxy.wire import make_opt
from tests.support.authority import Authority
from tests.support.doh import DohConnection, server_context
from tests.support.offline import query
from tests.upstream.http.world import in_use, serving
from tests.upstream.world import TIMEOUT_S, Watching

# ends of connections


@trio_test
async def test_after_a_goaway_old_streams_are_answered_there_and_others_on_a_new_connection(
    open_upstream: Any, clock: MockClock
) -> None:
    async with open_upstream() as world:
        accepted = await in_use(world)
        exchanges = [world.send(f"{number}.example.org") for number in range(4)]
        asked = [await accepted.request() for _ in exchanges]
        await accepted.go_away(asked[1].stream)
        again = await world.accept()
        async with serving(again):
            assert [await world.outcome(exchange) for exchange in exchanges[2:]] == ["answered"] * 2
            assert await world.outcome(world.send("new.example.org")) == "answered"
            assert not exchanges[0].done
            for one in asked[:2]:
                await accepted.respond(one)
            assert [await world.outcome(exchange) for exchange in exchanges[:2]] == ["answered"] * 2
            assert await accepted.until_closed() == []
            assert len(world.connections) == 1
        assert {exchange.attempt for exchange in exchanges} == {1}
        assert world.upstream.failures == 0


@trio_test
async def test_a_peer_may_go_away_after_each_answer_but_not_before_any(open_upstream: Any, clock: MockClock) -> None:
    async with open_upstream() as world:
        exchanges = [world.send(f"{number}.example.org") for number in range(6)]
        for _ in exchanges[:4]:
            accepted = await world.accept()
            asked = await accepted.request()
            await accepted.go_away(asked.stream)
            await accepted.respond(asked)
        for _ in range(2):
            await (await world.accept()).go_away(0)
        outcomes = [await world.outcome(exchange) for exchange in exchanges]
        assert sorted(outcomes) == ["answered"] * 4 + ["closed"] * 2


def reset(accepted: DohConnection) -> None:
    """End it with RST."""
    stream = cast("Any", accepted.stream).transport_stream
    stream.socket.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()


async def end(accepted: DohConnection, how: str) -> None:
    if how == "close":
        await accepted.close()
    else:
        reset(accepted)


HOWS = pytest.mark.parametrize("how", ["close", "reset"])


@HOWS
@trio_test
async def test_what_was_under_way_on_a_used_connection_goes_again_on_a_new_one(
    how: str, open_upstream: Any, clock: MockClock
) -> None:
    async with open_upstream() as world:
        accepted = await in_use(world)
        tap = Watching()
        exchanges = [world.send(f"{number}.example.org", taps=(tap,)) for number in range(5)]
        await accepted.begin(await accepted.request())
        await end(accepted, how)
        async with serving(await world.accept()):
            for exchange in exchanges:
                assert await world.outcome(exchange) == "answered"
        assert len(tap.events) == 3 * len(exchanges), "each was sent twice and answered once"
        assert world.upstream.failures == 0


@HOWS
@trio_test
async def test_a_second_loss_is_a_failed_attempt(how: str, open_upstream: Any, clock: MockClock) -> None:
    async with open_upstream() as world:
        accepted = await in_use(world)
        exchange, other = world.send("one.example.org"), world.send("other.example.org")
        await accepted.request()
        await accepted.close()
        again = await world.accept()
        await again.respond(await again.request())
        await again.request()
        await end(again, how)
        assert sorted([await world.outcome(exchange), await world.outcome(other)]) == ["answered", "closed"]


@HOWS
@trio_test
async def test_a_new_connection_that_is_lost_is_a_failed_attempt(
    how: str, open_upstream: Any, clock: MockClock
) -> None:
    async with open_upstream() as world:
        exchange = world.send()
        accepted = await world.accept()
        await accepted.request()
        await end(accepted, how)
        assert await world.outcome(exchange) == "closed"
        await in_use(world)


@trio_test
async def test_a_peer_that_breaks_the_protocol_is_left_and_told_why(open_upstream: Any, clock: MockClock) -> None:
    async with open_upstream() as world:
        accepted = await in_use(world)
        exchange = world.send()
        await accepted.request()
        await accepted.stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        async with serving(await world.accept()):
            assert await world.outcome(exchange) == "answered"
        assert sum(world.pool.complaints.counts.values()) == 1


@trio_test
async def test_an_idle_connection_is_closed_in_time_and_not_missed(open_upstream: Any, clock: MockClock) -> None:
    async with open_upstream() as world:
        accepted = await in_use(world)
        await trio.sleep(IDLE_S / 2)
        exchange = world.send()
        await accepted.respond(await accepted.request())
        assert await world.outcome(exchange) == "answered"
        began = trio.current_time()
        assert await accepted.until_closed() == []
        assert IDLE_S - 0.1 <= trio.current_time() - began <= IDLE_S + 0.1
        assert world.connections == []
        await in_use(world)


@trio_test
async def test_past_its_max_age_a_connection_gets_no_new_query(open_upstream: Any, clock: MockClock) -> None:
    async with open_upstream(max_age=5.0) as world:
        accepted = await in_use(world)
        await trio.sleep(4)
        exchange = world.send("old.example.org")
        asked = await accepted.request()
        await trio.sleep(1.5)
        other = world.send("other.example.org")
        again = await world.accept()
        await again.respond(await again.request())
        assert await world.outcome(other) == "answered"
        await accepted.respond(asked)
        assert await world.outcome(exchange) == "answered"
        assert await accepted.until_closed() == []
        assert len(world.connections) == 1


@trio_test
async def test_an_old_connection_that_nobody_uses_is_closed(open_upstream: Any, clock: MockClock) -> None:
    async with open_upstream(max_age=1.0, idle_timeout=10.0) as world:
        accepted = await in_use(world)
        began = trio.current_time()
        assert await accepted.until_closed() == []
        assert trio.current_time() - began <= 1.1


@trio_test
async def test_a_connection_on_which_nothing_comes_gets_no_new_query_and_is_given_up(
    open_upstream: Any, clock: MockClock
) -> None:
    async with open_upstream() as world:
        await in_use(world)
        exchange = world.send("lost.example.org")
        assert await world.outcome(exchange) == "timeout"
        second = world.send("second.example.org")
        again = await world.accept()
        await again.respond(await again.request())
        assert await world.outcome(second) == "answered"
        await trio.sleep(1.1)
        assert len(world.connections) == 1


@trio_test
async def test_a_slow_peer_that_answers_a_ping_is_asked_again(open_upstream: Any, clock: MockClock) -> None:
    async with open_upstream() as world:
        accepted = await in_use(world)
        exchange = world.send("slow.example.org")
        await accepted.request()
        assert await world.outcome(exchange) == "timeout"
        while not accepted.resets:
            await accepted.read()
        await trio.sleep(1.1)
        async with serving(accepted):
            assert await world.outcome(world.send("second.example.org")) == "answered"
        assert len(world.connections) == 1


def padded(number: int) -> bytes:
    """A query of 60 000 octets."""
    octets = query(f"{number}.example.org")
    options = struct.pack("!HH", 12, 60_000) + b"\0" * 60_000
    return octets[:11] + b"\1" + octets[12:] + make_opt(options=options)


@trio_test
async def test_what_waits_for_the_peers_window_is_sent_in_the_end(open_upstream: Any, clock: MockClock) -> None:
    async with open_upstream() as world:
        exchanges = [world.send(octets=padded(number)) for number in range(20)]
        async with serving(await world.accept()):
            for exchange in exchanges:
                assert await world.outcome(exchange) == "answered"


# handshakes


@trio_test
async def test_nobody_listening_is_refused_and_nothing_was_sent(open_upstream: Any, clock: MockClock) -> None:
    async with open_upstream() as world:
        world.listening.socket.close()
        tap = Watching()
        exchanges = [world.send(f"{number}.example.org", taps=(tap,)) for number in range(3)]
        for exchange in exchanges:
            assert await world.outcome(exchange) == "refused"
        assert (tap.events, world.upstream.queries) == ([], 0)


@trio_test
async def test_a_peer_that_speaks_only_http_1_is_told_and_not_asked_again_at_once(
    authority: Authority, open_upstream: Any, clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_upstream(server_context(authority.issue("old"), ("http/1.1",))) as world:
        exchange = world.send()
        with pytest.raises((trio.BrokenResourceError, trio.EndOfChannel, AssertionError)):
            await (await world.accept()).request()
        assert await world.outcome(exchange) == "tls_error"
        assert any("does not speak HTTP/2" in record.getMessage() for record in caplog.records)
        assert await world.outcome(world.send("other.example.org")) == "tls_error"
        assert world.connections == []


@trio_test
async def test_an_alert_that_says_so_is_understood_as_well(
    open_upstream: Any, clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_upstream() as world:
        error = ssl.SSLError()
        error.reason = "TLSV1_ALERT_NO_APPLICATION_PROTOCOL"
        world.pool.refusals.begin()
        for _ in range(2):
            world.pool.refusals.failed(error)
        assert caplog.text.count("does not speak HTTP/2") == 1
        assert await world.outcome(world.send()) == "tls_error"
        other = ssl.SSLError()
        other.reason = "WRONG_VERSION_NUMBER"
        world.pool.refusals.failed(other)
        assert "WRONG_VERSION_NUMBER" in caplog.text


@trio_test
async def test_a_certificate_that_nobody_vouches_for_is_refused(
    open_upstream: Any, clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_upstream(tls=TlsOptions()) as world:
        exchange = world.send()
        with pytest.raises(trio.BrokenResourceError):
            await world.accept()
        assert await world.outcome(exchange) == "tls_error"
        assert "certificate of 127.0.0.1:" in caplog.text
        assert "refused: unknown issuer" in caplog.text


@trio_test
async def test_the_certificate_must_carry_the_server_name(
    authority: Authority, open_upstream: Any, clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_upstream(tls=TlsOptions(authority.ca, server_name="dns.example.org")) as world:
        exchange = world.send()
        with pytest.raises(trio.BrokenResourceError):
            await world.accept()
        assert await world.outcome(exchange) == "tls_error"
        assert "refused: host name mismatch" in caplog.text


@trio_test
async def test_a_handshake_that_stalls_has_a_second_one_and_whichever_stands_first_serves_all(
    open_upstream: Any, clock: MockClock
) -> None:
    async with open_upstream() as world:
        exchanges = [world.send(f"{number}.example.org") for number in range(3)]
        stalled = await world.listening.accept()
        async with serving(await world.accept()):
            for exchange in exchanges:
                assert await world.outcome(exchange) == "answered"
        await trio.sleep(TIMEOUT_S)
        assert len(world.connections) == 1
        await stalled.aclose()


@trio_test
async def test_an_upstream_that_stalls_in_every_handshake_is_given_up_in_time(
    open_upstream: Any, clock: MockClock
) -> None:
    async with open_upstream() as world:
        exchange = world.send()
        stalled = [await world.listening.accept() for _ in range(2)]
        assert await world.outcome(exchange) == "timeout"
        began = trio.current_time()
        for one in stalled:
            while await one.receive_some():
                pass
            await one.aclose()
        assert trio.current_time() - began <= TIMEOUT_S


@trio_test
async def test_an_exchange_that_is_cancelled_before_the_connection_stands_is_never_sent(
    open_upstream: Any, clock: MockClock
) -> None:
    async with open_upstream() as world:
        cancelled, kept = world.send("cancelled.example.org"), world.send("kept.example.org")
        world.flights.submit(cancelled.cancel)
        accepted = await world.accept()
        asked = await accepted.request()
        assert asked.message[2:] == kept.query.wire[2:]
        await accepted.respond(asked)
        assert await world.outcome(kept) == "answered"
        assert world.upstream.queries == 1


@trio_test
async def test_the_end_of_an_upstream_ends_its_exchanges(open_upstream: Any, clock: MockClock) -> None:
    async with open_upstream() as world:
        await in_use(world)
        exchange = world.send()
        await trio.sleep(0.01)
    world.flights.settle()
    assert exchange.done
    after = world.send()
    world.flights.settle()
    assert (after.done, after.outcome) == (True, "closed")
