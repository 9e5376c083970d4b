"""What tells the two forms of the driver apart: the clock they are for, and what of trio the fast one reads."""

import select
from typing import Any

import trio
from trio.testing import MockClock, trio_test

from dnsproxy.driver import Driver, EpollDriver, make_driver
from dnsproxy.flight import Flights
from tests.support.driving import SOON_S, driving


def chosen(**options: Any) -> Driver:
    async def main() -> Driver:
        return make_driver(Flights())

    return trio.run(main, **options)


def test_the_fast_form_is_chosen_for_a_real_clock_and_the_plain_one_for_a_test_clock() -> None:
    assert type(chosen()) is EpollDriver
    assert type(chosen(clock=MockClock())) is Driver


@trio_test
async def test_the_private_attributes_of_trio_that_the_fast_form_reads_are_what_it_takes_them_for() -> None:
    async with driving(EpollDriver) as (driver, _):
        assert isinstance(driver, EpollDriver)
        runner = trio._core._run.GLOBAL_RUN_CONTEXT.runner
        assert isinstance(runner.io_manager._epoll, select.epoll)
        assert driver.turns.trio_fd == runner.io_manager._epoll.fileno()
        await check_run_queue(driver)


async def check_run_queue(driver: EpollDriver) -> None:
    async with trio.open_nursery() as nursery:
        assert not driver.turns.run_queue
        nursery.start_soon(trio.lowlevel.checkpoint)
        assert [task.name for task in driver.turns.run_queue] == ["trio.lowlevel.checkpoint"]


@trio_test
async def test_trios_own_sockets_and_clock_go_on_in_the_fast_form() -> None:
    async with driving(EpollDriver):
        ours, theirs = trio.socket.socketpair()
        with ours, theirs, trio.fail_after(SOON_S):
            await theirs.send(b"!")
            assert await ours.recv(1) == b"!"
            began = trio.current_time()
            await trio.sleep(0.02)
            assert 0.02 <= trio.current_time() - began < 1


@trio_test
async def test_a_thread_that_ends_wakes_the_fast_form() -> None:
    async with driving(EpollDriver):
        with trio.fail_after(SOON_S):
            await trio.to_thread.run_sync(lambda: None)
