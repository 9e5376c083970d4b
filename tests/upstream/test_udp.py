"""Asking an upstream by UDP: what is taken for its reply, what is not, and what happens to the sockets."""

import errno
import itertools
import socket
from collections.abc import Iterator

import dns.flags
import dns.rcode
import pytest

from dnsproxy.dnstap.schema import MessageType
from dnsproxy.upstream import udp as udp_module
from dnsproxy.upstream.exchange import PROBE, Exchange
from dnsproxy.upstream.udp import SOCKET_AGE_S, SOCKETS
from tests.support.offline import Script, answering, closed, reply, silent, slow
from tests.upstream.world import TIMEOUT_S, Watching, World


@pytest.fixture
def world() -> Iterator[World]:
    offline = World()
    yield offline
    offline.close()
    assert offline.driver.pumps == {}


@pytest.fixture
def one_socket(monkeypatch: pytest.MonkeyPatch, world: World) -> World:
    """A pool of one socket, so that everything meets there."""
    world.pool.limit(1)
    return world


# replies


def test_a_reply_ends_its_exchange_and_is_counted(world: World) -> None:
    world.script(answering())
    exchange = world.exchange()
    assert exchange.value == reply(exchange.id + exchange.query.wire[2:])
    assert (exchange.outcome, exchange.query.metadata["forward/outcome"]) == ("answered", "answered")
    assert float(str(exchange.query.metadata["forward/rtt"])) >= 0
    status = world.upstream.upstream_status()
    assert (status["queries"], status["responses"], status["in_flight"], status["mismatches"]) == (1, 1, 0, 0)


def test_replies_in_any_order_find_their_exchanges(world: World) -> None:
    delays = {"a": 0.3, "b": 0.1, "c": 0.2}
    world.script(lambda octets: [(delays[chr(octets[13])], reply(octets))])
    exchanges = {name: world.send(f"{name}.example.org") for name in delays}
    world.run(1)
    for name, exchange in exchanges.items():
        assert exchange.value[12:].startswith(b"\1" + name.encode())


def test_a_batch_goes_out_over_one_socket_and_batches_over_many(world: World) -> None:
    world.script(answering())
    for number in range(10):
        world.send(f"{number}.example.org")
    world.run(0)
    assert len(world.network.sources) == 1
    for _ in range(300):
        world.exchange()
    assert len(world.network.sources) == SOCKETS == 16


def test_message_ids_are_never_shared_in_flight_and_do_not_repeat_in_order(one_socket: World) -> None:
    exchanges = [one_socket.send(f"{number}.example.org") for number in range(2000)]
    ids = [exchange.id for exchange in exchanges]
    assert len(set(ids)) == len(ids)
    numbers = [int.from_bytes(one) for one in ids]
    assert len({after - before for before, after in itertools.pairwise(numbers)}) > 1500
    assert min(numbers) < 6000
    assert max(numbers) > 60_000


def test_a_truncated_reply_says_so(world: World) -> None:
    world.script(answering(flags=dns.flags.TC))
    assert world.exchange().outcome == "truncated"


def test_the_case_of_the_question_does_not_matter(world: World) -> None:
    world.script(lambda octets: reply(octets[:12] + octets[12:].swapcase()))
    assert world.exchange().outcome == "answered"


@pytest.mark.parametrize("rcode", ["FORMERR", "SERVFAIL", "NOTIMP", "REFUSED", "NOTAUTH"])
def test_an_error_without_a_question_is_an_answer(rcode: str, world: World) -> None:
    number = int(dns.rcode.from_text(rcode))
    world.script(lambda octets: octets[:2] + bytes((0x81, number)) + b"\0" * 8)
    assert world.exchange().outcome == "answered"
    assert world.upstream.mismatches == 0


WRONG: dict[str, Script] = {
    "another ID": lambda octets: bytes((octets[0] ^ 1, octets[1])) + reply(octets)[2:],
    "another name": lambda octets: reply(octets).replace(b"\3www", b"\3wwx"),
    "another type": lambda octets: reply(octets[:-4] + b"\0\x1c\0\1"),
    "another class": lambda octets: reply(octets[:-2] + b"\0\3"),
    "a query": lambda octets: octets,
    "two questions": lambda octets: reply(octets)[:5] + b"\2" + reply(octets)[6:],
    "no question": lambda octets: octets[:2] + b"\x81\x80" + b"\0" * 8,
    "a part": lambda octets: reply(octets)[:20],
    "an ID": lambda octets: octets[:2],
    "nothing": lambda octets: b"",
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_reply_is_counted_and_the_wait_goes_on(what: str, world: World) -> None:
    world.script(lambda octets: [WRONG[what](octets), (0.1, reply(octets))])
    exchange = world.exchange(run_s=0.05)
    assert not exchange.done
    world.run(0.1)
    assert exchange.outcome == "answered"
    assert world.upstream.mismatches == 1


def test_nineteen_wrong_replies_are_borne_and_the_twentieth_ends_the_attempt(one_socket: World) -> None:
    one_socket.script(lambda octets: [WRONG["another name"](octets)] * 19)
    patient = one_socket.exchange()
    assert not patient.done
    one_socket.script(lambda octets: [WRONG["another ID"](octets)] * 20)
    one_socket.run(TIMEOUT_S)
    spoofed = one_socket.exchange()
    assert (spoofed.spoofed, spoofed.outcome) == (True, "cancelled")
    assert one_socket.upstream.mismatches == 39


@pytest.mark.parametrize("answer_s", [0, 0.2])
def test_one_wrong_reply_for_each_of_many_queries_ends_none_of_them(answer_s: float, one_socket: World) -> None:
    one_socket.script(lambda octets: [WRONG["another ID"](octets), (answer_s, reply(octets))])
    exchanges = [one_socket.send(f"{number}.example.org") for number in range(100)]
    one_socket.run(0.3)
    assert {exchange.outcome for exchange in exchanges} == {"answered"}
    assert one_socket.upstream.mismatches == 100


def test_a_wrong_id_is_laid_to_whoever_asked_that_question(one_socket: World) -> None:
    one_socket.script(lambda octets: WRONG["another ID"](octets) if octets[-4:] == b"\0\x1c\0\1" else silent(octets))
    bystander, victim = one_socket.send(), one_socket.send(qtype="AAAA")
    one_socket.run(0.1)
    assert (bystander.mismatches, victim.mismatches) == (0, 1)


def test_a_late_reply_is_no_mismatch_and_the_second_one_is(world: World) -> None:
    world.script(slow(TIMEOUT_S + 0.5, answering()))
    exchange = world.exchange(run_s=3)
    assert exchange.outcome == "timeout"
    assert exchange.value is None
    assert world.upstream.mismatches == 0


def test_a_second_reply_is_a_mismatch_that_ends_nothing_else(one_socket: World) -> None:
    one_socket.script(lambda octets: [] if b"slow" in octets else [reply(octets), (0.001, reply(octets))])
    waiting = one_socket.send("slow.example.org")
    for _ in range(30):
        assert one_socket.exchange(run_s=0.01).outcome == "answered"
    assert one_socket.upstream.mismatches == 30
    assert (waiting.done, waiting.mismatches) == (False, 0)


def test_what_cannot_be_read_is_laid_to_whoever_waits_alone(one_socket: World) -> None:
    one_socket.script(lambda octets: [b"\xff" * 60] * 20)
    assert one_socket.exchange().spoofed


# errors of the network


def test_a_closed_port_ends_the_exchanges_on_that_socket_alone(world: World) -> None:
    world.script(silent)
    waiting: list[Exchange] = []
    while len({one.carrier for one in waiting}) < 2:
        waiting.append(world.exchange(f"{len(waiting)}.example.org"))
    world.script(closed)
    refused = world.exchange("last.example.org")
    assert refused.outcome == "refused"
    for exchange in waiting:
        assert exchange.outcome == ("refused" if exchange.carrier is None else "")
    assert any(exchange.carrier is not None for exchange in waiting)


def test_an_old_error_does_not_end_what_has_not_been_sent_yet(one_socket: World) -> None:
    one_socket.script(silent)
    sent = one_socket.exchange("sent.example.org")
    (sock,) = one_socket.sockets
    queued = one_socket.send("queued.example.org")
    one_socket.network.coming.append((0.0, sock.fd, ConnectionRefusedError()))
    sock.on_readable()
    assert (sent.outcome, queued.outcome) == ("refused", "")
    one_socket.script(answering())
    one_socket.run(0)
    assert queued.outcome == "answered"


def test_a_send_that_fails_for_an_old_error_is_tried_again(one_socket: World) -> None:
    one_socket.script(silent)
    sent = one_socket.exchange("sent.example.org")
    one_socket.script(answering())
    one_socket.network.errors = [errno.ECONNREFUSED]
    later = one_socket.exchange("later.example.org")
    assert (sent.outcome, later.outcome) == ("refused", "answered")


@pytest.mark.parametrize(
    ("errors", "lost"), [([errno.EPERM], 1), ([errno.EPERM] * 2, 2), ([errno.ECONNREFUSED] * 2, 1)]
)
def test_what_the_kernel_refuses_is_a_send_error_and_the_rest_goes(
    errors: list[int], lost: int, one_socket: World
) -> None:
    one_socket.script(answering())
    one_socket.network.errors = errors
    exchanges = [one_socket.send(f"{number}.example.org") for number in range(5)]
    one_socket.run(0)
    assert [exchange.outcome for exchange in exchanges] == ["send_error"] * lost + ["answered"] * (5 - lost)


def test_a_kernel_without_room_is_waited_for(one_socket: World) -> None:
    one_socket.script(answering())
    one_socket.network.errors = [errno.EAGAIN]
    first = one_socket.exchange("first.example.org")
    second = one_socket.exchange("second.example.org")
    (sock,) = one_socket.sockets
    assert one_socket.driver.writers == [sock]
    assert one_socket.network.asked == []
    sock.on_writable()
    one_socket.run(0)
    assert (first.outcome, second.outcome) == ("answered", "answered")


def test_what_waits_for_room_is_bounded(one_socket: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_module, "BACKLOG", 3)
    one_socket.network.errors = [errno.EAGAIN]
    exchanges = [one_socket.send(f"{number}.example.org") for number in range(5)]
    one_socket.run(0)
    assert [exchange.outcome for exchange in exchanges] == ["", "", "", "send_error", "send_error"]


# the sockets


def test_sockets_are_replaced_by_age_and_the_old_ones_are_read_for_one_more_timeout(one_socket: World) -> None:
    one_socket.script(slow(1.5, answering()))
    one_socket.run(0.5)
    late = one_socket.exchange("late.example.org")
    (old,) = one_socket.sockets
    one_socket.run(1.5)
    one_socket.flights.now = one_socket.network.now = 10.4
    slow_one = one_socket.exchange("slow.example.org")
    assert one_socket.sockets == [old]
    one_socket.run(0.1)
    one_socket.exchange("new.example.org")
    (new,) = one_socket.sockets
    assert new.route.query_port != old.route.query_port
    one_socket.run(1.9)
    assert (late.outcome, slow_one.outcome) == ("answered", "answered")
    assert old.fd in one_socket.driver.pumps
    one_socket.run(0.2)
    assert old.sock.fileno() == -1
    assert one_socket.pool.retired == set()


def test_sockets_are_replaced_after_a_number_of_queries(one_socket: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_module, "SOCKET_QUERIES", 10)
    one_socket.script(answering())
    for _ in range(35):
        assert one_socket.exchange().outcome == "answered"
    assert len(one_socket.network.sources) == 4
    batch = [one_socket.send(f"{number}.example.org") for number in range(35)]
    one_socket.run(0)
    assert {exchange.outcome for exchange in batch} == {"answered"}


def test_a_socket_is_good_for_ten_thousand_queries(one_socket: World) -> None:
    sent = [one_socket.send("www.example.org") for _ in range(10_001)]
    first, last = sent[0].carrier, sent[-1].carrier
    assert all(exchange.carrier is first for exchange in sent[:-1])
    assert last is not first


def test_a_socket_with_many_in_flight_gets_no_more(one_socket: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp_module, "SOCKET_IN_FLIGHT", 5)
    one_socket.script(silent)
    for number in range(12):
        one_socket.exchange(f"{number}.example.org")
    assert len(one_socket.network.sources) == 3


def no_more_descriptors(*_: object) -> socket.socket:
    raise OSError(errno.EMFILE, "too many open files")


def test_without_descriptors_for_a_new_socket_the_old_ones_go_on(
    one_socket: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_socket.script(answering())
    one_socket.exchange()
    (old,) = one_socket.sockets
    one_socket.run(SOCKET_AGE_S + 1)
    monkeypatch.setattr("dnsproxy.upstream.udp.socket.socket", no_more_descriptors)
    assert one_socket.exchange().outcome == "answered"
    assert one_socket.sockets == [old]


def test_without_any_socket_an_exchange_is_a_send_error(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dnsproxy.upstream.udp.socket.socket", no_more_descriptors)
    exchange = world.exchange()
    assert (exchange.outcome, exchange.value) == ("send_error", None)
    assert world.upstream.in_flight == 0


def test_fewer_sockets_later_means_that_the_rest_are_closed_in_time(world: World) -> None:
    world.script(slow(1.0, answering()))
    exchanges: list[Exchange] = []
    while len(world.sockets) < 8:
        exchanges.append(world.exchange(f"{len(exchanges)}.example.org"))
    world.pool.limit(2)
    world.run(TIMEOUT_S + 0.1)
    assert {exchange.outcome for exchange in exchanges} == {"answered"}
    assert len(world.driver.pumps) == len(world.sockets) <= 2


def test_the_end_cancels_what_is_in_flight_and_sends_nothing_more(world: World) -> None:
    world.script(silent)
    sent = world.exchange("sent.example.org")
    queued = world.send("queued.example.org")
    opened = world.sockets
    world.pool.close()
    asked = len(world.network.asked)
    world.run(0)
    assert (sent.outcome, queued.outcome) == ("cancelled", "cancelled")
    assert len(world.network.asked) == asked
    assert all(sock.sock.fileno() == -1 for sock in opened)
    after = world.exchange("after.example.org")
    assert after.outcome == "send_error"
    assert world.driver.pumps == {}


# taps


def test_taps_see_what_is_sent_and_what_comes_back(world: World) -> None:
    world.script(answering())
    tap = Watching()
    exchange = world.exchange(taps=(tap,))
    asked, answered = tap.events
    assert asked.query_wire == world.network.asked[0][1]
    assert (answered.response_wire, answered.query_ns) == (exchange.value, asked.query_ns)
    assert answered.response_ns >= answered.query_ns > 0
    assert asked.route.query_port in {port for _, port in world.network.sources}


def test_what_the_kernel_refuses_stays_tapped_and_what_never_got_there_is_not(world: World) -> None:
    tap = Watching()
    world.network.errors = [errno.EPERM]
    assert world.exchange(taps=(tap,)).outcome == "send_error"
    assert [event.type for event in tap.events] == [MessageType.FORWARDER_QUERY]
    assert world.upstream.queries == 1
    world.pool.close()
    assert world.exchange(taps=(tap,)).outcome == "send_error"
    assert (len(tap.events), world.upstream.queries) == (1, 1)


def test_a_probe_is_not_counted(world: World) -> None:
    world.script(answering())
    assert world.exchange(attempt=PROBE).outcome == "answered"
    world.script(silent)
    assert world.exchange(attempt=PROBE, run_s=3).outcome == "timeout"
    status = world.upstream.upstream_status()
    assert (status["queries"], status["responses"], status["timeouts"], status["in_flight"]) == (0, 0, 0, 0)
