"""Probes: when they are sent, what they ask, and what their answers mean."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import dns.edns
import dns.message
import dns.rcode
import pytest

from dnsproxy.dnstap.events import Event
from dnsproxy.plugin import Plugin, Tap
from dnsproxy.upstream.editing.edits import Edits
from dnsproxy.upstream.options import EditOptions, HealthOptions
from tests.support.offline import Script, answering, closed, silent, slow
from tests.upstream.world import SERVER, TIMEOUT_S, World

SERVFAIL = 2
EPSILON_S = 1e-6
Made = Callable[..., World]


@pytest.fixture
def make() -> Iterator[Made]:
    """A world whose upstream has these options of health."""
    with ExitStack() as stack:

        def made(scheme: str | None = None, **options: Any) -> World:
            world = World(HealthOptions(**options), scheme)
            stack.callback(world.close)
            return world

        yield made


def fallen(world: World, script: Script = closed) -> World:
    """Down, by queries that fail one after the other within some milliseconds."""
    world.script(script)
    while world.upstream.up:
        world.exchange(run_s=TIMEOUT_S if script is silent else 0.001)
    return world


def probes_at(world: World, script: Script) -> list[float]:
    """When each probe from now on is sent."""
    times: list[float] = []

    def timed(octets: bytes) -> Any:
        times.append(world.flights.now)
        return script(octets)

    world.script(timed)
    return times


def gaps(times: list[float]) -> list[float]:
    return [after - before for before, after in itertools.pairwise(times)]


def test_there_is_none_while_all_is_well(make: Made) -> None:
    world = make()
    world.script(answering())
    world.exchange(run_s=60)
    assert len(world.network.asked) == 1


def test_a_failure_is_followed_by_a_probe_and_an_answer_to_it_by_none(make: Made) -> None:
    world = make(interval=0.5)
    world.script(silent)
    world.exchange(run_s=TIMEOUT_S)
    times = probes_at(world, answering())
    world.run(60)
    assert times == [pytest.approx(TIMEOUT_S + 0.5)]
    assert (world.upstream.up, world.upstream.failures) == (True, 0)


def test_an_answered_query_makes_it_needless(make: Made) -> None:
    world = make()
    world.script(silent)
    world.exchange(run_s=TIMEOUT_S)
    world.script(answering())
    world.exchange(run_s=60)
    assert world.upstream.upstream_status()["probes"] == 0


def test_probes_alone_put_it_down_after_one_query_has_failed(make: Made) -> None:
    world = make(fall=3)
    world.script(silent)
    world.exchange(run_s=TIMEOUT_S + 4)
    assert world.upstream.upstream_status()["state"] == "down"


@pytest.mark.parametrize("script", [closed, silent])
@pytest.mark.parametrize("moment_s", [number / 10 for number in range(12)])
@pytest.mark.parametrize("latency_s", [0.0, 0.2])
def test_it_is_found_within_two_seconds_whenever_it_recovers(
    make: Made, script: Script, moment_s: float, latency_s: float
) -> None:
    world = fallen(make(), script)
    world.run(20 + moment_s)
    world.script(slow(latency_s, answering()))
    world.run(2)
    assert world.upstream.up


@pytest.mark.parametrize("interval", [0.05, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("script", [closed, silent])
def test_they_back_off_to_a_second_and_come_never_sooner_than_after_an_interval(
    make: Made, interval: float, script: Script
) -> None:
    world = fallen(make(interval=interval), script)
    times = probes_at(world, script)
    world.run(60)
    pauses = gaps(times)
    assert min(pauses) >= interval - EPSILON_S
    assert max(pauses) <= 1.0 + EPSILON_S
    assert min(pauses[-20:]) >= 0.8 - EPSILON_S
    if interval < 0.8 and script is closed:
        assert len({round(pause, 6) for pause in pauses[-20:]}) > 10, "jitter"


@pytest.mark.parametrize("interval", [1.5, 10.0])
def test_a_long_interval_is_kept(make: Made, interval: float) -> None:
    world = fallen(make(interval=interval))
    times = probes_at(world, closed)
    world.run(100)
    assert gaps(times) == [pytest.approx(interval)] * (len(times) - 1)
    assert len(times) >= 100 // interval - 1


def test_there_is_never_more_than_one_in_flight(make: Made) -> None:
    world = fallen(make(interval=0.05), silent)
    world.run(0.3)
    for _ in range(300):
        world.run(0.01)
        assert world.upstream.in_flight <= 1
        assert world.upstream.upstream_status()["in_flight"] == 0, "a probe is no query"


def test_after_a_first_success_the_next_comes_after_an_interval(make: Made) -> None:
    world = fallen(make(interval=0.5, rise=3))
    world.run(30)
    times = probes_at(world, answering())
    states = set()
    while not world.upstream.up:
        world.run(0.05)
        states.add(world.upstream.upstream_status()["state"])
    assert gaps(times) == [pytest.approx(0.5)] * 2
    assert states >= {"probing", "up"}


def test_a_query_that_is_answered_while_it_is_down_hurries_the_next(make: Made) -> None:
    world = fallen(make(interval=0.1, rise=1))
    world.run(30)
    times = probes_at(world, closed)
    while not times:
        world.run(0.01)
    times = probes_at(world, answering())
    world.exchange("query.example.org")
    world.run(0.1)
    assert world.upstream.up
    assert gaps(times) == [pytest.approx(0.1, abs=0.02)]


def test_when_servfail_is_an_answer_it_is_one(make: Made) -> None:
    world = fallen(make())
    world.script(answering(rcode=SERVFAIL))
    world.run(2)
    assert world.upstream.up


def test_when_it_is_none_probes_are_sent_without_failures_and_it_puts_the_upstream_down(
    make: Made, caplog: pytest.LogCaptureFixture
) -> None:
    world = make(servfail_is_up=False, interval=0.5, fall=3)
    times = probes_at(world, answering())
    world.upstream.prober.start()
    world.run(10.1)
    assert gaps(times) == [pytest.approx(0.5)] * 19
    world.script(answering(rcode=SERVFAIL))
    for _ in range(6):
        world.exchange(run_s=0.25)  # answered, with SERVFAIL: no failure of theirs, and no good news either
    assert not world.upstream.up
    assert caplog.messages == [f"upstream udp://{SERVER} down: 3 SERVFAIL"]
    status = world.upstream.upstream_status()
    assert (status["probe_failures"], status["responses"], status["timeouts"]) == (3, 6, 0)
    world.script(answering())
    world.run(2)
    assert world.upstream.up


@pytest.mark.parametrize("script", [answering(rcode=5), answering(rcode=3), answering()])
def test_every_other_rcode_is_an_answer(make: Made, script: Script) -> None:
    world = make(servfail_is_up=False)
    world.script(script)
    world.upstream.prober.start()
    world.run(10)
    assert world.upstream.upstream_status()["failures"] == 0


def test_they_ask_what_the_options_say(make: Made) -> None:
    world = fallen(make(name=b"\6health\7example\3org\0", type=16))
    world.network.asked.clear()
    world.run(3)
    ids = set()
    for _, octets in world.network.asked:
        asked = dns.message.from_wire(octets)
        assert [str(question) for question in asked.question] == ["health.example.org. IN TXT"]
        assert dns.flags.to_text(asked.flags) == "RD"
        ids.add(asked.id)
    assert len(ids) > 1


def test_they_go_over_the_upstreams_own_transport(make: Made) -> None:
    world = make("tcp")
    exchange = world.exchange()
    exchange.failed("closed")
    world.run(1)
    assert [server for server, _ in world.network.asked[1:]] == [f"tcp://{SERVER}"]


def edited(world: World) -> World:
    """With DNS cookies in what it is asked."""
    world.upstream.edits = Edits(replace(world.upstream.options, edits=EditOptions(cookies=True)))
    return world


def test_they_are_edited_as_queries_are(make: Made) -> None:
    world = edited(make("tcp"))
    world.exchange().failed("closed")
    world.run(1)
    query, probe = (dns.message.from_wire(octets) for _, octets in world.network.asked)
    assert [option.otype for option in probe.options] == [dns.edns.OptionType.COOKIE]
    assert probe.options == query.options


def test_an_answer_that_an_edit_wants_asked_again_is_one(make: Made) -> None:
    def with_another_cookie(octets: bytes) -> bytes:
        asked = dns.message.from_wire(octets)
        (cookie,) = asked.options
        assert isinstance(cookie, dns.edns.CookieOption)
        reply = dns.message.make_response(asked)
        reply.use_edns(0, options=[dns.edns.CookieOption(cookie.client, b"x" * 8)])
        reply.set_rcode(dns.rcode.BADCOOKIE)
        return reply.to_wire()

    world = fallen(edited(make(rise=1, servfail_is_up=False)))
    world.script(with_another_cookie)
    world.run(2)
    assert world.upstream.up


def test_a_probe_that_others_answer_too_often_says_nothing(make: Made) -> None:
    world = fallen(make(rise=1))
    world.pool.limit(1)
    before = world.upstream.upstream_status()
    world.script(lambda octets: [b"\0\0" + octets[2:]] * 30)
    world.run(10)
    status = world.upstream.upstream_status()
    assert status["probes"] > before["probes"]
    assert (status["state"], status["probe_failures"]) == ("down", before["probe_failures"])


class Listening(Tap, Plugin):
    """Keeps what it is told of."""

    def __init__(self) -> None:
        super().__init__(())
        self.events: list[Event] = []

    def forwarder_query(self, event: Event) -> None:
        self.events.append(event)

    def forwarder_response(self, event: Event) -> None:
        self.events.append(event)


def test_no_tap_hears_of_them(make: Made) -> None:
    world = make()
    world.script(closed)
    tap = Listening()
    while world.upstream.up:
        world.exchange(run_s=0.001, taps=(tap,))
    assert len(tap.events) == 3
    world.run(5)
    world.script(answering())
    world.run(5)
    assert world.upstream.health.transitions == 2
    assert len(tap.events) == 3


def test_they_end_with_the_upstream(make: Made) -> None:
    world = fallen(make())
    world.run(3)
    world.upstream.nursery = None
    asked = len(world.network.asked)
    world.run(60)
    assert len(world.network.asked) == asked
    assert not world.upstream.prober.is_running
