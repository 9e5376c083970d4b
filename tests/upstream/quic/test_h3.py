"""DoH over HTTP/3: what is asked, what counts as an answer, and connections that go away."""

from pathlib import Path

import dns.message
import pytest
import trio
from aioquic.h3.connection import ErrorCode
from trio.testing import MockClock, trio_test

from dnsproxy.dnstap.schema import HttpProtocol, SocketProtocol
from dnsproxy.upstream.options import HttpOptions
from dnsproxy.upstream.quic import h3 as h3_module
from tests.dnstap.waiting import until
from tests.support.offline import query, reply
from tests.support.quic_server import Asked, QuicServer
from tests.upstream.quic.world import AUTHORITY, CERTIFICATE, World, answer, upstream
from tests.upstream.world import Watching

pytestmark = pytest.mark.usefixtures("autojump_clock")
DNS_MESSAGE = b"application/dns-message"


def server(**more: object) -> QuicServer:
    more.setdefault("behaviour", answer)
    return QuicServer(CERTIFICATE, "h3", **more)  # type: ignore[arg-type]


async def in_use(world: World) -> None:
    """Let a connection carry an exchange."""
    behaviour, world.server.behaviour = world.server.behaviour, answer
    assert await world.ask("first.example.org") == "answered"
    world.server.behaviour = behaviour


@trio_test
async def test_a_query_is_posted(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, server(), http=HttpOptions("dns.example.org:853", "/q")) as world:
        assert await world.ask() == "answered"
        (asked,) = world.server.asked
        headers = dict(asked.headers)
        assert asked.octets == b"\0\0" + query("www.example.org")[2:]
        assert (headers[b":method"], headers[b":path"]) == (b"POST", b"/q")
        assert (headers[b":scheme"], headers[b":authority"]) == (b"https", b"dns.example.org:853")
        assert headers[b"content-type"] == headers[b"accept"] == DNS_MESSAGE


@trio_test
async def test_a_query_is_got(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, server(), http=HttpOptions(AUTHORITY, method="GET")) as world:
        assert await world.ask() == "answered"
        (asked,) = world.server.asked
        assert dict(asked.headers)[b":path"].startswith(b"/dns-query?dns=AAAB")
        assert asked.octets == b"\0\0" + query("www.example.org")[2:]


@trio_test
async def test_queries_at_once_share_one_connection_and_are_answered_in_any_order(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    def hold(_asked: Asked) -> None:
        """For later."""

    async with upstream(tmp_path, server(behaviour=hold)) as world:
        exchanges = [world.send(f"w{number}.example.org") for number in range(40)]
        for asked in reversed(await world.asked(40)):
            asked.reply(reply(asked.octets))
        for exchange in exchanges:
            assert await world.outcome(exchange) == "answered"
            assert exchange.matches(exchange.value)
        assert len(world.server.connections) == 1


@trio_test
async def test_it_is_tapped_as_doh_of_http_3(autojump_clock: MockClock, tmp_path: Path) -> None:
    tap = Watching()
    async with upstream(tmp_path, server()) as world:
        assert await world.ask(taps=(tap,)) == "answered"
        for event in tap.events:
            assert event.route.socket_protocol == SocketProtocol.DOH
            assert event.route.http_protocol == HttpProtocol.HTTP3
            assert event.route.response_port == world.server.port


@pytest.mark.parametrize("status", [b"302", b"404", b"503"])
@trio_test
async def test_another_status_than_2xx_is_a_failed_attempt(
    autojump_clock: MockClock, tmp_path: Path, status: bytes
) -> None:
    def reply_with_status(asked: Asked) -> None:
        asked.reply(reply(asked.octets), status=status)

    async with upstream(tmp_path, server(behaviour=reply_with_status)) as world:
        assert await world.ask() == "closed"
        await in_use(world)


@trio_test
async def test_another_content_type_is_a_failed_attempt(autojump_clock: MockClock, tmp_path: Path) -> None:
    def reply_in_text(asked: Asked) -> None:
        asked.reply(reply(asked.octets), content_type=b"text/html")

    async with upstream(tmp_path, server(behaviour=reply_in_text)) as world:
        assert await world.ask() == "closed"
        await in_use(world)
        assert len(world.server.connections) == 1


@trio_test
async def test_an_answer_from_a_cache_is_as_old_as_it_is(autojump_clock: MockClock, tmp_path: Path) -> None:
    def reply_from_cache(asked: Asked) -> None:
        asked.reply(reply(asked.octets), more=[(b"age", b"100")])

    tap = Watching()
    async with upstream(tmp_path, server(behaviour=reply_from_cache)) as world:
        exchange = world.send(taps=(tap,))
        assert await world.outcome(exchange) == "answered"
        assert dns.message.from_wire(exchange.value).answer[0].ttl == 200
        assert dns.message.from_wire(tap.events[1].response_wire).answer[0].ttl == 300, "the tap sees what came"


@trio_test
async def test_what_comes_before_and_after_the_response_is_passed_over(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    def reply_with_more(asked: Asked) -> None:
        h3 = asked.connection.h3
        assert h3 is not None
        h3.send_headers(asked.stream, [(b":status", b"103")])
        h3.send_headers(asked.stream, [(b":status", b"200"), (b"content-type", DNS_MESSAGE)])
        h3.send_data(asked.stream, reply(asked.octets), end_stream=False)
        h3.send_headers(asked.stream, [(b"trailer", b"x")], end_stream=True)
        asked.connection.server.flush()

    async with upstream(tmp_path, server(behaviour=reply_with_more)) as world:
        assert await world.ask() == "answered"


@trio_test
async def test_a_response_without_a_body_is_a_failed_attempt(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, server(behaviour=lambda asked: asked.reply(b""))) as world:
        assert await world.ask() == "closed"


@trio_test
async def test_a_body_longer_than_any_message_is_a_failed_attempt(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, server(behaviour=lambda asked: asked.reply(bytes(66_000)))) as world:
        assert await world.ask() == "closed"


@trio_test
async def test_another_message_id_than_0_is_a_mismatch(autojump_clock: MockClock, tmp_path: Path) -> None:
    def reply_with_id(asked: Asked) -> None:
        asked.reply(b"\1\2" + reply(asked.octets)[2:])

    async with upstream(tmp_path, server(behaviour=reply_with_id)) as world:
        assert await world.ask() == "closed"
        assert world.upstream.mismatches == 1


@trio_test
async def test_a_stream_that_brings_more_than_an_answer_takes_ends_the_connection(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    def reply_with_endless_headers(asked: Asked) -> None:
        asked.write(b"\1\x80\xff\xff\xff" + bytes(h3_module.MAX_RESPONSE + 1), end_stream=False)

    async with upstream(tmp_path, server(behaviour=reply_with_endless_headers)) as world:
        assert await world.ask() == "closed"
        await until(lambda: world.server.connections[0].closed_with == ErrorCode.H3_EXCESSIVE_LOAD)


@trio_test
async def test_settings_without_end_end_the_connection(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, server()) as world:
        await in_use(world)
        (served,) = world.server.connections
        control = served.h3._local_control_stream_id  # type: ignore[union-attr]
        assert control is not None
        served.quic.send_stream_data(control, b"\x21\x80\xff\xff\xff" + bytes(h3_module.MAX_BESIDE))
        world.server.flush()
        await until(lambda: served.closed_with == ErrorCode.H3_EXCESSIVE_LOAD)


@trio_test
async def test_what_http_3_forbids_ends_the_connection(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, server(behaviour=lambda asked: asked.write(b"\0\1x"))) as world:
        assert await world.ask() == "closed"
        await until(lambda: world.server.connections[0].closed_with == ErrorCode.H3_FRAME_UNEXPECTED)


@trio_test
async def test_a_cancelled_exchange_stops_its_stream(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, server(behaviour=lambda _asked: None)) as world:
        exchange = world.send()
        (asked,) = await world.asked(1)
        world.cancel(exchange)
        await until(lambda: asked.connection.stopped == {asked.stream: ErrorCode.H3_REQUEST_CANCELLED})
        await in_use(world)
        assert len(world.server.connections) == 1


@trio_test
async def test_a_rejected_request_goes_again_on_another_connection(autojump_clock: MockClock, tmp_path: Path) -> None:
    def reject_once(asked: Asked) -> None:
        if len(world.server.asked) == 1:
            asked.reset(ErrorCode.H3_REQUEST_REJECTED)
        else:
            answer(asked)

    async with upstream(tmp_path, server(behaviour=reject_once)) as world:
        assert await world.ask() == "answered"
        assert len(world.server.connections) == 2


@trio_test
async def test_a_rejected_request_is_not_sent_for_ever(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, server(behaviour=lambda asked: asked.reset(ErrorCode.H3_REQUEST_REJECTED))) as world:
        assert await world.ask() == "closed"
        assert len(world.server.asked) == 2


@trio_test
async def test_going_away_is_invisible(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with upstream(tmp_path, server(behaviour=lambda _asked: None)) as world:
        exchanges = [world.send("kept.example.org"), world.send("lost.example.org")]
        kept, lost = await world.asked(2)
        world.server.behaviour = answer
        kept.connection.go_away(lost.stream)
        assert await world.outcome(exchanges[1]) == "answered"
        assert len(world.server.connections) == 2
        assert await world.ask("new.example.org") == "answered"
        assert world.server.asked[-1].connection is world.server.connections[1]
        kept.reply(reply(kept.octets))
        assert await world.outcome(exchanges[0]) == "answered"
        await until(lambda: world.server.connections[0].closed_with == ErrorCode.H3_NO_ERROR)
        assert world.upstream.failures == 0


@trio_test
async def test_pushed_responses_are_passed_over(autojump_clock: MockClock, tmp_path: Path) -> None:
    def push(asked: Asked) -> None:
        h3 = asked.connection.h3
        assert h3 is not None
        headers = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"x"), (b":path", b"/")]
        pushed = h3.send_push_promise(asked.stream, headers)
        h3.send_headers(pushed, [(b":status", b"200")])
        h3.send_data(pushed, b"x", end_stream=True)
        answer(asked)

    async with upstream(tmp_path, server(behaviour=push)) as world:
        assert await world.ask() == "answered"
        await trio.testing.wait_all_tasks_blocked()
        await in_use(world)
