"""A new configuration is tried by one worker before the others get it."""

import pytest

from dnsproxy.workers.handle import State
from dnsproxy.workers.reloading import TAKE_S, Reloading
from tests.workers.fakes import FakeLoop, FakeWorker, as_handle, as_loop

RELOAD = ("reload", {"text": "new"})


class Trial:
    """Three workers and a reload of theirs."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.workers = [FakeWorker(number) for number in (1, 2, 3)]
        self.happened: list[object] = []
        self.reloading = Reloading(
            as_loop(self.loop), RELOAD[1], [{}, {}, {}], lambda: self.happened.append("commit"), self.happened.append
        )

    def begin(self) -> None:
        self.reloading.begin([as_handle(worker) for worker in self.workers])

    def answer(self, number: int, *errors: str) -> None:
        self.reloading.answered(as_handle(self.workers[number - 1]), list(errors))

    @property
    def told(self) -> list[int]:
        return [worker.number for worker in self.workers if worker.told == [RELOAD]]


@pytest.fixture
def trial() -> Trial:
    return Trial()


def test_the_first_tries_then_the_others_take_it(trial: Trial) -> None:
    trial.begin()
    assert trial.told == [1]
    trial.answer(1)
    assert (trial.told, trial.happened) == ([1, 2, 3], ["commit"])
    trial.answer(3)
    trial.answer(2)
    assert trial.happened == ["commit", []]


def test_what_the_first_cannot_take_changes_nothing(trial: Trial) -> None:
    trial.begin()
    trial.answer(1, "plugin x cannot start", "so there")
    assert trial.told == [1]
    assert trial.happened == [["plugin x cannot start", "so there"]]


def test_a_first_one_that_ends_while_it_tries_changes_nothing(trial: Trial) -> None:
    trial.begin()
    trial.reloading.lost(as_handle(trial.workers[0]))
    assert trial.told == [1]
    ((error,),) = trial.happened  # type: ignore[misc]
    assert "worker 1" in error  # type: ignore[has-type]


def test_another_one_that_cannot_take_it_is_replaced(trial: Trial) -> None:
    trial.begin()
    trial.answer(1)
    trial.answer(2, "no memory")
    assert trial.workers[1].fate == "ended"
    trial.answer(3)
    assert trial.happened == ["commit", []]


def test_another_one_that_ends_is_not_waited_for(trial: Trial) -> None:
    trial.begin()
    trial.answer(1)
    trial.answer(2)
    trial.reloading.lost(as_handle(trial.workers[2]))
    trial.reloading.lost(as_handle(trial.workers[2]))
    assert trial.happened == ["commit", []]


def test_those_that_do_not_answer_are_killed(trial: Trial) -> None:
    trial.begin()
    trial.answer(1)
    trial.answer(2)
    trial.loop.pass_time(TAKE_S)
    assert [worker.fate for worker in trial.workers] == ["", "", "killed"]


def test_the_first_that_is_ready_tries_and_one_that_starts_takes_it_when_it_has(trial: Trial) -> None:
    trial.workers[0].state = State.STARTING
    trial.workers[2].state = State.NONE
    trial.begin()
    assert trial.told == [2]
    trial.answer(2)
    assert trial.told == [1, 2]
    trial.answer(1)
    assert trial.happened == ["commit", []]


def test_when_none_is_ready_all_take_it(trial: Trial) -> None:
    for worker in trial.workers:
        worker.state = State.NONE
    trial.begin()
    assert (trial.told, trial.happened) == ([], ["commit", []])


def test_an_end_before_the_first_has_taken_it_changes_nothing(trial: Trial) -> None:
    trial.begin()
    trial.reloading.abandon()
    assert trial.happened == [["the proxy stops"]]
    trial.loop.pass_time(TAKE_S)
    assert [worker.fate for worker in trial.workers] == ["", "", ""]


def test_at_an_end_amid_it_nobody_is_waited_for_or_killed(trial: Trial) -> None:
    trial.begin()
    trial.answer(1)
    trial.reloading.abandon()
    trial.loop.pass_time(TAKE_S)
    assert trial.happened == ["commit"]
    assert [worker.fate for worker in trial.workers] == ["", "", ""]
