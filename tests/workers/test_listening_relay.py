"""Several workers' parts of a tap that collectors dial, and the one place where these are let in, over real sockets."""

import json
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import trio_test

from dnsproxy.dnstap.destination import Destination, ListenUrl, TlsOptions
from dnsproxy.dnstap.framestreams import data_frame
from dnsproxy.dnstap.listening_socket import ListenError
from dnsproxy.dnstap.output import OutputOptions
from dnsproxy.dnstap.relay_records import Kind, Record, described, encode, receive_first
from dnsproxy.dnstap.relayed_listening import RelayedListeningOutput
from dnsproxy.status import added
from dnsproxy.workers import shared_tap
from dnsproxy.workers.listening_relay import ListeningRelay
from dnsproxy.workers.shared_tap import frame_end
from tests.dnstap.dialer import Dialer, address, dial
from tests.dnstap.waiting import until

FRAMES = 1000


class Relay(ListeningRelay):
    """As workers meet it, with a thread that can be cut."""

    def __init__(self) -> None:
        super().__init__()
        self.connections: list[socket.socket] = []

    def listen(self, tap: dict[str, Any]) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.connections.append(ours.dup())
        self.serve(tap, theirs.detach())
        return ours

    def cut(self, number: int) -> None:
        """What both sides see of the other one's sudden end."""
        self.connections[number].shutdown(socket.SHUT_RDWR)


@pytest.fixture
def relay() -> Iterator[Relay]:
    relay = Relay()
    yield relay
    relay.close()
    for connection in relay.connections:
        connection.close()


@pytest.fixture
def tap(tmp_path: Path) -> OutputOptions:
    where = ListenUrl("unix", path=str(tmp_path / "tap.sock"))
    return OutputOptions("tap", where, TlsOptions(), 10_000, 1 << 26, listening=True)


@asynccontextmanager
async def outputs(
    relay: Relay, tap: OutputOptions, count: int, drain_s: float = 5.0
) -> AsyncIterator[list[RelayedListeningOutput]]:
    """So many workers' parts of one tap, drained at the end."""
    made = [RelayedListeningOutput(tap, relay.listen) for _ in range(count)]
    async with trio.open_nursery() as nursery:
        for output in made:
            await nursery.start(output.run)
        yield made
        assert balances(total(made))
        for output in made:
            nursery.start_soon(output.drain, drain_s)
    assert balances(total(made))
    assert total(made)["queued"] == 0


def total(made: list[RelayedListeningOutput]) -> dict[str, Any]:
    first, *rest = (output.tap_status() for output in made)
    for status in rest:
        first = added(first, status)
    return first


def balances(status: dict[str, Any]) -> bool:
    return bool(status["offered"] == status["sent"] + status["queued"] + sum(status["dropped"].values()))


def frame(which: int, number: int, octets: int = 0) -> bytes:
    return data_frame(bytes((which,)) + number.to_bytes(4, "big") + bytes(octets))


def numbers(dialer: Dialer, which: int) -> list[int]:
    """The frames of one worker, in the order of arrival."""
    return [int.from_bytes(each[1:5], "big") for each in dialer.frames if each[0] == which]


@trio_test
async def test_every_collector_gets_everything_from_all_workers_each_ones_in_its_order(
    relay: Relay, tap: OutputOptions
) -> None:
    async with outputs(relay, tap, 3) as made:
        async with Dialer(tap.destination).connected() as one, Dialer(tap.destination).connected() as other:
            for number in range(FRAMES):
                for which, output in enumerate(made):
                    output.offer(frame(which, number, number % 200))
            await one.wait_for(3 * FRAMES)
            await other.wait_for(3 * FRAMES)
            await until(lambda: total(made)["queued"] == 0)
            status = total(made)
            for output in made:
                await output.drain(5)
        for dialer in (one, other):
            assert [numbers(dialer, which) for which in range(3)] == [list(range(FRAMES))] * 3
            assert (dialer.stops, dialer.broken) == (1, [])
    assert (status["state"], status["offered"], status["sent"]) == ("listening", 6 * FRAMES, 6 * FRAMES)
    assert (status["connects"], status["collectors"], status["socket"]) == (2, 2, str(tap.destination))


@trio_test
async def test_without_collectors_nothing_is_offered(relay: Relay, tap: OutputOptions) -> None:
    async with outputs(relay, tap, 2) as made:
        made[0].offer(frame(0, 0))
        made[1].lose(3)
        assert total(made)["offered"] == 0


@trio_test
async def test_once_a_collector_has_its_start_nothing_is_missed_from_any_worker(
    relay: Relay, tap: OutputOptions
) -> None:
    async with outputs(relay, tap, 4) as made:
        for _ in range(10):
            async with Dialer(tap.destination).connected() as dialer:
                for output in made:
                    output.offer(frame(0, 0))
                await dialer.wait_for(4)


@trio_test
async def test_a_worker_that_hangs_delays_a_start_for_a_moment_only(
    relay: Relay, tap: OutputOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_tap, "OFFERING_S", 0.2)
    with relay.listen(described(tap)) as hangs:
        assert receive_first(hangs).kind == Kind.LISTENING
        async with outputs(relay, tap, 1) as (well,), Dialer(tap.destination).connected() as dialer:
            well.offer(frame(0, 0))
            await dialer.wait_for(1)


@trio_test
async def test_a_killed_worker_breaks_no_collector_and_its_successor_goes_on(relay: Relay, tap: OutputOptions) -> None:
    async with outputs(relay, tap, 1) as (stays,), Dialer(tap.destination).connected() as dialer:
        with relay.listen(described(tap)) as killed:
            assert [receive_first(killed).kind for _ in range(2)] == [Kind.LISTENING, Kind.CAME]
            killed.sendall(encode(Record(Kind.OFFERING, 1)))
            killed.sendall(encode(Record(Kind.BATCH, 1, frame(7, 0) + frame(7, 1))))
            await dialer.wait_for(2)
            killed.sendall(encode(Record(Kind.BATCH, 1, frame(7, 2) + frame(7, 3)))[:-3])
            relay.cut(1)
        stays.offer(frame(0, 0))
        await dialer.wait_for(3)
        async with outputs(relay, tap, 1) as (successor,):
            while len(dialer.frames) < 4:
                successor.offer(frame(1, 0))  # it hears of the collector in a moment
                await trio.sleep(0.05)
            assert total([stays, successor])["connects"] == 1
        assert (numbers(dialer, 7), numbers(dialer, 0)) == ([0, 1], [0])


@trio_test
async def test_collectors_outlive_all_workers_and_are_counted_by_the_next_one(relay: Relay, tap: OutputOptions) -> None:
    async with outputs(relay, tap, 1) as (first,), Dialer(tap.destination).connected() as dialer:
        relay.cut(0)
        await until(lambda: first.state == "down")
        async with outputs(relay, tap, 1) as (second,):
            await until(lambda: second.tap_status()["collectors"] == 1)
            assert second.tap_status()["connects"] == 0, "its coming has been counted"
            second.offer(frame(0, 0))
            await dialer.wait_for(1)


@trio_test
async def test_a_stalled_collector_fills_its_own_queues_and_nobody_elses(relay: Relay, tap: OutputOptions) -> None:
    async with outputs(relay, replace(tap, queue=100), 2, drain_s=0.2) as made:
        async with Dialer(tap.destination).connected() as stalled, Dialer(tap.destination).connected() as well:
            stalled.reading = trio.Event()
            for number in range(40):
                for which, output in enumerate(made):
                    for part in range(50):
                        output.offer(frame(which, 50 * number + part, 2000))
                await well.wait_for(100 * (number + 1))
            status = total(made)
            assert status["queued"] == 200
            assert status["dropped"]["queue_full"] == 8000 - 200 - status["sent"] > 1000
            assert balances(status)
        await until(lambda: total(made)["queued"] == 0)
        assert total(made)["dropped"]["disconnected"] == 200


@trio_test
async def test_what_a_slow_collector_has_taken_of_a_batch_is_counted_as_it_goes(
    relay: Relay, tap: OutputOptions
) -> None:
    async with outputs(relay, tap, 1, drain_s=0.2) as (output,), Dialer(tap.destination).connected() as slow:
        slow.reading = trio.Event()
        for number in range(2000):
            output.offer(frame(0, number, 5000))
        await until(lambda: output.tap_status()["sent"])
        status = output.tap_status()
        assert 0 < status["sent"] < 200
        assert (status["queued"], sum(status["dropped"].values())) == (2000 - status["sent"], 0)
        await output.drain(0.1)
        sent = output.tap_status()["sent"]
        slow.reading.set()
        await slow.gone.wait()
        assert numbers(slow, 0)[:sent] == list(range(sent))
        assert len(slow.frames) <= sent + 1, "what was begun is not cut while others may write behind it"


@trio_test
async def test_why_somebody_was_not_let_in_shows_in_the_status(relay: Relay, tap: OutputOptions) -> None:
    async with outputs(relay, tap, 2) as made:
        async with await dial(tap.destination) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            await until(lambda: total(made)["last_error"])
        assert total(made)["last_error"] == "frame of 1195725856 octets"


@trio_test
async def test_where_it_cannot_listen_is_the_workers_error(relay: Relay, tap: OutputOptions, tmp_path: Path) -> None:
    tap = replace(tap, destination=ListenUrl("unix", path=str(tmp_path)))
    with pytest.raises(ListenError, match=f"cannot listen on {tap.destination}: exists and is not a socket"):
        RelayedListeningOutput(tap, relay.listen)


def test_a_supervisor_that_does_not_answer_is_an_error(tap: OutputOptions) -> None:
    def hang_up(_tap: dict[str, Any]) -> socket.socket:
        ours, theirs = socket.socketpair()
        theirs.close()
        return ours

    with pytest.raises(ListenError, match="the supervisor does not answer"):
        RelayedListeningOutput(tap, hang_up)


@trio_test
async def test_a_supervisor_that_is_gone_is_a_tap_that_is_down(relay: Relay, tap: OutputOptions) -> None:
    async with outputs(relay, tap, 1) as (output,), Dialer(tap.destination).connected():
        output.offer(frame(0, 0))
        relay.cut(0)
        await until(lambda: output.state == "down")
        assert output.tap_status()["last_error"] == "the supervisor listens no more: end of stream"
        await until(lambda: output.tap_status()["queued"] == 0)


@trio_test
async def test_the_tap_ends_with_the_last_worker_that_says_so_and_its_address_is_free_again(
    relay: Relay, tap: OutputOptions
) -> None:
    for _ in range(3):
        async with outputs(relay, tap, 2) as made, Dialer(tap.destination).connected() as dialer:
            await made[0].drain(1)
            made[1].offer(frame(1, 0))
            await dialer.wait_for(1)
            stops = [dialer.stops]
            await made[1].drain(1)
            await dialer.gone.wait()
            assert [*stops, dialer.stops] == [0, 1]
        await until(lambda: not Path(tap.destination.path).exists())


@trio_test
async def test_the_end_of_the_supervisor_is_the_end_of_the_streams_in_good_order(
    relay: Relay, tap: OutputOptions
) -> None:
    async with outputs(relay, tap, 1) as (output,), Dialer(tap.destination).connected() as dialer:
        output.offer(frame(0, 0))
        await dialer.wait_for(1)
        relay.cut(0)
        await trio.to_thread.run_sync(relay.close)
        await dialer.gone.wait()
        assert dialer.stops == 1
        with pytest.raises(OSError, match="No such file"):
            await dial(tap.destination)


@trio_test
async def test_port_zero_is_one_port_for_all_workers(relay: Relay, tap: OutputOptions) -> None:
    anywhere = replace(tap, destination=ListenUrl.from_toml("tcp://127.0.0.1:0"))
    async with outputs(relay, anywhere, 3) as made:
        (where,) = {output.tap_status()["socket"] for output in made}
        async with Dialer(Destination.from_toml(where)).connected() as dialer:
            made[2].offer(frame(0, 0))
            await dialer.wait_for(1)


# TLS


def write_certificate(authority: trustme.CA, folder: Path) -> TlsOptions:
    ours = authority.issue_cert("127.0.0.1")
    ours.private_key_pem.write_to_path(folder / "key.pem")
    ours.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    return TlsOptions(cert=str(folder / "cert.pem"), key=str(folder / "key.pem"))


@trio_test
async def test_certificates_are_read_again_and_other_rules_are_for_everybody(
    relay: Relay, tap: OutputOptions, tmp_path: Path
) -> None:
    authority, other = trustme.CA(), trustme.CA()
    tls = write_certificate(authority, tmp_path)
    tap = replace(tap, destination=ListenUrl.from_toml("tls://127.0.0.1:0"), tls=tls)
    contexts = [ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) for _ in range(2)]
    for context, each in zip(contexts, (authority, other), strict=True):
        each.configure_trust(context)
    async with outputs(relay, tap, 2) as made:
        where = address(made[0].tap_status())
        async with Dialer(where, contexts[0]).connected() as old:
            write_certificate(other, tmp_path)
            relay.reopen()
            async with Dialer(where, contexts[1]).connected() as new:
                made[0].offer(frame(0, 0))
                await new.wait_for(1)
                await old.wait_for(1)
                for output in made:
                    output.configure(replace(tap, tls=replace(tls, ca=str(tmp_path / "ca.pem"))))
                await old.gone.wait()
                await new.gone.wait()
        other.issue_cert("collector.example.org").configure_cert(contexts[1])
        async with Dialer(where, contexts[1]).connected() as known:
            made[1].offer(frame(1, 0))
            await known.wait_for(1)
        assert balances(total(made))


def test_what_is_no_description_is_the_workers_mistake(relay: Relay) -> None:
    ours, theirs = socket.socketpair()
    with ours, pytest.raises(LookupError):
        relay.serve(json.loads("{}"), theirs.detach())
    theirs.close()


@given(st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=10), st.data())
def test_a_frame_that_was_begun_is_written_to_its_end(payloads: list[bytes], data: st.DataObject) -> None:
    frames = [data_frame(payload) for payload in payloads]
    batch = memoryview(b"".join(frames))
    at = data.draw(st.integers(0, len(batch)))
    ends = [len(b"".join(frames[:count])) for count in range(len(frames) + 1)]
    assert frame_end(batch, at) == min(end for end in ends if end >= at)
