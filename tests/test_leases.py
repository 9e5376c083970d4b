"""What outlives a chain: made once, shared, and ended when nobody holds it any more."""

from types import SimpleNamespace
from typing import Any

import pytest
import trio
import trio.testing
from trio.testing import MockClock, trio_test

from dnsproxy.leases import Holder, Leases

DRAIN_S = 5.0


class Thing:
    """Says when it runs and ends; takes a while to drain."""

    def __init__(self, drain_takes_s: float = 1.0) -> None:
        self.drain_takes_s = drain_takes_s
        self.log: list[str] = []

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        await trio.lowlevel.checkpoint()
        self.log.append("runs")
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            self.log.append("ended")

    async def drain(self, deadline_s: float) -> None:
        self.log.append(f"drains {deadline_s}")
        await trio.sleep(self.drain_takes_s)
        self.log.append("drained")


def holder(leases: Leases) -> Holder:
    names = ("version", "workers", "relay", "listen", "flights", "driver", "receiver", "sender")
    return Holder(SimpleNamespace(**dict.fromkeys(names)), leases, lambda *_: False)


def things(leases: Leases) -> list[Any]:
    return list(leases.things())


def test_a_thing_is_made_once_for_each_key() -> None:
    leases = Leases(DRAIN_S)
    one, other = holder(leases), holder(leases)
    first = one.lease("key", Thing)
    assert one.lease("key", Thing) is first
    assert other.lease("key", Thing) is first
    assert other.lease("other", Thing) is not first
    assert things(leases) == [first, other.lease("other", Thing)]


def test_what_is_given_back_before_anything_runs_is_closed() -> None:
    closed: list[str] = []
    leases = Leases(DRAIN_S)
    one = holder(leases)
    one.lease("key", lambda: SimpleNamespace(close=lambda: closed.append("key")))
    one.lease("other", Thing)
    one.release()
    assert (closed, things(leases)) == (["key"], [])


def test_a_thing_that_cannot_be_made_leaves_nothing_behind() -> None:
    def fails() -> Thing:
        raise ValueError

    leases = Leases(DRAIN_S)
    one = holder(leases)
    for _ in range(2):
        try:
            one.lease("key", fails)
        except ValueError:
            continue
    assert things(leases) == []
    one.release()


@trio_test
async def test_what_was_leased_before_the_start_runs_then_and_the_rest_at_once(autojump_clock: MockClock) -> None:
    leases = Leases(DRAIN_S)
    one = holder(leases)
    early, plain = one.lease("early", Thing), one.lease("plain", object)
    async with trio.open_nursery() as nursery:
        await leases.start(nursery)
        assert early.log == ["runs"]
        late = one.lease("late", Thing)
        await trio.sleep(1)
        assert late.log == ["runs"]
        assert things(leases) == [early, plain, late]
        await leases.end()
    assert early.log == late.log == ["runs", f"drains {DRAIN_S}", "drained", "ended"]


@trio_test
async def test_the_last_holder_ends_it(autojump_clock: MockClock) -> None:
    leases = Leases(DRAIN_S)
    one, other = holder(leases), holder(leases)
    async with trio.open_nursery() as nursery:
        await leases.start(nursery)
        ended: list[Any] = []
        leases.on_ended = ended.append
        thing = one.lease("key", Thing)
        one.lease("key", Thing)
        other.lease("key", Thing)
        await trio.sleep(1)
        one.release()
        await trio.sleep(10)
        assert thing.log == ["runs"]
        other.release()
        await trio.sleep(0.5)
        assert thing.log == ["runs", f"drains {DRAIN_S}"]
        assert things(leases) == [thing], "until it has drained"
        await trio.sleep(1)
        assert thing.log[2:] == ["drained", "ended"]
        assert (things(leases), ended) == ([], [thing])
        assert one.lease("key", Thing) is not thing
        nursery.cancel_scope.cancel()


@trio_test
async def test_draining_has_a_bound(autojump_clock: MockClock) -> None:
    leases = Leases(DRAIN_S)
    one = holder(leases)
    async with trio.open_nursery() as nursery:
        await leases.start(nursery)
        stuck, quick = one.lease("stuck", lambda: Thing(3600)), one.lease("quick", Thing)
        await trio.sleep(1)
        began = trio.current_time()
        await leases.end()
        assert trio.current_time() - began <= DRAIN_S + 1.1
    assert "drained" not in stuck.log
    assert "drained" in quick.log
    assert stuck.log[-1] == quick.log[-1] == "ended"


@trio_test
async def test_what_is_being_drained_when_the_end_comes_ends_too(autojump_clock: MockClock) -> None:
    leases = Leases(DRAIN_S)
    one = holder(leases)
    async with trio.open_nursery() as nursery:
        await leases.start(nursery)
        thing = one.lease("key", lambda: Thing(3600))
        await trio.sleep(1)
        one.release()
        await trio.sleep(1)
        await leases.end()
    assert thing.log[-1] == "ended"


@trio_test
async def test_a_thing_that_fails_ends_alone_and_is_named(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(Thing):
        async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            raise ValueError("broken")

        async def drain(self, deadline_s: float) -> None:
            raise ValueError("cannot be drained")

        def __repr__(self) -> str:
            return "<Failing thing>"

    leases = Leases(DRAIN_S)
    held = holder(leases)
    held.lease("early", Failing)
    async with trio.open_nursery() as nursery:
        await leases.start(nursery)
        held.lease("late", Failing)
        await trio.testing.wait_all_tasks_blocked()
        await leases.end()
        nursery.cancel_scope.cancel()
    assert sum("<Failing thing> has ended" in message for message in caplog.messages) == 2
    assert sum("<Failing thing> cannot be drained" in message for message in caplog.messages) == 2


@trio_test
async def test_one_that_fails_on_its_way_out_ends_alone_too(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class BadLoser(Thing):
        async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                try:
                    await Thing.run(self, task_status=task_status)
                finally:
                    raise ValueError("on purpose")

    leases = Leases(DRAIN_S)
    held = holder(leases)
    async with trio.open_nursery() as nursery:
        await leases.start(nursery)
        thing = held.lease("key", BadLoser)
        await trio.testing.wait_all_tasks_blocked()
        held.release()
        await trio.sleep(DRAIN_S)
        assert thing.log[-1] == "ended"
        assert caplog.messages == [f"{thing!r} has ended"]
        nursery.cancel_scope.cancel()


@trio_test
async def test_one_that_is_done_at_once_holds_nobody_up(autojump_clock: MockClock) -> None:
    class Done(Thing):
        async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            self.log.append("done")

    leases = Leases(DRAIN_S)
    thing = holder(leases).lease("key", Done)
    async with trio.open_nursery() as nursery:
        await leases.start(nursery)
        assert thing.log == ["done"]


def test_only_what_can_be_reopened_is_and_a_failure_is_its_own(caplog: pytest.LogCaptureFixture) -> None:
    class Reopened(Thing):
        def reopen(self) -> None:
            self.log.append("reopened")

    class Failing(Thing):
        def reopen(self) -> None:
            raise ValueError("broken")

        def __repr__(self) -> str:
            return "<Failing thing>"

    leases = Leases(DRAIN_S)
    held = holder(leases)
    kinds = {"fails": Failing, "plain": Thing, "file": Reopened, "other": Reopened}
    made = {key: held.lease(key, kind) for key, kind in kinds.items()}
    assert held.keys == set(kinds)
    leases.reopen(["fails", "plain", "file"])
    assert [thing.log for thing in made.values()] == [[], [], ["reopened"], []]
    assert caplog.messages == ["<Failing thing> cannot be reopened"]
