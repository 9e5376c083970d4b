"""What a configuration puts in service: plugins that cannot start keep all of it from starting, and leave nothing."""

import ipaddress
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from trio.testing import MockClock, trio_test

from dnsproxy.flight import Waiter
from dnsproxy.generation import LINGER_S, LOOK_S, START_MAX_S, Generation
from dnsproxy.leases import Leases
from dnsproxy.message import Query, Response
from dnsproxy.plugin import Plugin
from dnsproxy.sockets import StartError
from tests.support.offline import Offline, query


class Leasing(Plugin):
    def bind(self, plugins: Any, server: Any) -> None:
        server.lease("thing", object)


class Endless(Plugin):
    """Is never ready for queries."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await trio.sleep_forever()


class Done(Plugin):
    """Has nothing to do, and does not say so."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await trio.lowlevel.checkpoint()


class Failing(Plugin):
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        raise OSError("no network")


class Wordless(Plugin):
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        raise OSError


class Mute(Plugin):
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        class MuteError(ValueError):
            def __str__(self) -> str:
                raise KeyError

        raise MuteError("never said")


class BadLoser(Plugin):
    """Fails when it is told to end, beside others of its tasks that just end."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(self._fail_at_the_end)
            task_status.started()

    async def _fail_at_the_end(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("on purpose")


class Impatient(Plugin):
    deadline_s: Any = "5s"


class Waiting(Plugin):
    """Answers when it is told to."""

    waiter: Waiter

    async def handle(self, query: Query) -> Response:
        return await self.waiter  # type: ignore[no-any-return]


class Unmakeable(Plugin):
    def __init__(self, stanzas: Any) -> None:
        raise KeyError("zone")


class Talking(Plugin):
    def describe(self) -> list[str]:
        return ["tells", "and tells more"]


class Around(Offline):
    """A server for generations."""

    def __init__(self) -> None:
        super().__init__()
        self.leases = Leases(1.0)


def generation_of(around: Around, *plugins: type[Plugin], servers: int = 1) -> Generation:
    entries = [SimpleNamespace(plugin=plugin, name=plugin.__name__.lower(), stanzas=()) for plugin in plugins]
    server = SimpleNamespace(zones=(b"\0",), allow=(), listen=(), plugins=entries)
    configuration: Any = SimpleNamespace(servers=(server,) * servers)
    return Generation(configuration, around)


@pytest.mark.parametrize(
    ("plugin", "line"),
    [
        (Unmakeable, "plugin unmakeable cannot start: KeyError('zone')"),
        (Impatient, "plugin impatient cannot start: TypeError(\"its deadline_s is '5s'; expected seconds\")"),
    ],
)
def test_what_cannot_be_made_is_named_alone_and_leaves_nothing(plugin: type[Plugin], line: str) -> None:
    around = Around()
    with pytest.raises(StartError) as caught:
        generation_of(around, Leasing, plugin, Done)
    assert str(caught.value) == line
    assert list(around.leases.things()) == []


def test_what_several_servers_share_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "dnsproxy")
    generation_of(Around(), Talking, Done, servers=3).describe()
    assert caplog.messages == ["talking: tells", "talking: and tells more"]


@trio_test
@pytest.mark.parametrize(
    ("plugin", "line"),
    [
        (Failing, "plugin failing cannot start: no network"),
        (Wordless, "plugin wordless cannot start: OSError()"),
        (Mute, "plugin mute cannot start: MuteError('never said')"),
        (Endless, f"plugin endless cannot start: its run has not called started() within {START_MAX_S:g} s"),
    ],
)
async def test_work_that_does_not_start_is_one_error_and_leaves_nothing(
    plugin: type[Plugin], line: str, autojump_clock: MockClock
) -> None:
    around = Around()
    async with trio.open_nursery() as nursery:
        around.leases.nursery = nursery
        with pytest.raises(StartError) as caught:
            await nursery.start(generation_of(around, Leasing, plugin).run)
        assert str(caught.value) == line
        await trio.testing.wait_all_tasks_blocked()
        assert list(around.leases.things()) == []


@trio_test
async def test_work_that_is_done_at_once_has_started(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(generation_of(Around(), Done).run)
        nursery.cancel_scope.cancel()


# the end


async def lingers_s(around: Around, generation: Generation) -> float:
    started = trio.current_time()
    await generation.retire(around.flights)
    assert list(around.leases.things()) == [], "it lets go of everything"
    return trio.current_time() - started


def ask(around: Around, generation: Generation) -> None:
    """A query in the generation's chain that waits for Waiting's waiter."""
    (chain,) = generation.chains
    chain.allow = (ipaddress.ip_network("192.0.2.0/24"),)
    around.chain = chain
    around.flights.timers.fifo(chain.deadline_s)
    Waiting.waiter = Waiter()
    around.start(query())


@trio_test
async def test_with_nothing_under_way_it_lets_go_at_once(autojump_clock: MockClock) -> None:
    around = Around()
    assert await lingers_s(around, generation_of(around, Leasing)) <= LOOK_S


@trio_test
async def test_what_fails_on_its_way_out_ends_nothing_else(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    around = Around()
    async with trio.open_nursery() as nursery:
        generation = generation_of(around, BadLoser)
        await nursery.start(generation.run)
        await generation.retire(around.flights)
        await trio.testing.wait_all_tasks_blocked()
        assert caplog.messages == ["plugin badloser: its background work has ended"]
        with pytest.raises(StartError, match="plugin failing cannot start: no network"):
            await nursery.start(generation_of(around, BadLoser, Failing).run)


@trio_test
async def test_it_stays_for_its_last_answer(autojump_clock: MockClock) -> None:
    async def answer() -> None:
        await trio.sleep(2.0)
        Waiting.waiter.set(Response(b""))
        around.flights.drain()

    around = Around()
    generation = generation_of(around, Leasing, Waiting)
    ask(around, generation)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        assert 2.0 <= await lingers_s(around, generation) <= 2.0 + LOOK_S


@trio_test
async def test_it_stays_for_other_chains_queries_not_at_all(autojump_clock: MockClock) -> None:
    around = Around()
    ask(around, generation_of(around, Waiting))
    assert await lingers_s(around, generation_of(around, Leasing)) <= LOOK_S


@trio_test
async def test_for_what_never_ends_it_stays_as_long_as_a_query_may_take(autojump_clock: MockClock) -> None:
    around = Around()
    generation = generation_of(around, Leasing, Waiting)
    ask(around, generation)
    (chain,) = generation.chains
    assert await lingers_s(around, generation) == pytest.approx(chain.deadline_s + LINGER_S)
