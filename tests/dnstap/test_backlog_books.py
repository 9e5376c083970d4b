"""The books of a tap balance whatever happens, and nothing is sent that was not offered, or twice, or out of order."""

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from dnsproxy.dnstap.backlog import NEVER, SPILL_FRAMES, SPILL_OCTETS, Backlog, Hand

FRAMES, OCTETS = 8, 60
HANDS = st.integers(0, 1)


class Model:
    """A hand of the model: the frames that it holds, and what of them was not yet written."""

    def __init__(self) -> None:
        self.frames = deque[bytes]()
        self.chunk = b""
        self.begun = b""  # octets of the first frame that have left


class Books(RuleBasedStateMachine):
    """A backlog beside a model that keeps every frame in the place where it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.returned, self.spool, self.waiting = deque[bytes](), deque[bytes](), deque[bytes]()
        self.spilling: list[bytes] | None = None
        self.models = [Model(), Model()]
        self.is_spilling = False
        self.offered = self.sent = self.lost = self.number = 0

    @initialize(drops_oldest=st.booleans())
    def begin(self, drops_oldest: bool) -> None:
        self.drops_oldest = drops_oldest
        self.backlog = Backlog(FRAMES, OCTETS, lambda: self.now, lambda: None, drops_oldest)
        self.hands = [Hand(self.backlog), Hand(self.backlog)]

    # what is in memory

    def in_memory(self) -> list[bytes]:
        held = [frame for model in self.models for frame in model.frames]
        return [*held, *self.returned, *(self.spilling or ()), *self.waiting]

    def is_beyond(self, frames: int, octets: int) -> bool:
        frames_bound = FRAMES + (SPILL_FRAMES if self.is_spilling else 0)
        octets_bound = OCTETS + (SPILL_OCTETS if self.is_spilling else 0)
        memory = self.in_memory()
        return len(memory) + frames > frames_bound or sum(map(len, memory)) + octets > octets_bound

    def make_frame(self, size: int) -> bytes:
        self.number += 1
        return bytes([self.number % 256]) * size

    @rule(size=st.integers(1, 20))
    def offer(self, size: int) -> None:
        frame = self.make_frame(size)
        self.offered += 1
        while self.drops_oldest and self.is_beyond(1, size) and (self.returned or self.waiting):
            (self.returned or self.waiting).popleft()
            self.lost += 1
        if self.is_beyond(1, size):
            self.lost += 1
        else:
            self.waiting.append(frame)
        self.backlog.offer(frame)

    @rule(frames=st.sampled_from([1, 3, NEVER]))
    def wake_at(self, frames: int) -> None:
        self.backlog.wake_at(frames)

    @rule()
    def watch(self) -> None:
        self.backlog.watch(lambda: None)

    # sessions

    @rule(number=HANDS, octets=st.integers(1, 80))
    def take(self, number: int, octets: int) -> None:
        model, hand = self.models[number], self.hands[number]
        if model.chunk:
            return
        chunk = hand.take(octets)
        before = len(model.frames)
        have = b"".join(model.frames)[len(model.begun) :]
        while len(have) < len(chunk):
            source = self.returned or (self.waiting if not self.spool and not self.spilling else None)
            assert source, "more than there is"
            have += source[0]
            model.frames.append(source.popleft())
        assert chunk == have
        assert len(model.frames) > before or not self.backlog.available
        model.chunk = chunk

    @precondition(lambda self: any(model.chunk for model in self.models))
    @rule(number=HANDS, data=st.data())
    def write(self, number: int, data: st.DataObject) -> None:
        model = self.models[number]
        if not model.chunk:
            return
        octets = data.draw(st.integers(1, len(model.chunk)))
        self.hands[number].written(octets)
        model.begun += model.chunk[:octets]
        model.chunk = model.chunk[octets:]
        while model.frames and len(model.begun) >= len(model.frames[0]):
            assert model.begun.startswith(model.frames[0])
            model.begun = model.begun[len(model.frames.popleft()) :]
            self.sent += 1

    @rule(number=HANDS)
    def put_back(self, number: int) -> None:
        model = self.models[number]
        keep = 1 if model.begun else 0
        while len(model.frames) > keep:
            self.returned.appendleft(model.frames.pop())
        model.chunk = b""
        self.hands[number].put_back()

    @rule(number=HANDS, seconds=st.floats(0, 5))
    def break_off(self, number: int, seconds: float) -> None:
        model = self.models[number]
        self.returned.extendleft(reversed(model.frames))
        self.models[number] = Model()
        self.now += seconds
        self.hands[number].give_back()
        self.backlog.mark(self.now)

    # the spool

    @rule(frames=st.integers(1, 3), age_s=st.floats(0, 100))
    def find(self, frames: int, age_s: float) -> None:
        self.spool.extend(self.make_frame(5) for _ in range(frames))
        self.offered += frames
        self.backlog.found(frames, age_s)

    @precondition(lambda self: self.spilling is None)
    @rule()
    def spill(self) -> None:
        self.spilling = [*(() if self.spool else self.returned), *self.waiting]
        self.waiting.clear()
        if not self.spool:
            self.returned.clear()
        assert self.backlog.spill() == self.spilling

    @precondition(lambda self: self.spilling is None and self.spool)
    @rule()
    def spill_returned(self) -> None:
        self.spilling = list(self.returned)
        self.returned.clear()
        assert self.backlog.spill_returned() == self.spilling

    @precondition(lambda self: self.spilling is not None)
    @rule(data=st.data())
    def end_spilling(self, data: st.DataObject) -> None:
        assert self.spilling is not None
        frames = data.draw(st.integers(0, len(self.spilling)))
        self.spool.extend(self.spilling[:frames])
        rest, self.spilling = self.spilling[frames:], None
        self.waiting.extendleft(reversed(rest))
        self.is_spilling = not rest
        while self.waiting and self.is_beyond(0, 0):
            self.waiting.popleft() if self.drops_oldest else self.waiting.pop()
            self.lost += 1
        self.backlog.spilled(frames)

    @precondition(lambda self: self.spool)
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        frames = data.draw(st.integers(1, len(self.spool)))
        octets = sum(len(self.spool.popleft()) for _ in range(frames))
        self.sent += frames
        self.backlog.replayed(frames, octets)

    @precondition(lambda self: self.spool)
    @rule(data=st.data())
    def lose_in_spool(self, data: st.DataObject) -> None:
        frames = data.draw(st.integers(0, len(self.spool)))
        for _ in range(frames):
            self.spool.popleft()
        self.lost += frames
        self.backlog.lost_in_spool(frames)

    @invariant()
    def the_books_balance(self) -> None:
        if not hasattr(self, "backlog"):
            return
        backlog = self.backlog
        assert backlog.offered == self.offered
        assert backlog.queued == len(self.in_memory()) + len(self.spool)
        assert backlog.spooled == len(self.spool)
        assert sum(backlog.dropped.values()) == self.lost
        assert backlog.sent == self.sent
        waits = 0 if self.spool or self.spilling else len(self.waiting)
        assert backlog.available == len(self.returned) + waits
        assert 0 <= backlog.oldest_s(self.now) <= self.now + 100

    def teardown(self) -> None:
        if hasattr(self, "backlog"):
            self.backlog.close()
            assert self.backlog.offered == self.offered
            assert self.backlog.queued == len(self.spool)


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)
