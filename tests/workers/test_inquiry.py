"""Asking all workers at once, when some of them hang or end."""

from collections.abc import Mapping
from typing import Any

import pytest

from dnsproxy.workers.handle import State
from dnsproxy.workers.inquiry import ANSWER_S, Inquiry, Statuses
from dnsproxy.workers.legacy import Legacy
from tests.workers.fakes import FakeLoop, FakeWorker, as_handle, as_loop


class RememberingLegacy(Legacy):
    """Remembers what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.given: list[Mapping[str, Any]] = []

    def add(self, status: Mapping[str, Any]) -> None:
        self.given.append(status)


class Asking:
    """Two workers, or so many, and what is heard of them."""

    def __init__(self, workers: int = 2) -> None:
        self.loop = FakeLoop()
        self.workers = [FakeWorker(number) for number in range(1, workers + 1)]
        self.legacy = RememberingLegacy()
        self.inquiry = Inquiry(as_loop(self.loop), [as_handle(worker) for worker in self.workers], self.legacy)
        self.heard: list[Statuses] = []

    def ask(self) -> None:
        self.inquiry.ask(self.heard.append)

    def answer(self, worker: FakeWorker, what: int) -> None:
        _, body = worker.told[-1]
        self.inquiry.answered(as_handle(worker), body["number"], {"what": what})


@pytest.fixture
def asking() -> Asking:
    return Asking()


def test_the_answer_is_there_when_all_have_answered(asking: Asking) -> None:
    asking.ask()
    first, second = asking.workers
    asking.answer(second, 2)
    assert asking.heard == []
    asking.answer(first, 1)
    assert asking.heard == [[{"what": 1}, {"what": 2}]]


def test_one_that_hangs_is_left_out_with_what_it_told_last(asking: Asking) -> None:
    first, second = asking.workers
    asking.ask()
    asking.answer(first, 1)
    asking.answer(second, 2)
    asking.ask()
    asking.answer(first, 10)
    asking.loop.pass_time(ANSWER_S)
    assert asking.heard[1] == [{"what": 10}, {"what": 2}]


def test_one_that_still_hangs_is_not_waited_for_again_nor_asked_again(asking: Asking) -> None:
    first, second = asking.workers
    asking.ask()
    asking.loop.pass_time(ANSWER_S)
    asking.ask()
    assert len(asking.heard) == 2
    assert (len(first.told), len(second.told)) == (1, 1)
    asking.answer(first, 1)
    asking.answer(second, 2)
    asking.ask()
    assert len(first.told) == 2
    assert len(asking.heard) == 2


def test_who_asks_during_a_round_gets_the_next_ones_answers(asking: Asking) -> None:
    asking.ask()
    asking.answer(asking.workers[0], 1)
    asking.ask()
    asking.ask()
    asking.answer(asking.workers[1], 2)
    assert asking.heard == [[{"what": 1}, {"what": 2}]]
    for worker in asking.workers:
        asking.answer(worker, 9)
    assert asking.heard[1:] == [[{"what": 9}, {"what": 9}]] * 2


def test_one_that_ends_is_not_waited_for(asking: Asking) -> None:
    first, second = asking.workers
    asking.ask()
    asking.answer(first, 1)
    second.state = State.NONE
    asking.inquiry.lost(as_handle(second))
    assert asking.heard == [[{"what": 1}]]


def test_what_one_that_ends_told_last_is_its_legacy_before_anybody_gets_an_answer_without_it(asking: Asking) -> None:
    first, second = asking.workers
    asking.ask()
    asking.answer(first, 1)
    asking.answer(second, 2)
    asking.inquiry.said_last(as_handle(first), {"what": 100})
    given_when_heard = list[object]()
    asking.inquiry.ask(lambda statuses: given_when_heard.append((statuses, list(asking.legacy.given))))
    asking.answer(second, 20)
    first.state = State.NONE
    asking.inquiry.lost(as_handle(first))
    assert given_when_heard == [([{"what": 20}], [{"what": 100}])]
    asking.inquiry.lost(as_handle(first))
    assert asking.legacy.given == [{"what": 100}]


def test_without_workers_that_are_ready_the_answer_comes_at_once(asking: Asking) -> None:
    for worker in asking.workers:
        worker.state = State.STARTING
    asking.ask()
    assert asking.heard == [[]]
