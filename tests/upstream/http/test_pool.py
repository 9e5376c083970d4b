"""Asking an upstream by DoH: streams share connections; what an answer is, and what is none."""

import logging
from typing import Any

import dns.message
import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from trio.testing import MockClock, trio_test

from dnsproxy.dnstap.schema import HttpProtocol, SocketProtocol
from dnsproxy.upstream.http.pool import CONNECTIONS
from tests.support.offline import query, reply
from tests.upstream.http.world import in_use, serving
from tests.upstream.world import TIMEOUT_S, Watching


@pytest.mark.parametrize("method", ["GET", "POST"])
@trio_test
async def test_a_query_goes_out_with_id_0_and_its_tap_sees_what_came_and_went(
    method: str, open_upstream: Any, clock: MockClock
) -> None:
    async with open_upstream(method=method) as world:
        tap = Watching()
        exchange = world.send(taps=(tap,))
        accepted = await world.accept()
        asked = await accepted.request()
        assert asked.message == b"\0\0" + exchange.query.wire[2:]
        assert asked.headers[":authority"] == "dns.example.org"
        await accepted.respond(asked)
        assert await world.outcome(exchange) == "answered"
        assert exchange.value == reply(asked.message)
        sent, received = tap.events
        assert (sent.query_wire, received.response_wire) == (asked.message, exchange.value)
        assert sent.route.socket_protocol == SocketProtocol.DOH
        assert sent.route.http_protocol == HttpProtocol.HTTP2
        assert sent.route.query_port == accepted.stream.transport_stream.socket.getpeername()[1]
        assert world.upstream.rtt_ns > 0


@trio_test
async def test_many_at_once_share_one_connection_and_may_be_answered_in_any_order(
    open_upstream: Any, clock: MockClock
) -> None:
    async with open_upstream() as world:
        exchanges = [world.send(f"{number}.example.org") for number in range(40)]
        accepted = await world.accept()
        asked = [await accepted.request() for _ in exchanges]
        for one in reversed(asked):
            await accepted.respond(one)
        for exchange, one in zip(exchanges, asked, strict=True):
            assert await world.outcome(exchange) == "answered"
            assert exchange.value == reply(one.message)
        assert len(world.connections) == world.pool.open_connections == 1


@trio_test
async def test_another_connection_is_opened_when_the_peer_takes_no_more_streams(
    open_upstream: Any, clock: MockClock
) -> None:
    async with open_upstream(settings={SettingCodes.MAX_CONCURRENT_STREAMS: 2}) as world:
        accepted = await in_use(world)
        exchanges = [world.send(f"{number}.example.org") for number in range(3 * CONNECTIONS)]
        more = [await world.accept() for _ in range(CONNECTIONS - 1)]
        async with trio.open_nursery() as nursery:
            for connection in (accepted, *more):
                nursery.start_soon(connection.serve)
            for exchange in exchanges:
                assert await world.outcome(exchange) == "answered"
            assert len(world.connections) == CONNECTIONS
            nursery.cancel_scope.cancel()


@trio_test
async def test_tiny_windows_only_slow_queries_down(open_upstream: Any, clock: MockClock) -> None:
    async with open_upstream(settings={SettingCodes.INITIAL_WINDOW_SIZE: 7}) as world:
        tap = Watching()
        accepted = await in_use(world)
        exchanges = [world.send(f"{number}.example.org", taps=(tap,)) for number in range(3)]
        async with serving(accepted):
            for exchange in exchanges:
                assert await world.outcome(exchange) == "answered"
        assert len(tap.events) == 2 * len(exchanges)


@trio_test
async def test_a_query_that_never_went_out_whole_is_not_tapped(open_upstream: Any, clock: MockClock) -> None:
    async with open_upstream(settings={SettingCodes.INITIAL_WINDOW_SIZE: 7}) as world:
        accepted = await in_use(world)
        accepted.keeps_windows = True
        tap = Watching()
        exchange = world.send("second.example.org", taps=(tap,))
        with trio.move_on_after(TIMEOUT_S / 2):
            await accepted.request()
        assert await world.outcome(exchange) == "timeout"
        assert (tap.events, world.upstream.queries) == ([], 1)


@trio_test
async def test_a_large_answer_may_trickle_in(open_upstream: Any, clock: MockClock) -> None:
    async with open_upstream() as world:
        exchange = world.send()
        accepted = await world.accept()
        asked = await accepted.request()
        await accepted.begin(asked)
        octets = reply(asked.message).ljust(65_535, b"\0")
        for at in range(0, len(octets), 4096):
            await accepted.send(asked, octets[at : at + 4096], end=at + 4096 >= len(octets))
        assert await world.outcome(exchange) == "answered"
        assert exchange.value == octets


@trio_test
async def test_an_answer_that_trickles_too_slowly_is_late_and_its_stream_is_reset(
    open_upstream: Any, clock: MockClock
) -> None:
    async with open_upstream() as world:
        exchange = world.send()
        accepted = await world.accept()
        asked = await accepted.request()
        await accepted.begin(asked)
        for octet in reply(asked.message):
            if exchange.done:
                break
            await accepted.send(asked, bytes((octet,)))
            await trio.sleep(TIMEOUT_S / 20)
        assert exchange.outcome == "timeout"
        while not accepted.resets:
            await accepted.read()
        assert accepted.resets == {asked.stream: ErrorCodes.CANCEL}
        async with serving(accepted):
            assert await world.outcome(world.send("other.example.org")) == "answered"
        assert len(world.connections) == 1


@trio_test
async def test_a_cancelled_exchange_resets_its_stream_and_a_late_answer_is_nothing(
    open_upstream: Any, clock: MockClock
) -> None:
    async with open_upstream() as world:
        exchange = world.send()
        accepted = await world.accept()
        asked = await accepted.request()
        octets = reply(asked.message)
        accepted.http.send_headers(asked.stream, [(":status", "200"), ("content-type", "application/dns-message")])
        accepted.http.send_data(asked.stream, octets, end_stream=True)
        world.flights.submit(exchange.cancel)
        await trio.sleep(0.01)
        await accepted.flush()
        async with serving(accepted):
            assert await world.outcome(world.send("other.example.org")) == "answered"
        assert (world.upstream.mismatches, world.upstream.responses) == (0, 1)


@trio_test
async def test_ttls_are_lessened_by_the_age_header_and_the_tap_sees_them_as_they_came(
    open_upstream: Any, clock: MockClock
) -> None:
    async with open_upstream() as world:
        tap = Watching()
        exchange = world.send(taps=(tap,))
        accepted = await world.accept()
        asked = await accepted.request()
        await accepted.respond(asked, age="100")
        assert await world.outcome(exchange) == "answered"
        assert [dns.message.from_wire(octets).answer[0].ttl for octets in (exchange.value, reply(asked.message))] == [
            200,
            300,
        ]
        assert tap.events[1].response_wire == reply(asked.message)


# what is no answer


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ({"status": 500}, "HTTP status 500"),
        ({"status": 404}, "HTTP status 404"),
        ({"kind": "text/html"}, "content type is not application/dns-message"),
        ({"octets": b""}, "response without a body"),
        ({"octets": b"x" * 70_000}, "body is longer than a DNS message"),
        ({"octets": b"\0\0"}, "answer to another question"),
        ({"octets": reply(query("other.example.org", id=0))}, "answer to another question"),
        ({"octets": reply(query(id=7))}, "answer to another question"),
    ],
)
@trio_test
async def test_a_response_that_is_no_answer_is_a_failed_attempt_and_the_connection_stays(
    response: dict[str, Any],
    reason: str,
    open_upstream: Any,
    clock: MockClock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_upstream() as world:
        accepted = await in_use(world)
        exchanges = [world.send() for _ in range(3)]
        for exchange in exchanges:
            with trio.move_on_after(TIMEOUT_S / 2):  # a body that is too long is never taken whole
                await accepted.respond(await accepted.request(), **response)
            assert await world.outcome(exchange) == "closed"
        assert world.pool.complaints.counts == {reason: 3}
        assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING][:1] == [
            f"upstream {world.upstream.url}: {reason}"
        ]
        assert world.upstream.mismatches == (3 if "question" in reason else 0)
        async with serving(accepted):
            assert await world.outcome(world.send()) == "answered"


@trio_test
async def test_a_stream_that_the_peer_resets_is_a_failed_attempt(open_upstream: Any, clock: MockClock) -> None:
    async with open_upstream() as world:
        accepted = await in_use(world)
        exchange = world.send()
        await accepted.reset(await accepted.request())
        assert await world.outcome(exchange) == "closed"
        assert world.pool.complaints.counts == {"stream reset: INTERNAL_ERROR": 1}


@trio_test
async def test_a_stream_that_the_peer_refuses_goes_again_elsewhere_once(open_upstream: Any, clock: MockClock) -> None:
    async with open_upstream() as world:
        accepted = await in_use(world)
        exchange, other = world.send("one.example.org"), world.send("other.example.org")
        for _ in range(2):
            await accepted.reset(await accepted.request(), ErrorCodes.REFUSED_STREAM)
        again = await world.accept()
        await again.respond(await again.request())
        await again.reset(await again.request(), ErrorCodes.REFUSED_STREAM)
        assert [await world.outcome(exchange), await world.outcome(other)] == ["answered", "closed"]
