"""One frame for several queues, and the sums of what became of it."""

from dnsproxy.dnstap.backlog import DISCONNECTED, Backlog
from dnsproxy.dnstap.fan_out import Entry, FanOut
from dnsproxy.dnstap.framestreams import data_frame

FRAME = data_frame(b"frame")


class Queue:
    """A backlog with the numbers of an output."""

    def __init__(self, frames: int = 10) -> None:
        self.backlog = Backlog(frames, 1 << 20, lambda: 0.0, lambda: None)
        self.offer = self.backlog.offer
        self.oldest_s = 0.0

    def lose(self, count: int) -> None:
        self.backlog.lose(count)

    def tap_status(self) -> Entry:
        backlog = self.backlog
        return {
            "name": "not a number",
            "offered": backlog.offered,
            "sent": backlog.sent,
            "queued": backlog.queued,
            "dropped": dict(backlog.dropped),
            "bytes": backlog.sent_octets,
            "oldest_queued_s": self.oldest_s,
        }


def test_with_nobody_there_nothing_is_counted() -> None:
    fan_out = FanOut()
    fan_out.offer(FRAME)
    fan_out.lose(5)
    books = fan_out.books()
    assert (books["offered"], sum(books["dropped"].values())) == (0, 0)


def test_everybody_gets_the_very_same_octets() -> None:
    fan_out, one, other = FanOut(), Queue(), Queue()
    fan_out.add(one)
    fan_out.add(other)
    fan_out.offer(FRAME)
    assert one.backlog.take(100) == other.backlog.take(100) == FRAME
    assert fan_out.books()["offered"] == 2


def test_what_is_full_stands_in_nobodys_way() -> None:
    fan_out, full, well = FanOut(), Queue(frames=1), Queue()
    fan_out.add(full)
    fan_out.add(well)
    for _ in range(5):
        fan_out.offer(FRAME)
    assert (full.backlog.queued, well.backlog.queued) == (1, 5)
    assert fan_out.books()["dropped"]["queue_full"] == 4


def test_the_numbers_of_those_gone_stay_in_the_sums() -> None:
    fan_out, one, other = FanOut(), Queue(), Queue()
    fan_out.add(one)
    fan_out.add(other)
    fan_out.offer(FRAME)
    fan_out.lose(2)
    other.oldest_s = 2.5
    one.backlog.close(DISCONNECTED)
    fan_out.remove(one)
    fan_out.remove(one)
    fan_out.offer(FRAME)
    assert one.backlog.offered == 3, "nothing comes to who is gone"
    books = fan_out.books()
    assert (books["offered"], books["queued"], books["oldest_queued_s"]) == (7, 2, 2.5)
    assert (books["dropped"]["disconnected"], books["dropped"]["queue_full"]) == (1, 4)
    assert books["offered"] == books["sent"] + books["queued"] + sum(books["dropped"].values())
