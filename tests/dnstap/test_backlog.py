"""What a tap keeps, drops and counts: the books balance whatever happens."""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dnsproxy.dnstap.backlog import EPISODE_MAX_S, MAX_FRAME, NEVER, SPOOL_FULL, Backlog


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_backlog(frames: int = 10, octets: int = 1000) -> tuple[Backlog, Clock, list[float]]:
    clock, woken = Clock(), list[float]()
    return Backlog(frames, octets, clock, lambda: woken.append(clock.now)), clock, woken


def dropped(backlog: Backlog) -> dict[str, int]:
    return {reason: count for reason, count in backlog.dropped.items() if count}


def test_frames_leave_in_order_and_are_counted_when_their_last_octet_has_left() -> None:
    backlog, _, _ = make_backlog()
    for frame in (b"aaa", b"bb", b"c"):
        backlog.offer(frame)
    assert backlog.take(100) == b"aaabbc"
    for octets, sent in ((2, 0), (1, 1), (1, 1), (2, 3)):
        backlog.written(octets)
        assert (backlog.sent, backlog.queued) == (sent, 3 - sent)
    assert (backlog.offered, backlog.sent_octets) == (3, 6)


def test_a_partly_written_frame_goes_back_to_the_head_and_is_written_whole() -> None:
    backlog, _, _ = make_backlog()
    for frame in (b"aaa", b"bbb", b"ccc"):
        backlog.offer(frame)
    backlog.take(100)
    backlog.written(4)
    backlog.offer(b"ddd")
    backlog.give_back()
    assert (backlog.sent, backlog.queued) == (1, 3)
    assert backlog.take(100) == b"bbbcccddd"


def test_no_more_is_taken_than_asked_for_but_always_one_frame() -> None:
    backlog, _, _ = make_backlog()
    for frame in (b"aaa", b"bbb", b"ccc"):
        backlog.offer(frame)
    assert backlog.take(4) == b"aaabbb"
    backlog.written(6)
    assert backlog.take(1) == b"ccc"
    backlog.written(3)
    assert backlog.take(1) == b""


def test_a_full_queue_drops_the_newest_and_what_is_being_written_counts_too() -> None:
    backlog, _, _ = make_backlog(frames=3)
    for frame in (b"a", b"b"):
        backlog.offer(frame)
    backlog.take(100)
    for frame in (b"c", b"d"):
        backlog.offer(frame)
    assert (backlog.queued, dropped(backlog)) == (3, {"queue_full": 1})
    backlog.written(1)
    backlog.offer(b"e")
    backlog.give_back()
    assert backlog.take(100) == b"bce"


def test_octets_are_a_bound_too() -> None:
    backlog, _, _ = make_backlog(octets=10)
    for _ in range(3):
        backlog.offer(b"x" * 4)
    assert (backlog.queued, dropped(backlog)) == (2, {"queue_full": 1})


def test_a_frame_that_receivers_choke_on_is_dropped_as_oversize() -> None:
    backlog, _, _ = make_backlog(octets=1 << 20)
    backlog.offer(b"x" * MAX_FRAME)
    backlog.offer(b"x" * (MAX_FRAME + 1))
    assert (backlog.queued, dropped(backlog)) == (1, {"oversize": 1})


def test_a_full_disk_has_a_reason_of_its_own() -> None:
    backlog, _, _ = make_backlog(frames=1)
    backlog.full_reason = SPOOL_FULL
    backlog.offer(b"a")
    backlog.offer(b"b")
    assert dropped(backlog) == {"spool_full": 1}


def test_what_is_left_at_the_end_is_counted_and_so_is_what_comes_later() -> None:
    backlog, _, _ = make_backlog()
    for frame in (b"aaa", b"bbb", b"ccc"):
        backlog.offer(frame)
    backlog.take(100)
    backlog.written(4)
    backlog.close()
    backlog.close()
    backlog.offer(b"late")
    assert (backlog.offered, backlog.sent, backlog.queued, dropped(backlog)) == (4, 1, 0, {"shutdown": 3})


def test_the_writer_is_woken_once_when_as_many_wait_as_it_asked_for() -> None:
    backlog, clock, woken = make_backlog()
    for number in range(6):
        clock.now = float(number)
        if number == 1:
            backlog.wake_at(4)
        backlog.offer(b"x")
    assert woken == [3.0]


def test_the_writer_is_woken_when_the_queue_is_half_full_of_octets() -> None:
    backlog, _, woken = make_backlog(frames=1000, octets=100)
    backlog.wake_at(500)
    for _ in range(5):
        backlog.offer(b"x" * 10)
    assert (woken, backlog.is_due(500)) == ([], False)
    backlog.offer(b"x")
    assert (woken, backlog.is_due(500)) == ([0.0], True)


def test_the_oldest_frames_age_is_known_without_a_time_for_each() -> None:
    backlog, clock, _ = make_backlog(frames=100)
    backlog.wake_at(1)
    clock.now = 10.0
    backlog.offer(b"first")
    clock.now = 12.0
    assert backlog.oldest_s(12.0) == 2.0
    backlog.mark(12.0)
    clock.now = 13.0
    backlog.offer(b"second")
    backlog.take(1)
    assert backlog.oldest_s(13.0) == 3.0
    backlog.written(5)
    assert backlog.oldest_s(15.0) == 3.0
    backlog.take(10)
    backlog.written(6)
    assert backlog.oldest_s(15.0) == 0.0


def test_marks_do_not_pile_up_while_nothing_happens() -> None:
    backlog, _, _ = make_backlog()
    backlog.offer(b"x")
    for second in range(100):
        backlog.mark(float(second))
    assert len(backlog._marks) == 1


def test_an_episode_of_drops_is_told_once_it_is_over() -> None:
    backlog, clock, _ = make_backlog(frames=1)
    for now in (0.0, 0.1, 0.5, 0.9):
        clock.now = now
        backlog.offer(b"x")
    assert backlog.end_episode(1.5) is None
    episode = backlog.end_episode(2.0)
    assert str(episode) == "3 messages in 0.8 s (3 queue_full)"
    assert backlog.end_episode(9.0) is None


def test_an_episode_that_does_not_end_is_told_every_minute() -> None:
    backlog, clock, _ = make_backlog(frames=1)
    told = 0
    for tenth in range(int(EPISODE_MAX_S * 10 * 2.5)):
        clock.now = tenth / 10
        backlog.offer(b"x")
        told += backlog.end_episode(clock.now) is not None
    assert told == 2


class Books(RuleBasedStateMachine):
    """A backlog beside a model that keeps every frame."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.backlog = Backlog(8, 60, self.clock, lambda: None)
        self.kept = deque[bytes]()
        self.offered = self.lost = self.number = 0
        self.chunk = b""
        self.out = b""

    @rule(size=st.integers(1, 20))
    def offer(self, size: int) -> None:
        frame = bytes([self.number % 256]) * size
        self.number += 1
        self.offered += 1
        if len(self.kept) < 8 and sum(map(len, self.kept)) + size <= 60:
            self.kept.append(frame)
        else:
            self.lost += 1
        self.backlog.offer(frame)

    @rule(frames=st.sampled_from([1, 3, NEVER]))
    def wake_at(self, frames: int) -> None:
        self.backlog.wake_at(frames)

    @precondition(lambda self: not self.chunk)
    @rule(octets=st.integers(1, 80))
    def take(self, octets: int) -> None:
        self.chunk = self.backlog.take(octets)
        assert b"".join(self.kept).startswith(self.chunk)
        assert bool(self.chunk) == bool(self.kept)

    @precondition(lambda self: self.chunk)
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        octets = data.draw(st.integers(1, len(self.chunk)))
        self.backlog.written(octets)
        self.out += self.chunk[:octets]
        self.chunk = self.chunk[octets:]
        while self.kept and len(self.out) >= len(self.kept[0]):
            assert self.out.startswith(self.kept[0])
            self.out = self.out[len(self.kept.popleft()) :]

    @rule(seconds=st.floats(0, 5))
    def break_off(self, seconds: float) -> None:
        self.clock.now += seconds
        self.backlog.give_back()
        self.backlog.mark(self.clock.now)
        self.chunk = self.out = b""

    @invariant()
    def the_books_balance(self) -> None:
        backlog = self.backlog
        assert backlog.offered == self.offered
        assert backlog.queued == len(self.kept)
        assert backlog.dropped["queue_full"] == self.lost
        assert backlog.sent == self.offered - self.lost - len(self.kept)
        assert 0 <= backlog.oldest_s(self.clock.now) <= self.clock.now


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
