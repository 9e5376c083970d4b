"""What a tap keeps, drops and counts."""

from dnsproxy.dnstap.backlog import MAX_FRAME, SPOOL_FULL, Backlog, Hand
from dnsproxy.dnstap.episode import EPISODE_MAX_S


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_backlog(
    frames: int = 10, octets: int = 1000, *, drops_oldest: bool = False
) -> tuple[Backlog, Clock, list[float]]:
    clock, woken = Clock(), list[float]()
    return Backlog(frames, octets, clock, lambda: woken.append(clock.now), drops_oldest), clock, woken


def offer(backlog: Backlog, *frames: bytes) -> None:
    for frame in frames:
        backlog.offer(frame)


def dropped(backlog: Backlog) -> dict[str, int]:
    return {reason: count for reason, count in backlog.dropped.items() if count}


def test_frames_leave_in_order_and_are_counted_when_their_last_octet_has_left() -> None:
    backlog, _, _ = make_backlog()
    offer(backlog, b"aaa", b"bb", b"c")
    assert backlog.take(100) == b"aaabbc"
    for octets, sent in ((2, 0), (1, 1), (1, 1), (2, 3)):
        backlog.written(octets)
        assert (backlog.sent, backlog.queued) == (sent, 3 - sent)
    assert (backlog.offered, backlog.sent_octets) == (3, 6)


def test_a_partly_written_frame_goes_back_to_the_head_and_is_written_whole() -> None:
    backlog, _, _ = make_backlog()
    offer(backlog, b"aaa", b"bbb", b"ccc")
    backlog.take(100)
    backlog.written(4)
    backlog.offer(b"ddd")
    backlog.give_back()
    assert (backlog.sent, backlog.queued) == (1, 3)
    assert backlog.take(100) == b"bbbcccddd"


def test_no_more_is_taken_than_asked_for_but_always_one_frame() -> None:
    backlog, _, _ = make_backlog()
    offer(backlog, b"aaa", b"bbb", b"ccc")
    assert backlog.take(4) == b"aaabbb"
    backlog.written(6)
    assert backlog.take(1) == b"ccc"
    backlog.written(3)
    assert backlog.take(1) == b""


def test_a_full_queue_drops_the_newest_and_what_is_being_written_counts_too() -> None:
    backlog, _, _ = make_backlog(frames=3)
    offer(backlog, b"a", b"b")
    backlog.take(100)
    offer(backlog, b"c", b"d")
    assert (backlog.queued, dropped(backlog)) == (3, {"queue_full": 1})
    backlog.written(1)
    backlog.offer(b"e")
    backlog.give_back()
    assert backlog.take(100) == b"bce"


def test_a_full_queue_may_give_up_the_oldest_instead() -> None:
    backlog, _, _ = make_backlog(frames=3, drops_oldest=True)
    offer(backlog, b"a", b"b", b"c", b"d", b"e")
    assert (backlog.queued, dropped(backlog)) == (3, {"queue_full": 2})
    assert backlog.take(2) == b"c", "half of the queue at most: what is taken cannot be given up"
    offer(backlog, b"f", b"g")
    assert (backlog.queued, dropped(backlog)) == (3, {"queue_full": 4})
    backlog.written(1)
    assert backlog.take(1) == b"f"


def test_what_cannot_fit_at_all_costs_no_older_frame() -> None:
    backlog, _, _ = make_backlog(octets=10, drops_oldest=True)
    offer(backlog, b"x" * 4, b"y" * 11)
    assert (backlog.queued, dropped(backlog)) == (1, {"queue_full": 1})


def test_octets_are_a_bound_too_for_the_oldest() -> None:
    backlog, _, _ = make_backlog(octets=10, drops_oldest=True)
    offer(backlog, b"aaaa", b"bbbb", b"cccccc")
    assert (backlog.queued, dropped(backlog)) == (2, {"queue_full": 1})
    assert backlog.take(100) == b"bbbbcccccc"


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


def test_who_takes_longer_frames_gets_them() -> None:
    backlog = Backlog(10, 1 << 20, lambda: 0.0, lambda: None, max_frame=MAX_FRAME + 1)
    backlog.offer(b"x" * (MAX_FRAME + 1))
    backlog.offer(b"x" * (MAX_FRAME + 2))
    assert (backlog.queued, dropped(backlog)) == (1, {"oversize": 1})


def test_a_full_disk_has_a_reason_of_its_own() -> None:
    backlog, _, _ = make_backlog(frames=1)
    backlog.full_reason = SPOOL_FULL
    backlog.offer(b"a")
    backlog.offer(b"b")
    assert dropped(backlog) == {"spool_full": 1}


def test_what_is_left_at_the_end_is_counted_and_so_is_what_comes_later() -> None:
    backlog, _, _ = make_backlog()
    offer(backlog, b"aaa", b"bbb", b"ccc")
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


def test_an_episode_of_drops_is_told_once_it_is_over() -> None:
    backlog, clock, _ = make_backlog(frames=1)
    for now in (0.0, 0.1, 0.5, 0.9):
        clock.now = now
        backlog.offer(b"x")
    assert backlog.drops.end_episode(1.5) is None
    episode = backlog.drops.end_episode(2.0)
    assert str(episode) == "3 messages in 0.8 s (3 queue_full)"
    assert backlog.drops.end_episode(9.0) is None


def test_an_episode_that_does_not_end_is_told_every_minute() -> None:
    backlog, clock, _ = make_backlog(frames=1)
    told = 0
    for tenth in range(int(EPISODE_MAX_S * 10 * 2.5)):
        clock.now = tenth / 10
        backlog.offer(b"x")
        told += backlog.drops.end_episode(clock.now) is not None
    assert told == 2


def test_what_was_lost_before_it_was_a_frame_was_offered_all_the_same() -> None:
    backlog, _, _ = make_backlog()
    backlog.lose(3)
    assert (backlog.offered, dropped(backlog)) == (3, {"queue_full": 3})


# several hands


def test_hands_share_what_waits_and_what_one_gives_back_another_one_gets() -> None:
    backlog, _, _ = make_backlog()
    one, other = Hand(backlog), Hand(backlog)
    offer(backlog, b"aaa", b"bbb", b"ccc", b"ddd")
    assert (one.take(4), other.take(3)) == (b"aaabbb", b"ccc")
    one.written(1)
    assert one.has_begun
    one.put_back()
    other.written(3)
    assert other.take(100) == b"bbbddd"
    assert one.take(100) == b"aa"
    one.give_back()
    other.written(6)
    assert other.take(100) == b"aaa"
    assert (backlog.sent, backlog.queued) == (3, 1)


def test_a_hand_that_has_begun_a_frame_gets_its_rest_and_more() -> None:
    backlog, _, _ = make_backlog()
    hand = Hand(backlog)
    offer(backlog, b"aaa", b"bbb")
    hand.take(100)
    hand.written(2)
    hand.put_back()
    offer(backlog, b"ccc")
    assert hand.take(100) == b"abbbccc"


def test_nobody_is_woken_for_what_others_hold() -> None:
    backlog, _, woken = make_backlog(octets=10)
    Hand(backlog).take(100)
    offer(backlog, b"x" * 8)
    hand = Hand(backlog)
    hand.take(100)
    backlog.wake_at(1)
    assert (backlog.is_due(1), backlog.available, woken) == (False, 0, [])


# beside a spool


def test_a_full_queue_is_spilled_and_what_follows_waits_behind_the_spool() -> None:
    backlog, _, _ = make_backlog(frames=3)
    full = list[int]()
    backlog.set_bounds(True)
    backlog.watch(lambda: full.append(backlog.queued))
    offer(backlog, b"a", b"b", b"c", b"d")
    assert full == [3], "once"
    assert backlog.spill() == [b"a", b"b", b"c", b"d"]
    offer(backlog, b"e")
    backlog.spilled(4)
    assert (backlog.queued, backlog.spooled, backlog.available) == (5, 4, 0)
    assert (backlog.is_due(100), backlog.take(100)) == (True, b"")
    backlog.replayed(4, 4)
    assert (backlog.sent, backlog.take(100)) == (4, b"e")


def test_while_a_spool_takes_what_is_beyond_nothing_is_dropped() -> None:
    backlog, _, _ = make_backlog(frames=3, octets=10)
    backlog.set_bounds(True)
    offer(backlog, *[b"xx"] * 100)
    assert (backlog.queued, dropped(backlog)) == (100, {})


def test_what_a_full_spool_refuses_is_cut_to_what_the_queue_holds() -> None:
    for drops_oldest, rest in ((False, b"bc"), (True, b"de")):
        backlog, _, _ = make_backlog(frames=2, drops_oldest=drops_oldest)
        backlog.set_bounds(True)
        offer(backlog, b"a", b"b", b"c", b"d", b"e")
        backlog.spill()
        backlog.spilled(1)
        assert (backlog.queued, dropped(backlog)) == (3, {"spool_full": 2})
        backlog.replayed(1, 1)
        assert backlog.take(1) == rest[:1]
        backlog.give_back()
        offer(backlog, b"f")
        assert dropped(backlog) == {"spool_full": 3}


def test_what_is_given_back_while_the_spool_holds_something_goes_before_it() -> None:
    backlog, _, _ = make_backlog()
    hand = Hand(backlog)
    offer(backlog, b"a", b"b")
    hand.take(100)
    offer(backlog, b"c")
    backlog.spill()
    backlog.spilled(1)
    hand.give_back()
    assert backlog.available == 2
    assert backlog.spill_returned() == [b"a", b"b"]
    backlog.spilled(2)
    assert (backlog.spooled, backlog.queued) == (3, 3)


def test_frames_found_in_a_spool_count_as_offered_and_are_as_old_as_they_are() -> None:
    backlog, clock, _ = make_backlog()
    clock.now = 100.0
    backlog.mark(clock.now)
    backlog.found(5, 60.0)
    assert (backlog.offered, backlog.queued, backlog.oldest_s(100.0)) == (5, 5, 60.0)
    offer(backlog, b"x")
    clock.now = 101.0
    backlog.replayed(5, 50)
    assert backlog.oldest_s(101.0) == 1.0
    assert (backlog.sent, backlog.sent_octets) == (5, 50)


def test_what_is_given_up_in_a_spool_is_counted() -> None:
    backlog, _, _ = make_backlog()
    backlog.found(5, 1.0)
    backlog.lost_in_spool(2)
    assert (backlog.offered, backlog.queued, dropped(backlog)) == (5, 3, {"spool_full": 2})


def test_at_the_end_what_is_in_the_spool_stays_queued() -> None:
    backlog, _, _ = make_backlog()
    backlog.found(5, 1.0)
    offer(backlog, b"a", b"b")
    backlog.spill()
    backlog.close()
    backlog.spilled(2)
    assert (backlog.offered, backlog.queued, dropped(backlog)) == (7, 5, {"shutdown": 2})
